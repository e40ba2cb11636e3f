"""Submissions that hang, crash, flood or lack their tests: each is graded for the rest, and the others for all."""

import copy
import json

import pytest
from course import Course, about, is_test

pytestmark = pytest.mark.filterwarnings("ignore")  # SQLAlchemy's, of nbgrader

OF_IOU = {"iou-by-hand", "iou-same", "iou-apart", "iou-many", "iou-degenerate", "iou-fast"}
FATAL = {
    "a function that loops for ever": "def iou(boxes, others):\n    while True:\n        pass",
    "a function that wants 50 GB": "def iou(boxes, others):\n    return torch.zeros(12_500_000_000)",
    "a function that crashes": "import ctypes\ndef iou(boxes, others):\n    return ctypes.string_at(0)",
    "a function that prints megabytes": "def iou(boxes, others):\n    while True:\n        print('x' * 1000)",
    "a function that exits": "import os\ndef iou(boxes, others):\n    os._exit(0)",
    "a cell that loops for ever": "while True:\n    pass",
    "a cell that wants 50 GB": "enough = torch.zeros(12_500_000_000)",
    "a cell that crashes": "import ctypes\nctypes.string_at(0)",
    "a cell that exits": "import os\nos._exit(0)",
    "a cell that does not parse": "def iou(boxes, others)\n    return 0",
}
"""Text of the cell of `iou`."""


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The course, and student -> test -> points, with a good submission first and last."""
    course = Course(tmp_path_factory.mktemp("hostile"), "a1-boxes")
    for name in ("0 good", "z good"):
        course.submit(name, course.solved())
    for name, text in FATAL.items():
        course.submit(name, course.solved({"iou": text}))
    course.submit("prints and works", course.solved({"iou": ("left_top =", "print('x' * 300)\n    left_top =")}))
    flood = "for _ in range(20_000):\n    print('x' * 100)\n"
    course.submit("floods and works", course.solved({"iou": ("def iou", f"{flood}def iou")}))
    without = copy.deepcopy(course.solved())
    without["cells"] = [cell for cell in without["cells"] if not about(cell).get("grade")]
    course.submit("no tests", without)
    rewritten = course.solved({"iou": "def iou(boxes, others):\n    return None"})
    for cell in rewritten["cells"]:
        if is_test(cell):
            cell["source"] = "assert True"
            about(cell)["points"] = 100
    course.submit("tests rewritten", rewritten)
    empty = copy.deepcopy(course.released)
    empty["cells"] = []
    course.submit("no cells", empty)
    course.submit("nothing but iou", {**empty, "cells": [c for c in course.solved()["cells"] if c.get("id") == "iou"]})
    return course, course.grade("--ExecuteWithinLimits.timeout=25")


def test_the_others_are_unaffected(graded):
    course, points = graded
    assert points["0 good"] == points["z good"] == course.points()


@pytest.mark.parametrize("name", FATAL)
def test_what_is_fatal_costs_the_points_of_its_function(graded, name):
    course, points = graded
    lost = {test for test, got in points[name].items() if got == 0}
    assert lost == OF_IOU and sum(points[name].values()) == sum(course.points().values()) - 8


@pytest.mark.parametrize(
    ("name", "test", "said"),
    [
        ("a function that loops for ever", "iou-by-hand", "still running after 10 s; is there a loop"),
        ("a function that wants 50 GB", "iou-same", "your iou wanted more than 2 GB of memory"),
        ("a function that crashes", "iou-same", "your iou ended its process (signal SIGSEGV)"),
        ("a function that prints megabytes", "iou-same", "your iou printed more than 1 MB"),
        ("a cell that loops for ever", "iou", "this cell was still running after 25 s"),
        ("a cell that crashes", "iou", "this cell ended the interpreter"),
    ],
)
def test_it_is_said_why(graded, name, test, said):
    course, _ = graded
    assert said in course.said(name, test)


@pytest.mark.parametrize("name", ["prints and works", "floods and works", "no tests"])
def test_what_works_has_its_points_all_the_same(graded, name):
    course, points = graded
    assert points[name] == course.points()
    path = course.folder / "autograded" / name / "a1-boxes" / "a1-boxes.ipynb"
    assert path.stat().st_size < 500_000


def test_tests_are_those_of_the_source_and_what_is_missing_is_not_solved(graded):
    _, points = graded
    assert {test for test, got in points["tests rewritten"].items() if got == 0} == OF_IOU
    assert set(points["no cells"].values()) == {0.0}
    assert {test for test, got in points["nothing but iou"].items() if got > 0} == OF_IOU


def test_what_students_get_back_hides_the_hidden_tests(graded):
    course, _ = graded
    course.nbgrader("generate_feedback", course.assignment)
    page = (course.folder / "feedback" / "a function that crashes" / "a1-boxes" / "a1-boxes.html").read_text()
    assert "ended its process" in page and "HIDDEN TESTS" not in page and "wrong way round" in page
    assert "your IoU of a point with itself" not in page


def test_the_release_has_no_solutions_and_no_hidden_tests(graded):
    course, _ = graded
    text = json.dumps(course.released)
    assert "BEGIN" not in text and "left_top" not in text and "a point with itself" not in text
    assert text.count('print(\\"This test is hidden;') == 3  # silence would be taken for a pass
    assert text.count("# YOUR CODE HERE") == 4 and text.count("YOUR ANSWER HERE") == 1
