"""Executes notebooks from top to bottom, each in a fresh kernel: python tests/run_notebooks.py [--write] [NOTEBOOK ...]

Without names it takes all in `notebooks/` and `notebooks/solutions/`. It fails if a cell raises or writes to standard
error (a warning from our own code, say); all are executed before it says so. A notebook that took longer than it
promises is marked: whether that is its fault or the machine's, a person has to say.
With --write what the cells showed is stored in the notebooks, so that they can be read where no kernel runs, and a
picture of each chapter in `notebooks/thumbnails/`: that of the cell with the tag "thumbnail", or the first there is.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from PIL import Image

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
SECONDS = {"05-the-rpn": 120, "11-training": 240, "15-your-own-data": 120}
"""What these may take on two cores, since they train."""
USUAL_SECONDS = 45
HANGS = 300
"""Seconds after which a cell is given up."""
WIDGET = "application/vnd.jupyter.widget-view+json"


def execute(path: Path, write: bool) -> list[str]:
    """Runs one notebook and returns what is wrong with it, a line each."""
    notebook = nbformat.read(path, as_version=4)
    folder = {"metadata": {"path": path.parent}}
    client = NotebookClient(notebook, timeout=HANGS, kernel_name="python3", resources=folder)
    start = time.perf_counter()
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        return [f"{path}: {error}"]
    seconds = time.perf_counter() - start
    problems = [
        f"{path}: cell {index} wrote to standard error: {output.text.strip()[:500]}"
        for index, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", ())
        if output.output_type == "stream" and output.name == "stderr"
    ]
    promised = SECONDS.get(path.stem, USUAL_SECONDS)
    remark = f"  longer than {promised} s" if seconds > promised else ""
    print(f"{path.stem:<40} {seconds:5.1f} s{remark}", flush=True)
    if write and not problems:
        write_results(notebook, path)
    return problems


def write_results(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Stores the notebook with its outputs, and without what changes from one execution to the next."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            # Sliders are dead without a kernel; the pictures above them say what they would show.
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    output.data |= smaller(output.data.pop("image/png"))
    notebook.metadata = nbformat.from_dict({
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    })  # fmt: skip
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    if path.resolve().parent == NOTEBOOKS.resolve():
        write_thumbnail(notebook, NOTEBOOKS / "thumbnails" / f"{path.stem}.png")


def smaller(png: str) -> dict[str, str]:
    """A picture in 256 colours, which nobody sees in a diagram; or as JPEG, where that takes half the bytes.

    From and to the form in which notebooks hold pictures: their kind, and their bytes in base64.
    """
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    drawn, photographed = io.BytesIO(), io.BytesIO()
    picture.quantize(256).save(drawn, "PNG", optimize=True)
    picture.save(photographed, "JPEG", quality=88)
    kind, file = min(("image/png", drawn), ("image/jpeg", photographed), key=lambda one: one[1].tell())
    if kind == "image/jpeg" and file.tell() > drawn.tell() / 2:
        kind, file = "image/png", drawn
    return {kind: base64.b64encode(file.getvalue()).decode()}


def write_thumbnail(notebook: nbformat.NotebookNode, path: Path) -> None:
    """The picture that stands for a chapter, 360 pixels wide."""
    cells = sorted(notebook.cells, key=lambda cell: "thumbnail" not in cell.metadata.get("tags", ()))
    outputs = (output.get("data", {}) for cell in cells for output in cell.get("outputs", ()))
    encoded = next(data[kind] for data in outputs for kind in ("image/png", "image/jpeg") if kind in data)
    picture = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
    picture = picture.resize((360, round(360 * picture.height / picture.width)), Image.Resampling.LANCZOS)
    path.parent.mkdir(exist_ok=True)
    picture.quantize(64).save(path, optimize=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all")
    parser.add_argument("--write", action="store_true", help="store what the cells showed")
    arguments = parser.parse_args()
    paths = arguments.notebooks or sorted([*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("solutions/*.ipynb")])
    problems = [problem for path in paths for problem in execute(path, arguments.write)]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
