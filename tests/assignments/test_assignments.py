"""Each assignment, graded by nbgrader: solved, untouched, and with the mistakes that students make.

The mistakes stand in a module for each assignment, `a1_boxes` for `a1-boxes`.
"""

import csv
import importlib

import pytest
from course import ASSIGNMENTS, Course, Wrong, about

NAMES = sorted(path.name for path in (ASSIGNMENTS / "source").iterdir() if path.is_dir())
MISTAKES = {name: importlib.import_module(name.replace("-", "_")).WRONG for name in NAMES}

pytestmark = pytest.mark.filterwarnings("ignore")  # SQLAlchemy's, of nbgrader


@pytest.fixture(scope="module")
def courses(tmp_path_factory):
    """Assignments that have been graded: course and points, by name."""
    return {}


def shared(mistakes):
    """Mistakes -> lists of them, for a submission each, as grading takes long.

    Those in a list touch different cells, call none of each other's, and cost different tests. What one of them costs
    beyond its `loses` goes unnoticed where another one of the list costs that.
    """
    submissions: list[list[Wrong]] = []
    for wrong in mistakes:
        for others in submissions:
            if all(_apart(wrong, other) for other in others):
                others.append(wrong)
                break
        else:
            submissions.append([wrong])
    return submissions


def _apart(wrong, other):
    cells = wrong.edits.keys() & {*other.edits, *other.calls} | other.edits.keys() & {*wrong.calls}
    return not cells and not {*wrong.loses} & {*other.loses}


SUBMISSIONS = {name: shared(mistakes) for name, mistakes in MISTAKES.items()}


def graded(courses, name, tmp_path_factory):
    """The course of an assignment, and student -> test -> points; all submissions are graded in one go."""
    if name not in courses:
        course = Course(tmp_path_factory.mktemp(name), name)
        course.submit("solved", course.solved())
        course.submit("untouched", course.released)
        for number, mistakes in enumerate(SUBMISSIONS[name]):
            edits = {cell: edit for wrong in mistakes for cell, edit in wrong.edits.items()}
            course.submit(f"wrong{number}", course.solved(edits))
        courses[name] = course, course.grade()
    return courses[name]


def lost_by(student, course, points):
    """The tests that a submission has not passed, and what was said."""
    return {test: course.said(student, test) for test, got in points[student].items() if got < course.points()[test]}


@pytest.mark.parametrize("name", NAMES)
def test_the_solution_has_all_points_and_the_release_none(name, courses, tmp_path_factory):
    course, points = graded(courses, name, tmp_path_factory)
    assert lost_by("solved", course, points) == {}
    assert points["solved"] == course.points()
    assert points["untouched"] == dict.fromkeys(course.points(), 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_the_exported_totals_are_those_of_the_tests(name, courses, tmp_path_factory):
    course, points = graded(courses, name, tmp_path_factory)
    course.nbgrader("export")
    with (course.folder / "grades.csv").open() as file:
        totals = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert totals == {student: sum(tests.values()) for student, tests in points.items()}


@pytest.mark.parametrize("name", NAMES)
def test_there_are_five_mistakes_and_twenty_points(name, courses, tmp_path_factory):
    course, _ = graded(courses, name, tmp_path_factory)
    assert len(MISTAKES[name]) >= 5
    assert sum(about(cell)["points"] for cell in course.source["cells"] if about(cell).get("grade")) == 20


@pytest.mark.parametrize(
    ("name", "number"),
    [
        pytest.param(name, number, id=f"{name}: {'; '.join(wrong.name for wrong in mistakes)}")
        for name in NAMES
        for number, mistakes in enumerate(SUBMISSIONS[name])
    ],
)
def test_a_mistake_costs_what_the_rubric_says(name, number, courses, tmp_path_factory):
    course, points = graded(courses, name, tmp_path_factory)
    lost = lost_by(f"wrong{number}", course, points)
    assert set(lost) == {test for wrong in SUBMISSIONS[name][number] for test in wrong.loses}, lost
    assert all(points[f"wrong{number}"][test] == 0.0 for test in lost)
