"""The chapters of the tutorial as they are committed; `make test-notebooks` executes them."""

import ast
import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
CHAPTERS = sorted(NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))
SOLUTIONS = sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))
LARGEST = 1_500_000
"""Bytes."""


def cells(path: Path, kind: str = "") -> list[dict]:
    """The cells of a notebook, or those of a kind ("code", "markdown"), with their source as one text."""
    found = json.loads(path.read_text("utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in found if kind in ("", cell["cell_type"])]


def markdown(path: Path) -> str:
    return "\n\n".join(cell["source"] for cell in cells(path, "markdown"))


all_chapters = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
all_notebooks = pytest.mark.parametrize(
    "path", [*CHAPTERS, *SOLUTIONS], ids=lambda path: f"{path.parent.name}-{path.stem}"
)


def test_there_are_chapters_each_with_a_number_of_its_own():
    assert CHAPTERS and len({path.stem[:2] for path in CHAPTERS}) == len(CHAPTERS)


@all_chapters
def test_a_chapter_says_what_one_learns_needs_and_how_long_it_takes(path):
    title, *rest = cells(path)[0]["source"].split("\n\n")
    assert re.match(rf"# {path.stem[:2]} \S", title)
    assert [paragraph.split("**")[1] for paragraph in rest[:3]] == ["You will learn", "You need", "It takes"]


@all_chapters
def test_a_chapter_asks_before_it_shows_and_ends_with_three_exercises(path):
    text = markdown(path)
    assert len(re.findall(r"\*\*Before you run this:\*\*", text)) >= 2
    exercises = text.partition("\n## Exercises\n")[2]
    assert re.findall(r"^(\d)\. ", exercises, re.MULTILINE) == ["1", "2", "3"]
    assert f"solutions/{path.name}" in exercises and (NOTEBOOKS / "solutions" / path.name) in SOLUTIONS


@all_notebooks
def test_it_is_committed_as_executed_from_top_to_bottom_without_a_complaint(path):
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        for output in cell["outputs"]:
            assert output["output_type"] != "error" and output.get("name") != "stderr"
            assert not any("widget" in kind for kind in output.get("data", {}))
    assert path.stat().st_size <= LARGEST


@all_notebooks
def test_it_imports_nothing_but_packages_and_nothing_private(path):
    for cell in cells(path, "code"):
        for node in ast.walk(ast.parse(re.sub(r"^[%!].*$", "", cell["source"], flags=re.MULTILINE))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0 and not any(alias.name.startswith("_") for alias in node.names)
                assert not any(part.startswith("_") for part in node.module.split(".") if part != "__future__")


@all_notebooks
def test_what_it_links_to_exists(path):
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", markdown(path)) if "://" not in link]
    assert not [link for link in links if not (path.parent / link).exists()]


@all_chapters
def test_the_readme_has_each_chapter_with_its_picture(path):
    readme = (NOTEBOOKS.parent / "README.md").read_text("utf-8")
    assert f"](notebooks/{path.name})" in readme and f"notebooks/thumbnails/{path.stem}.png" in readme
    assert (NOTEBOOKS / "thumbnails" / f"{path.stem}.png").exists()
