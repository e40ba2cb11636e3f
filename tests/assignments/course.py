"""A course in a temporary folder: releases assignments, hands in submissions, and has nbgrader grade them."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook

ASSIGNMENTS = Path(__file__).resolve().parents[2] / "notebooks" / "assignments"


@dataclass(frozen=True)
class Wrong:
    """A submission that is right but for what a student has written otherwise."""

    name: str
    edits: Mapping[str, tuple[str, str] | str]
    """Of cells of solutions: a piece of the source's text and what stands there instead; or the whole text."""
    loses: tuple[str, ...] = field(default=())
    """The tests whose points it does not get."""
    calls: tuple[str, ...] = field(default=())
    """Cells whose functions it calls where the solution does not; a submission that it shares leaves them right."""


class Course:
    """A folder with this course in it."""

    def __init__(self, folder: Path, assignment: str) -> None:
        self.folder, self.assignment = folder, assignment
        shutil.copy(ASSIGNMENTS / "nbgrader_config.py", folder)
        shutil.copytree(ASSIGNMENTS / "source" / assignment, folder / "source" / assignment)
        self.nbgrader("generate_assignment", assignment)
        self.source = self._read("source")
        self.released = self._read("release")

    def nbgrader(self, *words: str) -> str:
        """Runs a command of nbgrader in the course's folder, and returns what it says."""
        tools = Path(sys.executable).parent  # nbgrader calls others by name
        environment = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        environment["ASSIGNMENT_SEED"] = "4711"  # not that of the students
        environment["ASSIGNMENT_BUDGET"] = "15"  # seconds of the processor for the detector of A8
        command = [sys.executable, "-W", "ignore", "-m", "nbgrader", *words]
        result = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-3000:]
        return result.stderr

    def submit(self, student: str, notebook: dict[str, Any]) -> None:
        """Hands in a notebook."""
        path = self.folder / "submitted" / student / self.assignment / f"{self.assignment}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(notebook))

    def solved(self, edits: Mapping[str, tuple[str, str] | str] | None = None) -> dict[str, Any]:
        """The release, solved as the source does it but for the edits."""
        edits = dict(edits or {})
        notebook = copy.deepcopy(self.released)
        solutions = {_name(cell): "".join(cell["source"]) for cell in self.source["cells"] if _is_solution(cell)}
        for cell in notebook["cells"]:
            if _is_solution(cell):
                edit = edits.pop(_name(cell), None)
                cell["source"] = edit if isinstance(edit, str) else solutions[_name(cell)]
                if isinstance(edit, tuple):
                    assert cell["source"].count(edit[0]) == 1, f"{_name(cell)} should have {edit[0]!r} once"
                    cell["source"] = cell["source"].replace(*edit)
        assert not edits, f"no solution is called {', '.join(edits)}"
        return notebook

    def grade(self, *options: str) -> dict[str, dict[str, float]]:
        """Grades all that was handed in: student -> test -> points. Questions in words are left to people."""
        self.nbgrader("autograde", self.assignment, *options)
        with Gradebook(f"sqlite:///{self.folder / 'gradebook.db'}") as gradebook:
            found = {
                submission.student.id: submission.notebooks[0].grades
                for submission in gradebook.assignment_submissions(self.assignment)
            }
            return {
                student: {grade.name: grade.auto_score for grade in grades if grade.cell_type == "code"}
                for student, grades in found.items()
            }

    def points(self) -> dict[str, float]:
        """What each test is worth."""
        return {_name(cell): about(cell)["points"] for cell in self.source["cells"] if is_test(cell)}

    def said(self, student: str, test: str) -> str:
        """What a student finds below a test that was not passed."""
        path = self.folder / "autograded" / student / self.assignment / f"{self.assignment}.ipynb"
        for cell in json.loads(path.read_text())["cells"]:
            if _name(cell) == test:
                return "".join(output.get("evalue", "") for output in cell["outputs"])
        raise KeyError(test)

    def _read(self, step: str) -> dict[str, Any]:
        return json.loads((self.folder / step / self.assignment / f"{self.assignment}.ipynb").read_text())


def about(cell: dict[str, Any]) -> dict[str, Any]:
    """What nbgrader knows of a cell."""
    return cell["metadata"].get("nbgrader", {})


def _name(cell: dict[str, Any]) -> str | None:
    return about(cell).get("grade_id")


def _is_solution(cell: dict[str, Any]) -> bool:
    return about(cell).get("solution", False)


def is_test(cell: dict[str, Any]) -> bool:
    """Whether a cell is a test, and no question in words."""
    return about(cell).get("grade", False) and not _is_solution(cell)
