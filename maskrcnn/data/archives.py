"""The files of one folder or of one zip, read alike and in memory: data sets and results come as either."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path, PurePosixPath

LARGEST_FILE = 256 * 2**20
"""Bytes of one unpacked file; a zip entry that claims more is refused before it is unpacked."""

MOST_FILES = 200_000
"""Entries of one zip."""


class Files:
    """The files directly in a folder, or all files of a zip, each by its bare name.

    A zip may keep its files in an inner folder, as zips made by hand do; only the bare names count. Nothing is ever
    unpacked to disk, so an entry's path can do no harm; paths that try ("../x", "/x") are refused all the same, as
    are two entries of one name. Names that begin with a dot, and what macOS adds, are not files of the data set.
    May be sent to other processes, each of which opens the zip for itself.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        """Lists the files. Raises ValueError if `path` is neither a folder nor a readable zip."""
        self.path = Path(path)
        self._archive: zipfile.ZipFile | None = None
        self._archive_process = -1
        self._entries: dict[str, zipfile.ZipInfo] | None = None
        if self.path.is_dir():
            with os.scandir(self.path) as found:
                self.names = sorted(entry.name for entry in found if entry.name[0] != "." and entry.is_file())
        elif self.path.is_file():
            self._entries = self._list_archive()
            self.names = sorted(self._entries)
        else:
            raise ValueError(f"{self.path}: found nothing there, expected a folder or a zip")

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_archive": None, "_archive_process": -1}

    def read(self, name: str) -> bytes:
        """The bytes of one file. Raises ValueError if it is missing, damaged, encrypted or beyond LARGEST_FILE."""
        if self._entries is None:
            path = self.path / name
            if name not in self.names and not path.is_file():
                raise ValueError(f"{path}: no such file")
            if path.stat().st_size > LARGEST_FILE:
                raise ValueError(f"{path}: found {path.stat().st_size:,} bytes, expected at most {LARGEST_FILE:,}")
            return path.read_bytes()
        entry = self._entries.get(name)
        where = f"{self.path}/{name}"
        if entry is None:
            raise ValueError(f"{where}: no such entry")
        if entry.file_size > LARGEST_FILE:
            raise ValueError(f"{where}: found {entry.file_size:,} bytes, expected at most {LARGEST_FILE:,}")
        try:
            # zipfile hands out no more bytes than the entry claims, and checks their sum.
            return self._opened().read(entry)
        except Exception as error:
            what = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"{where}: found a damaged or encrypted entry ({what})") from error

    def _opened(self) -> zipfile.ZipFile:
        # Processes made by fork share one position in an open file and would read each other's bytes.
        if self._archive is None or self._archive_process != os.getpid():
            self._archive, self._archive_process = zipfile.ZipFile(self.path), os.getpid()
        return self._archive

    def _list_archive(self) -> dict[str, zipfile.ZipInfo]:
        try:
            entries = [entry for entry in self._opened().infolist() if not entry.is_dir()]
        except Exception as error:
            what = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"{self.path}: found a file that is no complete zip ({what})") from error
        if len(entries) > MOST_FILES:
            raise ValueError(f"{self.path}: found {len(entries):,} entries, expected at most {MOST_FILES:,}")
        named: dict[str, zipfile.ZipInfo] = {}
        for entry in entries:
            path = PurePosixPath(entry.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
                raise ValueError(f"{self.path}: found entry {entry.filename!r}, expected a plain relative path")
            if path.name[0] == "." or "__MACOSX" in path.parts:
                continue
            if path.name in named:
                raise ValueError(f"{self.path}: found {path.name} twice, expected each name once")
            named[path.name] = entry
        return named


def find_files(root: str | os.PathLike, name: str) -> Files | None:
    """The folder `root/name` or, if there is none, the zip `root/name.zip`; None if there is neither.

    Raises ValueError if what is there cannot be read.
    """
    folder, archive = Path(root) / name, Path(root) / f"{name}.zip"
    if folder.is_dir():
        return Files(folder)
    return Files(archive) if archive.is_file() else None
