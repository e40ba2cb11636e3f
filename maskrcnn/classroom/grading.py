"""What this course does otherwise than nbgrader: no submission can stop it, and hidden tests stay hidden.

`notebooks/assignments/nbgrader_config.py` puts these into nbgrader's chains of preprocessors.
"""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbclient.util import run_sync
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from nbgrader.api import Gradebook
from nbgrader.preprocessors import ClearHiddenTests, ClearSolutions, Execute, NbGraderPreprocessor
from nbgrader.utils import is_grade

LIMITS = "from maskrcnn.classroom import kernel_limits; kernel_limits.apply()"
CPP_MAGIC = "%%cpp"


class ClearSolutionsInCpp(ClearSolutions):
    """Leaves a stub in C++ where the solution is: one that compiles to a readable error."""

    def preprocess_cell(self, cell: NotebookNode, resources: dict, cell_index: int) -> tuple[NotebookNode, dict]:
        """Clears the solution of one cell."""
        stubs = self.code_stub
        if cell.source.startswith(CPP_MAGIC):
            self.code_stub = {"python": '// YOUR CODE HERE\n#error "not written yet"'}
        try:
            return super().preprocess_cell(cell, resources, cell_index)
        finally:
            self.code_stub = stubs


class SayWhatIsHidden(NbGraderPreprocessor):
    """A test of which students get nothing but the comment says so: they would take its silence for a pass."""

    def preprocess_cell(self, cell: NotebookNode, resources: dict, cell_index: int) -> tuple[NotebookNode, dict]:
        """Changes one cell, if it is such a test."""
        left = [line for line in cell.source.splitlines() if line and not line.startswith("#")]
        if cell.cell_type == "code" and is_grade(cell) and not left:
            cell.source = f'{cell.source.rstrip()}\nprint("This test is hidden; it runs when your work is graded.")'
        return cell, resources


class HideTests(ClearHiddenTests):
    """Takes hidden tests out of what students get back; of what they said, it leaves the sentence."""

    def preprocess_cell(self, cell: NotebookNode, resources: dict, cell_index: int) -> tuple[NotebookNode, dict]:
        """Changes one cell, if it is a test."""
        if cell.cell_type == "code" and is_grade(cell):
            for output in cell.outputs:
                if output.output_type == "error":
                    output.traceback = [f"{output.ename}: {output.evalue}"]
        return super().preprocess_cell(cell, resources, cell_index)


class RestoreCells(NbGraderPreprocessor):
    """Puts back the cells that a submission lacks, so that what is missing counts as not solved.

    nbgrader's own way back (`OverwriteCells.add_missing_cells`) knows cells with grades only, and stops at one whose
    predecessor is missing too.
    """

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Inserts each missing cell behind the one that precedes it in the source."""
        names = resources["nbgrader"]
        with Gradebook(names["db_url"]) as gradebook:
            source = gradebook.find_notebook(names["notebook"], names["assignment"])
            grades = {cell.name: cell.max_score for cell in source.grade_cells}
            solutions = {cell.name for cell in source.solution_cells}
            position = 0
            for known in source.source_cells:
                places = [index for index, cell in enumerate(nb.cells) if _grade_id(cell) == known.name]
                if places:
                    position = places[0] + 1
                    continue
                self.log.warning("the cell %s is missing and was put back", known.name)
                nb.cells.insert(position, _cell_like(known, grades.get(known.name), known.name in solutions))
                position += 1
        return nb, resources


class ExecuteWithinLimits(Execute):
    """Executes a notebook although its cells may hang or kill the kernel: that costs the cell, not the notebook.

    A cell that does has an error for its output. Then a new kernel takes over, and runs again what came before, but for
    tests and for cells that have been fatal.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.interrupt_on_timeout = False  # a cell that hangs in C++ would not be interrupted
        self.timeout_func = self._seconds_for
        self.extra_arguments = ["--HistoryManager.hist_file=:memory:", f"--IPKernelApp.exec_lines={LIMITS}"]

    def preprocess(self, nb: NotebookNode, resources: dict | None = None, km: Any = None) -> tuple[NotebookNode, dict]:
        """Executes all cells."""
        self._fatal: set[int] = set()
        return super().preprocess(nb, resources, km)

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        """Executes one cell."""
        try:
            return super().preprocess_cell(cell, resources, index)
        except CellTimeoutError:
            sentence = f"this cell was still running after {self.timeout} s; is there a loop that does not end?"
        except DeadKernelError:
            sentence = "this cell ended the interpreter: it used memory it had no right to, or too much, or called exit"
        cell.outputs = [new_output("error", ename="CellFailed", evalue=sentence, traceback=[sentence])]
        self._fatal.add(index)
        self._begin_again(index)
        return cell, resources

    def _seconds_for(self, cell: NotebookNode) -> int | None:
        """No limit for tests: what they call has its own, and the detector of a capstone is trained in one."""
        return None if is_grade(cell) else self.timeout

    def _begin_again(self, index: int) -> None:
        run_sync(_cancel_what_waits)()  # a cell that has timed out still waits for its outputs
        run_sync(self.km.restart_kernel)(now=True)
        self.kc.stop_channels()
        self.start_new_kernel_client()
        for earlier, cell in enumerate(self.nb.cells[:index]):
            if cell.cell_type == "code" and not is_grade(cell) and earlier not in self._fatal:
                try:
                    self.execute_cell(copy.deepcopy(cell), earlier, store_history=False)
                except (CellTimeoutError, DeadKernelError):  # a cell that just passed the first time
                    self._fatal.add(earlier)
                    self._begin_again(index)
                    return


async def _cancel_what_waits() -> None:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


def _grade_id(cell: NotebookNode) -> str | None:
    return cell.metadata.get("nbgrader", {}).get("grade_id")


def _cell_like(known: Any, points: float | None, is_solution: bool) -> NotebookNode:
    """A cell as the release has it, from what the gradebook knows."""
    about = {
        "grade_id": known.name,
        "locked": known.locked,
        "checksum": known.checksum,
        "cell_type": known.cell_type,
        "grade": points is not None,
        "solution": is_solution,
        "task": False,
        "schema_version": 3,
    }
    if points is not None:
        about["points"] = points
    new_cell = new_code_cell if known.cell_type == "code" else new_markdown_cell
    return new_cell(known.source, metadata={"nbgrader": about})
