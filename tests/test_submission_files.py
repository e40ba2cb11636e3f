"""Submissions held to the rules of the official validators, which are written down once more in the tests."""

import zipfile

import independent_icdar_evaluator as independent
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_files import write_archive

from maskrcnn.evaluation.protocols import PROTOCOLS
from maskrcnn.evaluation.result_files import read_results
from maskrcnn.evaluation.submission_files import write_submission

NAMES = {
    "icdar2015": ["res_img_1.txt", "res_img_500.txt"],
    "icdar2017": ["res_img_00001.txt", "res_img_00500.txt"],
    "ctw1500": ["0001.txt", "0500.txt"],
    "totaltext": ["img1.txt", "img500.txt"],
}
"""Of the pictures 1 and 500, as the benchmarks ask for them."""
SQUARE = "0,0,10,0,10,10,0,10"


def faults(path, name, scores=False):
    corners = 4 if PROTOCOLS[name].quadrilaterals else None
    return independent.faults_of_submission(path, NAMES[name], corners, scores)


# the validator of the tests


@pytest.mark.parametrize(
    ("entry", "line", "fault"),
    [
        ("res_img_1.txt", SQUARE, ""),
        ("res_img_1.txt", "0,0,10,10,10,10,0,0", ""),  # without area
        ("inner/res_img_1.txt", SQUARE, "not a file of this benchmark"),
        ("res_img_01.txt", SQUARE, "not a file of this benchmark"),
        ("res_img_1.txt", "0,0,0,10,10,10,10,0", "counter-clockwise"),
        ("res_img_1.txt", "0,0,10.0,0,10,10,0,10", "something else than integers"),
        ("res_img_1.txt", "0,0,10,0,10,10", "another number of corners"),
        ("res_img_1.txt", f"{SQUARE},0.5", "something else than integers"),
        ("res_img_1.txt", f"\ufeff{SQUARE}", "more than digits"),
        ("res_img_1.txt", f"{SQUARE}\r", "more than digits"),
    ],
)
def test_the_rules_catch_what_they_should(tmp_path, entry, line, fault):
    path = write_archive(tmp_path / "s.zip", {entry: f"{line}\n"})
    found = faults(path, "icdar2015")
    assert fault in found[0] if fault else found == []
    scored = write_archive(tmp_path / "scored.zip", {"res_img_1.txt": f"{SQUARE},1e-5"})
    assert "no score" in faults(scored, "icdar2015", scores=True)[0]


# what is written

COORDINATES = st.floats(-60, 1400).map(lambda value: round(value, 2)) | st.integers(0, 12).map(float)
"""Of pictures and beyond; and so near one another that rounding joins them."""


def polygons(least: int, most: int) -> st.SearchStrategy:
    corners = st.lists(st.tuples(COORDINATES, COORDINATES), min_size=least, max_size=most).map(np.array)
    return st.lists(st.tuples(corners, st.floats(0, 1)), max_size=4)


@pytest.mark.parametrize(("name", "scores"), [*((name, False) for name in PROTOCOLS), ("icdar2015", True)])
def test_whatever_was_found_the_validator_accepts(tmp_path, name, scores):
    """Either winding, slivers, outlines that cross themselves, corners outside: a text is submitted or named."""
    path, written = tmp_path / "s.zip", []

    @given(polygons(4, 4) if PROTOCOLS[name].quadrilaterals else polygons(3, 9))
    def search(found):
        done = write_submission(path, {"img_500.jpg": found, 1: []}, scores, PROTOCOLS[name])
        assert faults(path, name, scores) == []
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist() == [NAMES[name][1], NAMES[name][0]]
        read = read_results(path, PROTOCOLS[name].quadrilaterals)[500]
        assert done.texts == len(read.polygons) and done.texts + len(done.dropped) == len(found)
        if scores and done.texts:
            assert (np.diff(read.scores) <= 0).all()
        if PROTOCOLS[name].quadrilaterals:
            for polygon in read.polygons:  # the same corners as one that was found, from whichever the first
                assert any(
                    {tuple(corner) for corner in polygon} == {tuple(corner) for corner in np.rint(given).tolist()}
                    for given, _ in found
                )
        written.append((done.texts, len(done.dropped)))

    search()
    assert any(texts for texts, _ in written) and any(dropped for _, dropped in written)
