"""The teachers' page of the assignments says what the source notebooks say."""

import json
from pathlib import Path

import pytest

ASSIGNMENTS = Path(__file__).parent.parent / "notebooks" / "assignments"
SOURCES = sorted((ASSIGNMENTS / "source").glob("*/*.ipynb"))
PAGE = (ASSIGNMENTS / "README.md").read_text(encoding="utf-8")


def points_row(path: Path) -> str:
    """The row of the table of points that belongs to a source notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    graded = [about for cell in cells if (about := cell["metadata"].get("nbgrader", {})).get("grade")]
    tests = [f"{about['grade_id']} {about['points']:g}" for about in graded if not about["solution"]]
    words = [f"{about['grade_id']} {about['points']:g}" for about in graded if about["solution"]]
    return f"| {path.stem[:2].upper()} | {', '.join(tests)} | {', '.join(words)} |"


@pytest.mark.parametrize("path", SOURCES, ids=[path.stem for path in SOURCES])
def test_the_table_of_points_is_that_of_the_source(path):
    assert points_row(path) in PAGE.splitlines()


@pytest.mark.parametrize("path", SOURCES, ids=[path.stem for path in SOURCES])
def test_a_source_is_stored_without_outputs_and_its_tests_say_their_points(path):
    assert path.stem == path.parent.name
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
        about = cell["metadata"].get("nbgrader", {})
        if about.get("grade") and not about["solution"]:
            first = "".join(cell["source"]).splitlines()[0]
            plural = "" if about["points"] == 1 else "s"
            assert first.startswith("#") and f"({about['points']:g} point{plural}" in first, first


def test_the_page_names_them_all():
    assert [path.stem[:2] for path in SOURCES] == [f"a{number}" for number in range(1, len(SOURCES) + 1)]
    for path in SOURCES:
        title = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"][0].strip().removeprefix("# ")
        assert f"| {title} |" in PAGE, title


if __name__ == "__main__":
    print("\n".join(map(points_row, SOURCES)))
