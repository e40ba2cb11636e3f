"""The page as one file: the data of an explanation beside the style and the scripts that draw it.

Everything is inside: the page loads nothing, so it opens from a disk, from a mail, and in ten years.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import string
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from maskrcnn.explain.explanation import Explanation
from maskrcnn.files import write_and_rename

_ROOT = Path(__file__).resolve().parents[2]
"""Of the sources, where the notebooks are; of an installed package it has none."""


def write_page(path: str | os.PathLike, explanation: Explanation) -> None:
    """Writes the page, whole or not at all. Raises OSError, in one line, if it cannot be saved."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_and_rename(path, page(explanation, path.parent).encode("utf-8", errors="replace"))


def page(explanation: Explanation, folder: Path) -> str:
    """The page as text. folder: where it will lie; modules and chapters are linked where they lie in the same tree."""
    data = explanation.data | {"stages": [_linked(stage, folder) for stage in explanation.data["stages"]]}
    # "<" could begin a tag, or end the script that the data stand in. JSON has another way to write it.
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    files = resources.files("maskrcnn.explain").joinpath("page")
    scripts = [f"\n{script.read_text('utf-8')}" for script in _scripts(files)]
    return string.Template(files.joinpath("page.html").read_text("utf-8")).substitute(
        title=html.escape(explanation.data["title"]),
        style=files.joinpath("style.css").read_text("utf-8"),
        script_policy=" ".join(map(_hash, scripts)),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
        data=text,
    )


def _hash(script: str) -> str:
    """How a content security policy names a script: no other runs, even if one got into the page."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def _scripts(files: Traversable) -> Iterator[Traversable]:
    """What the stages have in common, each stage, and what begins it all."""
    yield from (files.joinpath(f"{name}.js") for name in ("geometry", "pictures", "controls"))
    stages = (file for file in files.joinpath("stages").iterdir() if file.name.endswith(".js"))
    yield from sorted(stages, key=lambda file: file.name)
    yield files.joinpath("main.js")


def _linked(stage: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The stage, with where its module and its chapter are as seen from the page.

    Only where both lie below one folder, the sources: any other way from one to the other would say how the disk of
    whoever made the page is laid out, and lead nowhere on that of whoever reads it.
    """
    folder, links = folder.resolve(), {}
    for kind in ("module", "chapter"):
        target = _ROOT / stage[kind]
        near = folder.is_relative_to(_ROOT) and target.is_file()
        links[kind] = Path(os.path.relpath(target, folder)).as_posix() if near else None
    return stage | {"links": links}
