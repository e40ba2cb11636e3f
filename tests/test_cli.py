"""The command line: what each command says, leaves and refuses, and which errors keep their traceback."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from small_text import SETTINGS, WORDS, annotation, mistake, picture, run, save_small_weights, write_icdar2015

import maskrcnn.cli
from maskrcnn.cli import COMMANDS, command_module, main
from maskrcnn.config import Config, setting_names
from maskrcnn.data.icdar import ICDAR2015
from maskrcnn.data.undecoded import UndecodedSample
from maskrcnn.detector import find_weights, load
from maskrcnn.evaluate import evaluate_texts
from maskrcnn.evaluation.result_files import read_results
from maskrcnn.evaluation.submission_files import write_submission
from maskrcnn.recipes import RECIPES
from maskrcnn.training.checkpoint import load_weights
from maskrcnn.training.loop import NonFiniteLoss

KEYS = ["recall", "precision", "hmean", "threshold", "matched", "ground_truths", "detections"]
"""Of every score in JSON, in this order."""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_icdar2015(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return save_small_weights(tmp_path_factory.mktemp("weights") / "small.safetensors")


def train_arguments(data: Path, out: Path, *settings: str) -> list[object]:
    return ["train", "text_small", "--data", data, "--out", out, "--set", *SETTINGS, *settings]


# Help


def test_the_program_lists_its_commands(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(f"    {command} " in text for command in COMMANDS)


@pytest.mark.parametrize(
    ("command", "arguments"),
    {
        "demo": ["--out DIR", "--seed N"],
        "train": ["RECIPE", "--data DIR", "--out DIR", "--split S", "--format F", "--resume", "--init W", "--set s"],
        "evaluate": ["WEIGHTS", "--data DIR", "--split S", "--format F", "--json FILE", "--set section.key="],
        "predict": ["WEIGHTS", "IMAGE", "--out DIR", "--json", "--submission", "--scores", "--threshold T"],
        "score": ["PROTOCOL", "GT", "PRED", "--threshold T", "--sweep", "--json"],
        "render": ["DIR", "--format FORMAT", "--count N", "--seed S", "--size WxH", "--curved FRACTION"],
        "check": ["DATASET", "DIR", "--split S", "--recipe RECIPE"],
        "info": ["RECIPE"],
    }.items(),
)
def test_help_names_every_argument_and_gives_an_example(capsys, command, arguments):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    text = capsys.readouterr().out
    usage, _, examples = text.partition("\nexample")
    assert all(argument in usage for argument in arguments)
    assert f"\n  python -m maskrcnn {command}" in examples


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_the_help_are_commands(monkeypatch, command):
    module = command_module(command)
    asked = []
    monkeypatch.setattr(module, "run", asked.append)
    examples = module.DETAILS.partition("\nexample")[2].replace("\\\n", " ").splitlines()[1:]
    for example in examples:
        started, _, words = example.partition(" -m maskrcnn ")
        assert started.split()[0] in ("python", "torchrun") and main(shlex.split(words)) == 0, example
    assert [arguments.command for arguments in asked] == [command] * len(examples) != []


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "text_small", "--data", "x"], "the following arguments are required: --out"),
        (["render", "x", "--format", "icdar2013", "--count", "3"], "invalid choice: 'icdar2013'"),
        (["render", "x", "--format", "icdar2015", "--count", "0"], "found '0', expected a whole number, 1 or more"),
        (["render", "x", "--format", "icdar2015", "--count", "two"], "found 'two', expected a whole number"),
        (["render", "x", "--format", "ctw1500", "--count", "3", "--size", "9"], "found '9', expected width x"),
        (["demo", "--seed", "-1"], "--seed: found '-1', expected a whole number, 0 or more"),
        (["predict", "x", "y", "--out", "z", "--threshold", "50"], "found '50', expected a number from 0 to 1"),
        (["predict", "x", "y", "--out", "z", "--threshold", "nan"], "found 'nan', expected a number from 0 to 1"),
        (["predict", "x", "--out", "z"], "the following arguments are required: IMAGE"),
        (["score", "icdar2015", "x", "y", "--threshold", "0.5", "--sweep"], "not allowed with argument --threshold"),
        (["score", "icdar2013", "x", "y"], "invalid choice: 'icdar2013'"),
        (["train", "x", "--data", "x", "--out", "y", "--minutes", "0"], "found '0', expected a number above 0"),
        (["info", "--verbose"], "unrecognized arguments: --verbose"),
    ],
)
def test_arguments_that_cannot_be_are_refused_in_one_line(capsys, arguments, message):
    said = mistake(capsys, *arguments)
    assert message in said and said.endswith(f"(python -m maskrcnn {arguments[0]} --help says more)")


def test_an_unknown_command_is_answered_with_all_of_them(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["trian"])
    said = capsys.readouterr().err
    assert said.startswith("maskrcnn: ") and said.count("\n") == 1
    assert all(repr(command) in said for command in COMMANDS)


@pytest.fixture
def failing(monkeypatch):
    """Makes `info` raise an error."""

    def fail(error: BaseException) -> None:
        def run(arguments: object) -> None:
            raise error

        monkeypatch.setattr("maskrcnn.cli.info.run", run)

    return fail


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("gt_img_1.txt:3: found\n  this"), "gt_img_1.txt:3: found this"),
        (ValueError(), "ValueError"),
        (FileNotFoundError(2, "No such file", "x.jpg"), "[Errno 2] No such file: 'x.jpg'"),
        (NonFiniteLoss("step 3: a loss is not finite"), "step 3: a loss is not finite"),
        (MemoryError(), "out of memory; a smaller model.image.long_side, data.crop or training.batch_size (--set)"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), "out of memory, asked for 2 GiB; "),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "out of memory"),
        (RuntimeError('torch_call_dispatcher( "aten::new_empty", "", ...) API call failed'), "out of memory"),
    ],
)
def test_errors_of_input_and_memory_become_one_line(capsys, failing, error, line):
    failing(error)
    assert line in mistake(capsys, "info")


@pytest.mark.parametrize(
    "error", [TypeError("t"), KeyError("k"), RuntimeError("r"), ZeroDivisionError("z"), AssertionError("a")]
)
def test_errors_of_the_program_keep_their_traceback(failing, error):
    failing(error)
    with pytest.raises(type(error)):
        main(["info"])


def test_development_mode_keeps_every_traceback(failing, monkeypatch):
    failing(ValueError("v"))
    monkeypatch.setattr(maskrcnn.cli, "sys", SimpleNamespace(flags=SimpleNamespace(dev_mode=True), stdout=sys.stdout))
    with pytest.raises(ValueError, match="v"):
        main(["info"])


def test_an_interrupt_is_no_traceback(capsys, failing):
    failing(KeyboardInterrupt())
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "maskrcnn info: interrupted\n"


def test_a_warning_is_one_line_without_code(capsys, monkeypatch):
    monkeypatch.setattr("maskrcnn.cli.info.run", lambda arguments: warnings.warn("two\nlines", stacklevel=1))
    assert main(["info"]) == 0
    assert capsys.readouterr().err == "maskrcnn info: warning: two lines\n"


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_mistake():
    reading, writing = os.pipe()
    os.close(reading)
    environment = os.environ | {"PYTHONPATH": str(Path(maskrcnn.cli.__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-m", "maskrcnn", "info"], stdout=writing, stderr=subprocess.PIPE, text=True, env=environment
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


# train


def test_training_leaves_weights_log_curves_and_checkpoint(capsys, data, tmp_path):
    out = tmp_path / "run"
    said = run(capsys, *train_arguments(data, out, "training.steps=2", "training.seed=3"))
    left = {path.name for path in out.iterdir()}
    assert left == {"checkpoint.pt", "curves.png", "log.csv", "model.safetensors"}
    assert f"weights: {out / 'model.safetensors'}" in said
    assert re.search(r"^\d+ s, \d+\.\d\d s a step, at most \d+\.\d\d GiB of memory at once$", said, re.MULTILINE)
    rows = list(csv.DictReader((out / "log.csv").open()))
    assert [row["step"] for row in rows] == ["1", "2"]
    losses = ("rpn_objectness", "rpn_box", "class", "box", "mask")
    for row in rows:
        assert float(row["total"]) == pytest.approx(sum(float(row[name]) for name in losses), rel=1e-4)
    _, config, extra = load_weights(out / "model.safetensors")
    assert (config.name, config.training.seed, config.data.crop, extra["steps"]) == ("text_small", 3, 96, "2")
    assert Image.open(out / "curves.png").size[0] > 500


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (("training.steps=3", "training.warmup_steps=2"), "learning rate 0.001 after 2 steps of warm-up"),
        (("training.steps=1", "training.warmup_steps=4", "training.warmup_factor=0.5"),
         "learning rate 0.0005 at the end; the warm-up to 0.001 would take 4 steps"),
    ],
)  # fmt: skip
def test_training_says_how_long_it_is_and_how_far_its_rate_rises(capsys, data, tmp_path, settings, expected):
    rate = ("training.learning_rate=0.001", "training.schedule=steps", "training.milestones=(0.9,)")
    said = run(capsys, *train_arguments(data, tmp_path / "run", *rate, *settings)).splitlines()
    steps = settings[0][-1]
    assert said[0].startswith(f"{steps} steps of 2 pictures: ") and said[0].endswith(" times all 3")
    assert said[1] == expected


def test_a_run_does_not_go_on_with_other_pictures(capsys, data, tmp_path):
    arguments = train_arguments(data, tmp_path / "run", "training.steps=2")
    run(capsys, *arguments, "--split", "img_1..img_2", "--minutes", "1e-9")
    _, _, extra = load_weights(tmp_path / "run" / "model.safetensors")
    assert (extra["data"], extra["split"], extra["pictures"]) == (str(data), "img_1..img_2", "2")
    said = mistake(capsys, *arguments, "--resume")
    assert said.endswith("model.safetensors: that run's split was img_1..img_2, now train")


def test_what_a_run_has_left_is_not_overwritten(capsys, data, tmp_path):
    """Nor by another run, nor by a demo, whichever of its files is still there."""
    out = tmp_path / "run"
    run(capsys, *train_arguments(data, out, "training.steps=1"))
    (out / "checkpoint.pt").unlink()
    (out / "log.csv").unlink()
    before = (out / "model.safetensors").read_bytes()
    assert "already holds a training run" in mistake(capsys, *train_arguments(data, out, "training.steps=1"))
    assert "holds model.safetensors of a training of text_small" in mistake(capsys, "demo", "--out", out)
    assert (out / "model.safetensors").read_bytes() == before


def test_weights_lost_after_the_last_checkpoint_come_back(capsys, data, tmp_path):
    arguments = train_arguments(data, tmp_path / "run", "training.steps=1")
    run(capsys, *arguments)
    weights = tmp_path / "run" / "model.safetensors"
    before = load_weights(weights)[0]
    weights.unlink()
    run(capsys, *arguments, "--resume")
    after = load_weights(weights)[0]
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_stopped_run_goes_on_to_the_same_weights(capsys, data, tmp_path):
    settings = ["training.steps=3", "data.colour_probability=0.5"]
    run(capsys, *train_arguments(data, tmp_path / "whole", *settings))
    said = run(capsys, *train_arguments(data, tmp_path / "parts", *settings), "--minutes", "1e-9")
    assert "stopped by time after 1 of 3 steps; --resume goes on" in said
    first, _, extra = load_weights(tmp_path / "parts" / "model.safetensors")
    assert extra["steps"] == "1"
    run(capsys, *train_arguments(data, tmp_path / "parts", *settings), "--resume")
    whole, parts = (load_weights(tmp_path / name / "model.safetensors")[0] for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert not all(torch.equal(whole[name], first[name]) for name in whole)


def test_training_starts_from_given_weights(capsys, data, weights, tmp_path):
    frozen = ["training.steps=1", "training.learning_rate=0", "training.seed=5"]
    run(capsys, *train_arguments(data, tmp_path / "given", *frozen), "--init", weights)
    run(capsys, *train_arguments(data, tmp_path / "random", *frozen))
    start = load_weights(weights)[0]
    given, random = (load_weights(tmp_path / name / "model.safetensors")[0] for name in ("given", "random"))
    assert all(torch.equal(start[name], given[name]) for name in start)
    assert not all(torch.equal(start[name], random[name]) for name in start)


def test_what_was_killed_before_its_first_checkpoint_begins_from_the_given_weights(capsys, data, weights, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "log.csv").write_text("step,seconds\n1,0")
    still = train_arguments(data, out, "training.steps=1", "training.learning_rate=0", "training.seed=5")
    run(capsys, *still, "--init", weights, "--resume")
    start, end = load_weights(weights)[0], load_weights(out / "model.safetensors")[0]
    assert all(torch.equal(start[name], end[name]) for name in start)


def test_a_split_chooses_the_pictures(capsys, data, weights, tmp_path, monkeypatch):
    names, read = [], ICDAR2015.undecoded

    def remember(self: ICDAR2015, index: int) -> UndecodedSample:
        names.append(self.names[index])
        return read(self, index)

    monkeypatch.setattr(ICDAR2015, "undecoded", remember)
    for command, split, expected in (
        (train_arguments(data, tmp_path / "run", "training.steps=2"), "img_2..img_3", {"img_2.jpg", "img_3.jpg"}),
        (["evaluate", weights, "--data", data, "--out", tmp_path / "e"], "img_3..img_9", {"img_3.jpg"}),
        (["check", "icdar2015", data, "--out", tmp_path / "c"], "test", {"img_1.jpg", "img_2.jpg"}),
    ):
        names.clear()
        run(capsys, *command, "--split", split)
        assert set(names) == expected


def test_rendered_text_needs_no_files(capsys, tmp_path):
    arguments = train_arguments("rendered", tmp_path / "run", "training.steps=1", "data.crop=128")
    run(capsys, *arguments)
    assert len((tmp_path / "run" / "log.csv").read_text().splitlines()) == 2


# evaluate


def test_evaluation_prints_the_sweep_and_writes_the_best_of_it(capsys, data, weights, tmp_path):
    out, file = tmp_path / "pictures", tmp_path / "new" / "score.json"
    said = run(capsys, "evaluate", weights, "--data", data, "--out", out, "--json", file)
    detector = load(weights)
    evaluation = evaluate_texts(detector, ICDAR2015(data, "test"))
    sweep = evaluation.sweep()
    best = max(sweep, key=lambda score: score.hmean)
    written = json.loads(file.read_text())
    assert list(written) == KEYS and written == best.as_dict()
    assert written["ground_truths"] == 4  # two pictures with two legible words each
    table = [line.split()[:4] for line in said.splitlines()[1:8]]
    assert [float(row[0]) for row in table] == [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert [float(row[3]) for row in table] == pytest.approx([score.hmean for score in sweep], abs=1e-4)
    assert said.count("<- best") == 1
    own = evaluation.at(0.2)
    assert f"threshold, 0.20: recall {own.recall:.6f}" in said and f"and {own.detections} detections" in said
    assert sorted(path.name for path in out.iterdir()) == ["best.png", "thresholds.png", "worst.png"]


def test_evaluation_without_anything_to_find_draws_nothing(capsys, weights, tmp_path):
    data = write_icdar2015(tmp_path / "data", training=1, test=1)
    (data / "Challenge4_Test_Task1_GT" / "gt_img_1.txt").write_text("")
    said = run(capsys, "evaluate", weights, "--data", data, "--out", tmp_path / "out")
    assert said.splitlines()[-1] == f"pictures: {tmp_path / 'out' / 'thresholds.png'}"
    assert not (tmp_path / "out" / "worst.png").exists()


def test_settings_of_the_weights_can_be_changed_for_an_evaluation(capsys, data, weights, tmp_path):
    settings = ["model.box_head.detections=1", "text.score_threshold=0.05"]
    said = run(capsys, "evaluate", weights, "--data", data, "--out", tmp_path, "--set", *settings)
    own = evaluate_texts(load(weights, settings=settings), ICDAR2015(data, "test")).at(0.05)
    assert own.detections <= 2  # one a picture
    assert f"threshold, 0.05: recall {own.recall:.6f}" in said and f"and {own.detections} detections)" in said


# predict


@pytest.fixture
def pictures(tmp_path) -> list[Path]:
    paths = [tmp_path / "img_7.png", tmp_path / "img_12.jpg"]
    for seed, path in enumerate(paths):
        Image.fromarray(picture(seed)).save(path)
    return paths


def test_prediction_writes_outlines_and_polygons(capsys, weights, pictures, tmp_path):
    out = tmp_path / "found"
    said = run(capsys, "predict", weights, *pictures, "--out", out)
    assert sorted(path.name for path in out.iterdir()) == ["img_12.json", "img_12.png", "img_7.json", "img_7.png"]
    detector = load(weights)
    for path, line in zip(pictures, said.splitlines(), strict=True):
        texts = detector(path).texts
        written = json.loads((out / f"{path.stem}.json").read_text())
        assert written["image"] == str(path)
        assert len(texts) > 3
        assert [text["score"] for text in written["texts"]] == [round(text.score, 4) for text in texts]
        for text, expected in zip(written["texts"], texts, strict=True):
            np.testing.assert_allclose(text["polygon"], expected.polygon, atol=0.006)
        assert line == f"{path}: {len(texts)} texts: {out / path.stem}.png"
        drawn = np.asarray(Image.open(out / f"{path.stem}.png"))
        assert drawn.shape == (480, 640, 3)  # small pictures are enlarged four times, to be seen


def test_prediction_prints_json_on_request(capsys, weights, pictures, tmp_path):
    said = run(capsys, "predict", weights, *pictures, "--out", tmp_path / "found", "--json")
    records = [json.loads(line) for line in said.splitlines()]
    assert records == [json.loads((tmp_path / "found" / f"{path.stem}.json").read_text()) for path in pictures]


def test_a_higher_threshold_finds_less(capsys, weights, pictures, tmp_path):
    scores = [text.score for text in load(weights)(pictures[0]).texts]
    threshold = np.median(scores)
    run(capsys, "predict", weights, pictures[0], "--out", tmp_path / "found", "--threshold", threshold)
    written = json.loads((tmp_path / "found" / "img_7.json").read_text())
    assert len(written["texts"]) == (np.array(scores) >= threshold).sum() < len(scores)


def test_a_submission_holds_the_same_quadrilaterals(capsys, pictures, tmp_path):
    weights = save_small_weights(tmp_path / "polygons.safetensors", "text.shape=polygon")
    said = run(capsys, "predict", weights, *pictures, "--out", tmp_path / "found", "--submission")
    with zipfile.ZipFile(tmp_path / "found" / "submission.zip") as archive:
        assert archive.namelist() == ["res_img_7.txt", "res_img_12.txt"]
    results = read_results(tmp_path / "found" / "submission.zip")
    for number in (7, 12):
        texts = json.loads((tmp_path / "found" / f"img_{number}.json").read_text())["texts"]
        rounded = [np.rint(text["polygon"]) for text in texts]
        dropped = len(rounded) - len(results[number].polygons)
        assert results[number].scores is None and dropped == said.count(f"res_img_{number}.txt: found")
        for polygon in results[number].polygons:
            assert min(np.abs(polygon - other).max() for other in rounded) <= 1


def test_a_picture_that_cannot_be_read_does_not_stop_the_others(capsys, weights, pictures, tmp_path):
    (tmp_path / "img_1.jpg").write_bytes(pictures[1].read_bytes()[:300])
    arguments = ["predict", weights, tmp_path / "img_1.jpg", *pictures, "--out", tmp_path / "found", "--submission"]
    said = mistake(capsys, *arguments)
    assert said.startswith("1 of 3 pictures cannot be read: ") and "img_1.jpg: found a damaged or truncated" in said
    assert said.endswith("submission.zip was not written")
    assert sorted(path.name for path in (tmp_path / "found").glob("*.json")) == ["img_12.json", "img_7.json"]
    assert not (tmp_path / "found" / "submission.zip").exists()


def test_predictions_overwrite_neither_each_other_nor_a_picture(capsys, weights, pictures, tmp_path):
    before = pictures[0].read_bytes()
    said = mistake(capsys, "predict", weights, *pictures, "--out", tmp_path)
    assert f"img_7.png: is in {tmp_path} itself" in said
    assert pictures[0].read_bytes() == before and not (tmp_path / "img_7.json").exists()
    said = mistake(capsys, "predict", weights, pictures[0], tmp_path / "other" / "img_7.jpg", "--out", tmp_path / "o")
    assert "several pictures are called img_7" in said


def test_a_submission_needs_a_number_of_its_own_for_each_picture(capsys, weights, pictures, tmp_path):
    arguments = ["--out", tmp_path / "found", "--submission"]
    for name in ("photo.jpg", "picture_7.jpg"):
        (tmp_path / name).write_bytes(pictures[1].read_bytes())
    said = mistake(capsys, "predict", weights, tmp_path / "photo.jpg", *arguments)
    expected = "expected one such as img_12: --submission names its files by the numbers of the pictures"
    assert said == f"photo.jpg: found no number in the name, {expected}"
    said = mistake(capsys, "predict", weights, pictures[0], tmp_path / "picture_7.jpg", *arguments)
    assert "several pictures have the number 7" in said
    said = mistake(capsys, "predict", weights, pictures[0], tmp_path / "none.jpg", *arguments)
    assert said == f"{tmp_path / 'none.jpg'}: found no such file, expected a picture"
    assert not (tmp_path / "found").exists()


# score


@pytest.fixture
def scored(tmp_path) -> tuple[Path, Path]:
    """Ground truth of one picture, and results: both words found, one thing that is none, one on a don't-care word."""
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / "gt_img_1.txt").write_text(annotation())
    quadrilaterals = [np.array(corners, float).reshape(4, 2) for corners, _ in WORDS]
    first, second, ignored = quadrilaterals
    found = [(first, 0.9), (second, 0.5), (first + 60, 0.4), (ignored, 0.8)]
    write_submission(tmp_path / "results.zip", {1: found}, scores=True)
    return tmp_path / "gt", tmp_path / "results.zip"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], (1.0, 2 / 3, 0.8, None, 2, 2, 3)),
        (["--threshold", "0.45"], (1.0, 1.0, 1.0, 0.45, 2, 2, 2)),
        (["--threshold", "0.6"], (0.5, 1.0, 2 / 3, 0.6, 1, 2, 1)),
        (["--sweep"], (1.0, 1.0, 1.0, 0.5, 2, 2, 2)),
    ],
)
def test_scores_by_hand(capsys, scored, options, expected):
    printed = run(capsys, "score", "icdar2015", *scored, *options, "--json")
    assert printed.count("\n") == 1
    score = json.loads(printed)
    assert list(score) == KEYS
    assert tuple(score.values()) == pytest.approx(expected)
    words = run(capsys, "score", "icdar2015", *scored, *options).splitlines()
    recall, precision, hmean, _, matched, truths, detections = expected
    noun = "detection" if detections == 1 else "detections"
    assert words[-1] == (
        f"recall {recall:.6f}, precision {precision:.6f}, hmean {hmean:.6f} "
        f"({matched} matched of {truths} ground truths and {detections} {noun})"
    )
    assert len(words) == (9 if "--sweep" in options else 1)


@pytest.mark.parametrize("texts", [{}, {"res_img_1.txt": ""}])
def test_results_without_any_for_the_ground_truth_are_warned_of(capsys, scored, tmp_path, texts):
    (tmp_path / "wrong").mkdir()
    for name, text in texts.items():
        (tmp_path / "wrong" / name).write_text(text)
    assert main(["score", "icdar2015", str(scored[0]), str(tmp_path / "wrong"), "--json"]) == 0
    printed, told = capsys.readouterr()
    assert json.loads(printed)["recall"] == 0 and told.count("\n") == 1
    assert told.startswith(f"maskrcnn score: warning: {tmp_path / 'wrong'}: found no result for any picture of ")
    assert main(["score", "icdar2015", *map(str, scored)]) == 0
    assert capsys.readouterr().err == ""


def test_thresholds_need_scores(capsys, scored, tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "res_img_1.txt").write_text("10,12,70,12,70,32,10,32\n")
    for options in (["--threshold", "0.5"], ["--sweep"]):
        said = mistake(capsys, "score", "icdar2015", scored[0], tmp_path / "plain", *options)
        assert said == "img_1: a score threshold needs detections with scores, found none"


# render, check, info, demo


def test_rendering_is_repeatable_and_can_be_read(capsys, tmp_path):
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        said = run(capsys, "render", tmp_path / name, "--format", "icdar2015", "--count", 2, "--seed", seed)
        assert said == f"{tmp_path / name}: 2 pictures for training, 1 for testing\n"
    files = {
        name: {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("first", "again", "other")
    }
    assert len(files["first"]) == 6 and files["first"] == files["again"]
    assert files["first"].keys() == files["other"].keys()
    assert not any(files["first"][path] == files["other"][path] for path in files["first"])
    training, test = (ICDAR2015(tmp_path / "first", split) for split in ("train", "test"))
    assert (len(training), len(test)) == (2, 1) and not training.problems
    assert training[0].image.shape == (720, 1280, 3) and len(training[0].polygons) > 0
    assert not np.array_equal(training[0].image, test[0].image)


def test_rendering_refuses_a_folder_with_something_in_it(capsys, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    said = mistake(capsys, "render", tmp_path, "--format", "icdar2015", "--count", 2)
    assert str(tmp_path) in said
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_check_counts_and_draws(capsys, data, tmp_path):
    said = run(capsys, "check", "icdar2015", data, "--out", tmp_path / "check")
    drawn = [tmp_path / "check" / name for name in ("examples.jpg", "anchor_coverage.png")]
    assert said.startswith("3 images, 9 words, 3 of them don't care\n")
    assert "anchors of sizes 16, 32, 64, 128, 256 and height / width 0.17, 0.44, 1.13, 2.9, 7.46;" in said
    assert said.splitlines()[-2:] == [str(path) for path in drawn]
    assert all(Image.open(path).size[0] > 400 for path in drawn)


def test_a_check_of_other_anchors(capsys, data, tmp_path):
    settings = ["--recipe", "demo", "--set", "model.anchors.sizes=8,16,32,64,128", "model.image.long_side=160"]
    said = run(capsys, "check", "icdar2015", data, "--out", tmp_path, *settings)
    assert "anchors of sizes 8, 16, 32, 64, 128 and height / width 0.17, 0.44, 1.13, 2.9;" in said
    assert "or the long side 160:" in said


def test_info_says_what_somebody_who_helps_would_ask(capsys):
    said = run(capsys, "info")
    assert f"maskrcnn {maskrcnn.__version__}, Python {sys.version.split()[0]}" in said
    assert f"torch {torch.__version__}" in said and "compiled ops: n" in said and "devices: cpu (" in said


@pytest.mark.parametrize("name", RECIPES)
def test_info_lists_the_settings_of_a_recipe_as_set_takes_them(capsys, name):
    said = run(capsys, "info", name).splitlines()
    listed = [line.partition("=")[0] for line in said]
    # Numbers of steps for which epochs stand are no settings of a recipe.
    in_epochs = {"training.steps", "training.warmup_steps"} if RECIPES[name].training.epochs else set()
    assert listed == [key for key in setting_names(RECIPES[name]) if key not in in_epochs]
    assert RECIPES[name].override(said) == RECIPES[name]
    assert Config().override(said) == RECIPES[name], "from other settings, too"


def test_info_lists_the_settings_of_weights(capsys, weights):
    said = run(capsys, "info", weights)
    assert "model.backbone.width=16\n" in said and load(weights).config == Config().override(said.splitlines())
    shipped = load_weights(find_weights("text_small"))[1]
    assert shipped != RECIPES["text_small"], "under this name the recipe is told, as the test above says"
    said = mistake(capsys, "info", "nonesuch")
    assert said.startswith("nonesuch: found no such file, expected weights or ") and "; or a recipe: demo, " in said


def test_the_demo_is_told_where_and_with_which_seed(capsys, monkeypatch, tmp_path):
    told = []
    monkeypatch.setattr("maskrcnn.cli.demo.run_demo", lambda *arguments: told.append(arguments))
    run(capsys, "demo")
    run(capsys, "demo", "--out", tmp_path, "--seed", 3)
    assert told == [(Path("runs/demo"), 0), (tmp_path, 3)]


# from files to a score


def test_a_faster_rcnn_learns_and_finds_boxes(capsys, data, tmp_path):
    """Without a mask head there is no mask loss, and an outline is a box (the paper's table 3)."""
    settings = ("model.mask_head.enabled=False", "training.steps=2", "text.shape=polygon")
    run(capsys, *train_arguments(data, tmp_path / "run", *settings))
    row = next(csv.DictReader((tmp_path / "run" / "log.csv").open()))
    assert "mask" not in row and float(row["class"]) > 0
    weights = tmp_path / "run" / "model.safetensors"
    assert not any("mask_head" in name for name in load_weights(weights)[0])
    said = run(capsys, "evaluate", weights, "--data", data, "--out", tmp_path / "e")
    assert "hmean" in said and (tmp_path / "e" / "worst.png").is_file()
    picture = data / "ch4_test_images" / "img_1.jpg"
    found = json.loads(run(capsys, "predict", weights, picture, "--out", tmp_path / "p", "--json", "--threshold", 0.1))
    assert found["texts"] and (tmp_path / "p" / "img_1.png").is_file()
    for text in found["texts"]:
        (left, top), (right, above), (same, bottom), last = text["polygon"]
        assert (above, same, last) == (top, right, [left, bottom]) and left < right and top < bottom


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mask_head", "steps"),
    [
        ((), 150),
        (("model.mask_head.enabled=False",), 150),
        (("model.mask_head.targets=pyramid", "text.outlines=planes"), 300),  # slopes take longer to learn
    ],
    ids=["masks", "boxes", "pyramids"],
)
def test_a_detector_is_trained_evaluated_used_and_scored(capsys, data, tmp_path, mask_head, steps):
    """What reaches the end unspoilt: coordinates, scales, names and thresholds, through every file on the way."""
    sizes = ["model.anchors.sizes=8,16,32,64,128", "model.image.short_side=160", "model.image.long_side=160"]
    crops = ["data.crop=128", "data.scale_range=0.9,1.1"]
    pace = [f"training.steps={steps}", "training.learning_rate=0.003", "training.warmup_steps=20"]
    further = ["training.average_decay=0.9", *mask_head]
    run(capsys, *train_arguments(data, tmp_path / "run", *sizes, *crops, *pace, *further))
    weights = tmp_path / "run" / "model.safetensors"
    run(capsys, "evaluate", weights, "--data", data, "--out", tmp_path / "e", "--json", tmp_path / "score.json")
    best = json.loads((tmp_path / "score.json").read_text())
    assert best["hmean"] >= 0.75 and best["ground_truths"] == 4

    images = sorted((data / "ch4_test_images").iterdir())
    chosen = ["--threshold", best["threshold"]]
    run(capsys, "predict", weights, *images, "--out", tmp_path / "found", "--submission", *chosen)
    submission = tmp_path / "found" / "submission.zip"
    score = json.loads(run(capsys, "score", "icdar2015", data / "Challenge4_Test_Task1_GT", submission, "--json"))
    assert score["matched"] == best["matched"] and score["detections"] == best["detections"]

    said = run(capsys, "predict", weights, *images, "--out", tmp_path / "all", "--submission", "--scores", "--json",
               "--threshold", 0.05)  # fmt: skip
    assert len([json.loads(line) for line in said.splitlines()]) == len(images), "the rest goes to standard error"
    submission = tmp_path / "all" / "submission.zip"
    truth = data / "Challenge4_Test_Task1_GT"
    sweep = json.loads(run(capsys, "score", "icdar2015", truth, submission, "--sweep", "--json"))
    assert {name: sweep[name] for name in ("matched", "threshold")} == {n: best[n] for n in ("matched", "threshold")}
