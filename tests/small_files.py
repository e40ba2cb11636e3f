"""Folders and zips of a few files, and a picture that fits into any of them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image


def picture_bytes(width: int = 64, height: int = 48, kind: str = "JPEG") -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 100, 50)).save(file, kind)
    return file.getvalue()


def write_files(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Writes each file below `root`, and the folders around it; returns `root`."""
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def write_archive(path: Path, files: Mapping[str, str | bytes]) -> Path:
    """Writes a zip of the files; returns its path."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def every_file(directory: Path) -> dict[str, bytes]:
    """Path below `directory` -> content of each file."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(Path(directory).rglob("*"))
        if path.is_file()
    }
