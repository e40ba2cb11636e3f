"""Run-length codes and polygons against pycocotools, bit for bit.

The strings and numbers in tests/golden/pycocotools.json come from pycocotools itself
(tests/golden/make_golden_run_length.py). Where it is installed, the last test asks it again.
"""

import importlib.util
import json
import pathlib

import numpy as np
import pytest
from test_run_length import on_both

from maskrcnn.ops import run_length
from maskrcnn.reference import counts_string, polygon_masks

FILE = pathlib.Path(__file__).parent / "golden" / "pycocotools.json"


@pytest.fixture(scope="module")
def golden():
    return json.loads(FILE.read_text())


@pytest.fixture(scope="module")
def codes(golden):
    return run_length.from_polygons(golden["inputs"]["objects"], 30, 30)


def test_the_file_says_what_made_it(golden):
    assert golden["versions"]["pycocotools"].startswith("2.") and golden["versions"]["numpy"]
    assert FILE.stat().st_size < 100 * 1024


def test_polygons(golden):
    for case, expected in zip(golden["inputs"]["polygons"], golden["outputs"]["polygons"], strict=True):
        height, width = case["height"], case["width"]
        (code,) = on_both(run_length.from_polygons, [case["points"]], height, width)
        assert on_both(run_length.to_string, code) == expected, case
        if max(map(abs, case["points"])) < 1000:
            points = np.array(case["points"]).reshape(-1, 2)
            assert counts_string.to_string(polygon_masks.from_polygon(points, height, width)) == expected, case


def test_the_polygons_are_not_trivial(golden):
    """Most leave some pixels on both sides; some cover nothing, some everything."""
    kinds = [len(counts_string.from_string(counts)) for counts in golden["outputs"]["polygons"]]
    assert kinds.count(1) > 3 and kinds.count(2) > 0 and sum(kind > 10 for kind in kinds) > 10


def test_masks(golden):
    for rows, expected in zip(golden["inputs"]["masks"], golden["outputs"]["masks"], strict=True):
        mask = np.array([[pixel == "1" for pixel in row] for row in rows])
        (code,) = on_both(run_length.encode, mask[None])
        assert on_both(run_length.to_string, code) == expected
        assert on_both(run_length.from_string, expected, *mask.shape) == code
        assert (on_both(run_length.decode, [code])[0] == mask).all()


def test_area_and_box(golden, codes):
    assert on_both(run_length.area, codes).tolist() == golden["outputs"]["area"]
    x, y, width, height = np.array(golden["outputs"]["box"]).T
    assert (on_both(run_length.box, codes) == np.stack([x, y, x + width, y + height], axis=1)).all()


def test_iou(golden, codes):
    overlaps = on_both(run_length.iou, codes, codes, golden["inputs"]["crowd"])
    assert overlaps.tolist() == golden["outputs"]["iou"], "the very same bits"
    assert len(np.unique(overlaps)) > 15


def test_merging(golden, codes):
    assert run_length.to_string(on_both(run_length.merge, codes)) == golden["outputs"]["union"]
    intersection = on_both(run_length.merge, codes[:2], intersect=True)
    assert run_length.to_string(intersection) == golden["outputs"]["intersection"]
    assert run_length.area([intersection])[0] > 0


if importlib.util.find_spec("pycocotools"):

    def test_pycocotools_still_says_the_same(golden):
        from golden.make_golden_run_length import ask_pycocotools, draw_inputs

        assert draw_inputs() == golden["inputs"]
        assert ask_pycocotools(golden["inputs"]) == golden["outputs"]
