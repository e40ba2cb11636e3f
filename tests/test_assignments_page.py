"""The teachers' page of the assignments says what the source notebooks say."""

import json
import re
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


@pytest.mark.parametrize("path", SOURCES, ids=[path.stem for path in SOURCES])
def test_what_students_get_has_no_line_of_a_solution(path):
    written: dict[str, set[str]] = {"": set(), "SOLUTION": set(), "HIDDEN TESTS": set()}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            region = ""
            for line in "".join(cell["source"]).splitlines():
                mark = re.fullmatch(r"\s*(?:###|//) (BEGIN|END) (SOLUTION|HIDDEN TESTS)", line)
                if mark:
                    region = mark[2] if mark[1] == "BEGIN" else ""
                elif len(line.strip()) >= 25:
                    written[region].add(line.strip())
    assert written["SOLUTION"] and written["SOLUTION"] & written[""] == set()


@pytest.mark.parametrize("path", SOURCES, ids=[path.stem for path in SOURCES])
def test_hours_and_hidden_tests_are_told(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    hours = next(row.split(" | ")[2] for row in PAGE.splitlines() if row.startswith(f"| {path.stem[:2].upper()} "))
    words = dict(zip("12345678", ("one", "two", "three", "four", "five", "six", "seven", "eight"), strict=True))
    for digit, word in words.items():
        hours = hours.replace(digit, word)
    assert f"**It takes** {hours} hours" in "".join(cells[0]["source"])
    for cell in cells:
        text = "".join(cell["source"])
        if "### BEGIN HIDDEN TESTS" in text:
            first, *more = text.partition("### BEGIN HIDDEN TESTS")[0].splitlines()
            code = [line for line in more if not line.startswith("#")]
            assert re.search(r"\(\d+ points?, (partly )?hidden\)", first), first
            assert ("partly hidden" in first) == bool(code), first


def test_the_page_names_them_all():
    assert [path.stem[:2] for path in SOURCES] == [f"a{number}" for number in range(1, len(SOURCES) + 1)]
    for path in SOURCES:
        title = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"][0].strip().removeprefix("# ")
        assert f"| {title} |" in PAGE, title


if __name__ == "__main__":
    print("\n".join(map(points_row, SOURCES)))
