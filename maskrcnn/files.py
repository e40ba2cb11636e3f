"""Files that appear whole or not at all: whatever goes wrong while writing, the previous file survives."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any


def write_and_rename(path: Path, content: bytes | memoryview) -> None:
    """Puts `content` under the name `path`, completely or not at all. Raises OSError, in one line, if it cannot."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        # A process that was killed here earlier may have left one; "x" follows no link put in its place.
        partial.unlink(missing_ok=True)
        with open(partial, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            kept = "; the previous file is untouched" if path.exists() else ""
            raise OSError(f"{path}: cannot be saved: {error.strerror or error}{kept}") from error
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes sure that the names in a folder survive a power cut; without its folder, a file on the disk has no name."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Puts a value under the name `path` as JSON, indented for readers, by `write_and_rename`."""
    write_and_rename(path, (json.dumps(value, indent=2) + "\n").encode())
