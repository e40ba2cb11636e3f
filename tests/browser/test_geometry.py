"""The arithmetic that the page does itself is the library's: the same numbers from the same boxes, in a browser."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
import torch

from maskrcnn import boxes as box_functions
from maskrcnn import ops


@pytest.fixture(scope="module")
def run(browser, tmp_path_factory):
    """A function that evaluates JavaScript beside the page's geometry."""
    script = resources.files("maskrcnn.explain").joinpath("page/geometry.js").read_text("utf-8")
    path: Path = tmp_path_factory.mktemp("geometry") / "geometry.html"
    path.write_text(f"<!DOCTYPE html><script>{script}</script>", encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    yield page.evaluate
    page.close()


def random_boxes(count: int, seed: int, *, whole: bool = False, side: float = 60.0) -> torch.Tensor:
    """(N, 4) boxes, most of which overlap others; `whole` ones have IoU that tie."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 100
    size = torch.rand(count, 2, generator=generator) * side + 1
    boxes = torch.cat((corner, corner + size), dim=1)
    return boxes.round() if whole else boxes


NMS = """([boxes, scores, groups, threshold, most]) => {
  const number = (value) => value === null ? NaN : value;
  const found = nms(Float32Array.from(boxes.map(number)), Float32Array.from(scores.map(number)),
    groups && Int32Array.from(groups), threshold, most);
  return { kept: found.kept, suppressor: Array.from(found.suppressor) };
}"""


def nms_in_page(run, boxes, scores, groups, threshold, most):
    groups = None if groups is None else groups.tolist()
    return run(NMS, [boxes.flatten().tolist(), scores.tolist(), groups, threshold, most])


@pytest.mark.parametrize("seed", range(20))
def test_nms_keeps_the_boxes_that_the_op_keeps(run, seed):
    generator = torch.Generator().manual_seed(1000 + seed)
    count = [1, 2, 7, 40, 300][seed % 5]
    boxes = random_boxes(count, seed, whole=seed % 2 == 0)
    scores = torch.rand(count, generator=generator)
    if seed % 3 == 0:
        scores = (scores * 4).round() / 4  # many are equal
    groups = torch.randint(0, 3, (count,), generator=generator)
    for threshold in (0.0, 0.3, 0.5, 0.7, 1.0):
        kept = ops.nms(boxes, scores, groups, iou_threshold=threshold, max_keep=count)
        found = nms_in_page(run, boxes, scores, groups, threshold, count)
        assert found["kept"] == kept[kept >= 0].tolist()
        alone = ops.nms(boxes, scores, iou_threshold=threshold, max_keep=5)
        found = nms_in_page(run, boxes, scores, None, threshold, 5)
        assert found["kept"] == alone[alone >= 0].tolist()


@pytest.mark.parametrize("threshold", [0.25, 0.5, 0.75])
def test_who_suppresses_a_box_is_the_first_survivor_that_overlaps_it_enough(run, threshold):
    boxes, scores = random_boxes(80, 5), torch.rand(80, generator=torch.Generator().manual_seed(6))
    groups = torch.arange(80) % 2
    found = nms_in_page(run, boxes, scores, groups, threshold, 80)
    assert len(found["kept"]) + sum(by >= 0 for by in found["suppressor"]) == 80
    overlaps = box_functions.iou(boxes, boxes)
    for index, by in enumerate(found["suppressor"]):
        enough = [k for k in found["kept"] if groups[k] == groups[index] and overlaps[k, index] > threshold]
        earlier = [k for k in enough if (scores[k], -k) > (scores[index], -index)]
        assert by == (earlier[0] if earlier else -1)


def test_what_is_no_candidate_is_neither_kept_nor_suppressed(run):
    """NaN is not a number of JSON; here null stands for it."""
    boxes = [[0, 0, 10, 10], [0, 0, 10, 10], [None, 0, 10, 10], [0, 0, 9, 9], [8, 8, 2, 2]]
    scores = [None, 0.5, 0.9, 0.4, 0.3]
    found = run(NMS, [[value for box in boxes for value in box], scores, None, 0.5, 9])
    assert found == {"kept": [1, 4], "suppressor": [-1, -1, -1, 1, -1]}
    nan = float("nan")
    tensor = torch.tensor([[nan if value is None else value for value in box] for box in boxes])
    kept = ops.nms(tensor, torch.tensor([nan, 0.5, 0.9, 0.4, 0.3]), iou_threshold=0.5, max_keep=9)
    assert kept[kept >= 0].tolist() == found["kept"]


def test_a_tie_with_the_threshold_is_no_suppression(run):
    """IoU of (0, 0, 2, 1) and (1, 0, 3, 1): a third, which float32 and float64 round differently."""
    boxes, scores = torch.tensor([[0.0, 0, 2, 1], [1.0, 0, 3, 1]]), torch.tensor([0.9, 0.8])
    for threshold in (1 / 3, 0.3333333, 0.33333334, 0.33333336, 0.3334):
        kept = ops.nms(boxes, scores, iou_threshold=threshold, max_keep=2)
        found = nms_in_page(run, boxes, scores, None, threshold, 2)
        assert found["kept"] == kept[kept >= 0].tolist(), threshold


def test_iou_is_that_of_the_library(run):
    boxes = torch.cat((random_boxes(30, 1), torch.tensor([[5.0, 5, 5, 9], [9.0, 9, 1, 1], [5.0, 5, 5, 9]])))
    found = run("(boxes) => boxes.map((a) => boxes.map((b) => iou(a, b)))", boxes.tolist())
    torch.testing.assert_close(torch.tensor(found), box_functions.iou(boxes, boxes), rtol=0, atol=1e-7)


@pytest.mark.parametrize("both", [False, True])
def test_decoding_is_that_of_the_library(run, both):
    generator = torch.Generator().manual_seed(3)
    boxes, deltas = random_boxes(50, 2), torch.randn(50, 4, generator=generator) * torch.tensor([3.0, 3, 9, 9])
    script = """([boxes, deltas, both]) =>
      boxes.map((box, i) => clip(decode(box, deltas[i], [10, 10, 5, 5], both), 90, 70))"""
    found = torch.tensor(run(script, [boxes.tolist(), deltas.tolist(), both]))
    expected = box_functions.decode(deltas, boxes, (10.0, 10.0, 5.0, 5.0), both)
    expected = box_functions.clip(expected[None], torch.tensor([[70, 90]]))[0]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("side", [111.9, 112.0, 112.1, 223.9, 224.0, 448.0, 1.0, 5000.0])
def test_the_level_of_an_roi_is_the_one_that_roialign_reads(run, side):
    """Each level has another constant value, so what is pooled tells the level."""
    features = [torch.full((1, 1, 2048 // stride, 2048 // stride), float(level)) for level, stride in
                enumerate((4, 8, 16, 32))]  # fmt: skip
    box = [10.0, 10.0, 10.0 + side, 10.0 + side]
    pooled = ops.pyramid_roi_align(
        features, torch.tensor([[box]]), output_size=1, strides=[4, 8, 16, 32], sampling_ratio=1, aligned=False
    )
    if side < 2000:  # the middle of a larger one lies outside
        assert run("(box) => pyramidLevel(box, 4, 56)", box) == round(pooled.item())
    assert 0 <= run("(box) => pyramidLevel(box, 4, 56)", box) <= 3


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [0, 2, 3])
@pytest.mark.parametrize("box", [[8.0, 12.0, 40.0, 30.0], [3.3, 5.1, 61.7, 47.9], [20.0, 20.0, 20.5, 21.0]])
def test_sampling_points_are_those_that_roialign_averages(run, aligned, ratio, box):
    """On a map whose values are its own coordinates, the average of a bin's samples is where they lie on average."""
    stride, size, cells = 4.0, 3, 24
    y, x = torch.meshgrid(torch.arange(cells).double(), torch.arange(cells).double(), indexing="ij")
    pooled = ops.pyramid_roi_align(
        [torch.stack((x, y))[None]], torch.tensor([[box]], dtype=torch.float64), output_size=size, strides=[stride],
        sampling_ratio=ratio, aligned=aligned,
    )[0, 0]  # fmt: skip
    grid = run("([box, ratio, aligned]) => roiAlignGrid(box, 4, 3, ratio, aligned)", [box, ratio, aligned])
    points = torch.tensor(grid["points"], dtype=torch.float64).view(size * size, -1, 2).clamp(min=0, max=cells - 1)
    torch.testing.assert_close(points.mean(dim=1).T.view(2, size, size), pooled, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("box", [[8.0, 12, 40, 30], [3.3, 5.1, 61.7, 47.9], [2.0, 2, 2, 2], [6.0, 10, 50, 58]])
def test_bins_of_roipool_are_those_whose_maxima_it_takes(run, box):
    feature = torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    pooled = ops.roi_pool(feature, torch.tensor([[box]]), output_size=3, stride=4.0)[0, 0, 0]
    found = run("(box) => roiPoolBins(box, 4, 3)", box)
    cut = [feature[0, 0, y1:y2, x1:x2] for x1, y1, x2, y2 in found["bins"]]
    torch.testing.assert_close(torch.stack([part.max() for part in cut]).view(3, 3), pooled)


@pytest.mark.parametrize("box", [[10.0, 5.0, 40.0, 30.0], [-6.3, 20.2, 30.9, 58.8], [31.0, 31.0, 32.0, 33.0]])
def test_a_pasted_mask_covers_the_pixels_that_the_op_covers(run, box):
    mask = (torch.randn(7, 7, generator=torch.Generator().manual_seed(1)) * 4).sigmoid()
    script = """([mask, box]) => {
      const found = pasteMask(Float32Array.from(mask), 7, box, 50, 60, 1);
      return { ...found, values: Array.from(found.values) };
    }"""
    found = run(script, [mask.flatten().tolist(), box])
    pasted = torch.zeros(60, 50)
    values = torch.tensor(found["values"]).view(found["height"], found["width"])
    pasted[found["y"] : found["y"] + found["height"], found["x"] : found["x"] + found["width"]] = values
    expected = ops.paste_masks(
        mask[None], torch.tensor([box]), height=60, width=50, convention="pixel_centres"
    )[0]
    assert expected.any() and torch.equal(pasted >= 0.5, expected)
