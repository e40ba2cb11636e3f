"""The benchmark command: that it measures what it says, in turns, and says what is missing. No times are asserted."""

import json

import numpy as np
import pytest
import torch
from small_text import write_icdar2015
from torch.utils._pytree import tree_leaves

from maskrcnn.benchmarks import average_precision, batched_ops, comparison, data, text_scoring
from maskrcnn.benchmarks import ops as benchmark
from maskrcnn.benchmarks.measure import copy_bandwidth, median_seconds
from maskrcnn.cli import main
from maskrcnn.data.icdar import ICDAR2015
from maskrcnn.ops import run_length
from maskrcnn.recipes import recipe


def test_candidates_take_turns_and_the_first_round_does_not_count(monkeypatch):
    """A clock that every call moves on: the first round takes 100 s a call, the others 1 s and 3 s."""
    calls, clock = [], [0.0]

    def candidate(name, seconds):
        def run():
            clock[0] += 100 if name not in calls else seconds
            calls.append(name)

        return run

    monkeypatch.setattr("maskrcnn.benchmarks.measure.time.perf_counter", lambda: clock[0])
    seconds = median_seconds({"a": candidate("a", 1.0), "b": candidate("b", 3.0)}, "cpu", rounds=3)
    assert calls == ["a", "b"] * 4
    assert seconds == {"a": 1.0, "b": 3.0}


def test_time_of_the_processor_is_what_this_process_works(monkeypatch):
    monkeypatch.setattr("maskrcnn.benchmarks.measure.time.process_time", iter(range(100)).__next__)
    assert median_seconds({"a": lambda: None}, "cpu", rounds=2, of_the_processor=True) == {"a": 1}
    assert median_seconds({"a": lambda: None}, "cpu", rounds=2)["a"] < 0.5


def test_a_copy_is_counted_in_both_directions(monkeypatch):
    monkeypatch.setattr("maskrcnn.benchmarks.measure.median_seconds", lambda *arguments, **rounds: {"copy": 2.0})
    assert copy_bandwidth("cpu") == 128 * 2**20


@pytest.mark.slow
def test_ours_and_the_peer_compute_the_same():
    """Where a peer is installed; otherwise the PyTorch version stands in for some, and the rest has none."""
    compared = []
    for compares in benchmark.comparisons("cpu"):
        assert compares.bytes_moved > 0 and compares.operations > 0
        ours = compares.ours()
        if compares.peer is not None:
            compared.append(compares.peer_name)
            require_same(compares.peer_name, ours, compares.peer())
    assert compared.count("the same in PyTorch") >= 1


def require_same(peer: str, ours, theirs):
    """Each library has a form of its own for the same result."""
    if peer == "the same in PyTorch":
        for result, expected in zip(tree_leaves(ours), tree_leaves(theirs), strict=True):
            assert torch.equal(result, expected)
    elif peer == "torchvision roi_align":  # forward; or the gradient alone
        for result, expected in zip(tree_leaves(ours), tree_leaves(theirs), strict=True):
            torch.testing.assert_close(result.reshape(expected.shape), expected, rtol=1e-3, atol=1e-4)
    elif peer == "torchvision nms":
        assert torch.equal(ours[ours >= 0], theirs)
    elif peer == "torchvision box_iou and Matcher":
        iou, ground_truth, _ = (result[0] for result in ours)
        found = theirs >= 0
        assert torch.equal(theirs[found & (iou >= 0.7)], ground_truth[found & (iou >= 0.7)])
        assert ((theirs == -1) <= (iou < 0.3)).all() and ((iou >= 0.7) <= found).all() and (iou >= 0.7).any()
    elif peer == "torchvision paste_masks_in_image":
        assert (ours != theirs[:, 0]).float().mean() < 1e-5 and ours.any()
    elif peer == "pycocotools encode":
        assert [run_length.to_string(code) for code in ours] == [code["counts"].decode() for code in theirs]
    elif peer == "pycocotools iou":
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    else:
        raise AssertionError(f"nothing compares with {peer}")


def test_whole_batches_give_the_same_on_both_sides():
    """On a processor in small; a GPU measures them in full."""
    pooling, suppression = batched_ops.batched_comparisons("cpu", images=2, rois=12, channels=8, candidates=300)
    assert min(pooling.bytes_moved, pooling.operations, suppression.bytes_moved, suppression.operations) > 0
    gradients, kept = pooling.ours(), suppression.ours()
    assert [level.shape[2:] for level in gradients] == [(200, 272), (100, 136), (50, 68), (25, 34)]
    assert all(level.dtype == torch.bfloat16 and level.any() for level in gradients[:3])
    assert kept.shape == (2, 300) and (kept[:, 0] >= 0).all() and (kept[:, -1] == -1).all()
    if pooling.peer is not None:
        for level, theirs in zip(gradients, pooling.peer(), strict=True):
            torch.testing.assert_close(level, theirs, rtol=2e-2, atol=2e-2)
        assert [own[own >= 0].tolist() for own in kept] == [theirs.tolist() for theirs in suppression.peer()]


@pytest.fixture
def one_comparison(monkeypatch):
    """A benchmark of a single op, once with and once without its peer."""

    def comparisons(device):
        for peer in (lambda: None, None):
            yield comparison.Comparison("an op", "another library", lambda: None, peer, 1e6, 1e6)

    monkeypatch.setattr(benchmark, "comparisons", comparisons)


def test_the_table_says_what_is_not_installed(one_comparison, capsys):
    assert main(["bench", "ops", "--device", "cpu", "--rounds", "1"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| an op")]
    assert len(rows) == 2 and "another library, 0.0 ms" in rows[0] and "another library is not installed" in rows[1]


def test_json_has_one_object_a_line(one_comparison, capsys):
    assert main(["bench", "ops", "--device", "cpu", "--rounds", "1", "--json"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["ratio"] > 0 and second["ratio"] is None and second["peer_milliseconds"] is None


def test_scoring_is_measured_with_the_twelve_numbers_on_both_sides(monkeypatch, capsys):
    kinds = []
    for compares in average_precision.comparisons(images=6):
        kinds.append(compares.name.split()[0])
        ours = compares.ours()
        assert len(ours) == 12 and 0.05 < ours[0] < 0.95
        if compares.peer is not None:
            assert compares.peer() == pytest.approx([-1 if value is None else value for value in ours], abs=1e-12)
    assert kinds == ["bbox", "segm"]
    monkeypatch.setattr(average_precision, "SIZES", {"bbox": 2})
    monkeypatch.setattr(text_scoring, "PICTURES", 3)
    assert main(["bench", "evaluate", "--rounds", "1", "--json"]) == 0
    texts, boxes = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert boxes["name"] == "bbox AP of 2 pictures, 100 detections each, 80 classes"
    assert texts["name"] == "hmean of 3 pictures, 10 words and 20 detections each" and texts["ratio"] > 0


def test_texts_are_scored_alike_on_both_sides():
    (compares,) = text_scoring.comparisons(pictures=40)
    ours, theirs = compares.ours(), compares.peer()
    assert ours == theirs and 0.1 < ours.hmean < 0.9 and 0 < ours.matched < ours.detections < 40 * 20


# Training pictures


@pytest.mark.parametrize("degrees", [0, 10])
def test_crops_are_the_same_on_both_sides(tmp_path, degrees):
    """Of noise, which shows every shift; but no more of it than scaling twice, once turned, takes away."""
    config = recipe("icdar2015").override(
        ["data.crop=96", "data.independent_sides=96, 192", f"data.rotation_degrees={degrees}", "training.batch_size=4"]
    )
    samples = ICDAR2015(write_icdar2015(tmp_path))
    stages = {compares.name: compares for compares in data.comparisons(samples, config, "small", crops=6)}
    names = ["read and decode", "scale and crop", "colours", "targets", "normalise and collate", "all"]
    assert list(stages) == [f"small: {name}" for name in names]
    assert all(compares.times == 6 for compares in stages.values())
    assert [name for name, compares in stages.items() if compares.peer is None] == list(stages)[2:5]
    ours, peers = stages["small: all"].ours(), stages["small: all"].peer()
    assert [batch.size for batch in ours] == [batch.size for batch in peers] == [4, 2]
    for batch, peer in zip(ours, peers, strict=True):
        if not degrees:  # a turned picture's border lies between pixels, on either side of some
            torch.testing.assert_close(batch.targets.boxes, peer.targets.boxes, atol=1e-3, rtol=0)
            assert (batch.images - peer.images).abs().max() <= 2.01 / 255 / 0.224  # two levels
        assert (batch.images - peer.images).abs().mean() < 0.2 and batch.images.std() > 0.4
    for compares in stages.values():
        compares.ours()
        if compares.peer:
            compares.peer()


def test_training_pictures_are_measured_on_one_thread(capsys, tmp_path, monkeypatch):
    threads, measured, collate = torch.get_num_threads(), [], data.collate

    def watched(*samples, **settings):
        measured.append(torch.get_num_threads())
        return collate(*samples, **settings)

    monkeypatch.setattr(data, "collate", watched)
    root = write_icdar2015(tmp_path)
    settings = ["data.crop=64", "data.independent_sides=64, 128"]
    arguments = ["bench", "data", "--data", str(root), "--rounds", "1", "--set", *settings]
    assert main([*arguments, "--json"]) == 0
    figures = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(figures) == 6 and set(measured) == {1} and torch.get_num_threads() == threads
    last = figures[-1]
    assert last["name"] == f"{root}: all" and last["peer"] == "whole pictures"
    assert last["per_second"] == pytest.approx(1e3 / last["milliseconds"])
    assert last["ratio"] == pytest.approx(last["per_second"] / last["peer_per_second"])
    assert figures[2]["peer_milliseconds"] is None and figures[2]["peer_per_second"] is None
    assert main(arguments) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].split(" | ")[1:5] == ["ours", "a second", "whole pictures", "a second"]
    assert f"| {root}: targets" in rows[5] and rows[5].endswith("| the same |  |  |")


def test_without_data_rendered_jpegs_are_measured(capsys, monkeypatch):
    monkeypatch.setattr(data, "RENDERED", {(120, 160): (2, 2), (1500, 1600): (1, 1)})
    settings = ["data.crop=64", "data.independent_sides=64, 128"]
    assert main(["bench", "data", "--rounds", "1", "--json", "--set", *settings]) == 0
    names = [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()]
    assert len(names) == 12 and names[0].startswith("160 x 120: ") and names[-1] == "1600 x 1500: all"
    with data.rendered(1500, 1600, 1) as samples:
        assert samples[0].image.shape == (1500, 1600, 3) and len(samples[0].polygons) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "--data", "rendered"], "rendered: found pictures that are drawn, expected files"),
        (["data", "--recipe", "demo"], "recipe demo: found training on whole pictures, expected crops"),
        (["data", "--device", "cuda"], "--device: data does not take it, expected one of: infer, train, ops"),
        (["infer", "--split", "test"], "--split: infer does not take it, expected one of: data"),
        (["data", "--split", "test"], "--split: found no --data, expected the folder whose split it is"),
        (["infer", "--scaling", "x.txt"], "x.txt: found the ending '.txt', expected .png"),
        (["infer", "--scaling", "x.png", "--batch", "2"], "--batch: --scaling chooses it, expected one of both"),
        (["train", "--scaling", "x.png", "--compile"], "--compile: --scaling chooses it, expected one of both"),
        (["ops", "--data", "x"], "--data: ops does not take it, expected one of: data"),
        (["evaluate", "--set", "data.crop=3"], "--set: evaluate does not take it, expected one of: infer, train, data"),
        (["infer", "--data", "x"], "--data: infer does not take it, expected one of: data"),
        (["evaluate", "--device", "cuda"], "--device: evaluate does not take it, expected one of: infer, train, ops"),
    ],
)
def test_what_cannot_be_measured(capsys, monkeypatch, arguments, message):
    monkeypatch.setattr(data, "RENDERED", {(120, 160): (1, 1)})
    assert main(["bench", *arguments]) == 2
    assert capsys.readouterr().err == f"maskrcnn bench: {message}\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_cuda_is_refused(capsys):
    assert main(["bench", "ops", "--device", "cuda"]) == 2
    assert capsys.readouterr().err == "maskrcnn bench: --device cuda: this PyTorch sees no GPU\n"
