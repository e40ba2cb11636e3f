"""The files of one folder or of one zip, read alike and in memory: data sets and results come as either."""

from __future__ import annotations

import os
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from maskrcnn.data.annotation_files import shortened

LARGEST_FILE = 256 * 2**20
"""Bytes of one unpacked file; a zip entry that claims more is refused before it is unpacked."""

LARGEST_TEXT = 16 * 2**20
"""Bytes of one annotation or result file; the largest that anybody makes are a thousandth of this."""

LARGEST_TEXTS = 128 * 2**20
"""Bytes of all annotation or result files of one set together, which are in memory at once when they are parsed."""

MOST_FILES = 200_000
"""Entries of one zip."""

LONGEST_NAME = 255
"""Letters of the bare name of an entry; names come back in messages."""

# Control characters, lone surrogates, line and paragraph separators: what no terminal shows as a name in one line.
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}


class Files:
    """The files directly in a folder, or all files of a zip, each by its bare name.

    A zip may keep its files in an inner folder, as zips made by hand do; only the bare names count. Nothing is ever
    unpacked to disk, so an entry's path can do no harm; paths that try ("../x", "/x") are refused all the same, as
    are two entries of one name. Names come back in messages, so those with control characters are refused, too. Names
    that begin with a dot, and what macOS adds, are not files of the data set.
    May be sent to other processes, each of which opens the zip for itself.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        """Lists the files. Raises ValueError if `path` is neither a folder nor a readable zip, or for a bad name."""
        self.path = Path(path)
        self.others: list[str] = []
        """What lies in a folder and is no file: folders, and links that lead nowhere. Not read, but said."""
        self._archive: zipfile.ZipFile | None = None
        self._archive_process = -1
        self._entries: dict[str, zipfile.ZipInfo] | None = None
        if self.path.is_dir():
            with os.scandir(self.path) as found:
                entries = sorted((entry.name, entry.is_file()) for entry in found if entry.name[0] != ".")
            self.names, self.others = ([name for name, is_file in entries if is_file == kind] for kind in (True, False))
            for name, _ in entries:
                _check_printable(name, self.path)
        elif self.path.is_file():
            self._entries = self._list_archive()
            self.names = sorted(self._entries)
        else:
            raise ValueError(f"{self.path}: found nothing there, expected a folder or a zip")

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_archive": None, "_archive_process": -1}

    def source(self, name: str) -> Path | bytes:
        """What a picture is opened from: in a folder its path, so that its header can be read alone; of a zip, the
        bytes of the file. Raises ValueError as `read` does."""
        return self._file(name, LARGEST_FILE)[0] if self._entries is None else self.read(name)

    def read(self, name: str, largest: int | None = None) -> bytes:
        """The bytes of one file, of which there may be `largest`, and never more than LARGEST_FILE.

        The size is checked before anything is read, and no more than that size is read.
        Raises ValueError if the file is missing, damaged, encrypted, packed in an unusual way, or too large.
        """
        limit = LARGEST_FILE if largest is None else min(largest, LARGEST_FILE)
        if self._entries is None:
            path, size = self._file(name, limit)
            with path.open("rb") as file:
                content = file.read(size + 1)
            if len(content) > size:
                raise ValueError(f"{path}: found more than its {size:,} bytes, expected a file that nobody writes to")
            return content
        entry = self._entries.get(name)
        where = f"{self.path}/{name}"
        if entry is None:
            raise ValueError(f"{where}: no such entry")
        _check_size(entry.file_size, limit, where)
        # Of the other kinds, zipfile unpacks all of what it has read at once, however much that becomes.
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            kind = zipfile.compressor_names.get(entry.compress_type, entry.compress_type)
            raise ValueError(f"{where}: found an entry packed by {kind}, expected a stored or deflated one")
        try:
            # Asked for everything, zipfile would unpack everything and then cut it to the size that the entry claims.
            # Asked for one byte more than that, it comes to the entry's end, where it checks the sum.
            with self._opened().open(entry) as file:
                return file.read(entry.file_size + 1)
        except Exception as error:
            raise ValueError(f"{where}: found a damaged or encrypted entry ({_in_a_line(error)})") from error

    def read_texts(self, names: Iterable[str]) -> Iterator[bytes]:
        """The bytes of annotation or result files, one after the other.

        Raises ValueError for one beyond LARGEST_TEXT, when all together are beyond LARGEST_TEXTS, and as `read` does.
        """
        total = 0
        for name in names:
            content = self.read(name, LARGEST_TEXT)
            total += len(content)
            if total > LARGEST_TEXTS:
                raise ValueError(
                    f"{self.path}: found {total:,} bytes up to {name}, expected at most {LARGEST_TEXTS:,} in all"
                )
            yield content

    def _file(self, name: str, limit: int) -> tuple[Path, int]:
        """Path and bytes of a file in the folder."""
        path = self.path / name
        if not path.is_file():
            raise ValueError(f"{path}: no such file")
        size = path.stat().st_size
        _check_size(size, limit, path)
        return path, size

    def _opened(self) -> zipfile.ZipFile:
        # Processes made by fork share one position in an open file and would read each other's bytes.
        if self._archive is None or self._archive_process != os.getpid():
            self._archive, self._archive_process = zipfile.ZipFile(self.path), os.getpid()
        return self._archive

    def _list_archive(self) -> dict[str, zipfile.ZipInfo]:
        try:
            entries = self._opened().infolist()
        except Exception as error:
            raise ValueError(f"{self.path}: found a file that is no complete zip ({_in_a_line(error)})") from error
        if len(entries) > MOST_FILES:
            raise ValueError(f"{self.path}: found {len(entries):,} entries, expected at most {MOST_FILES:,}")
        named: dict[str, zipfile.ZipInfo] = {}
        for entry in entries:
            _check_printable(entry.filename, self.path)
            path = PurePosixPath(entry.filename.replace("\\", "/"))
            # "." and "./." have no parts at all.
            if path.is_absolute() or not path.parts or ".." in path.parts or ":" in path.parts[0]:
                raise ValueError(
                    f"{self.path}: found entry {shortened(entry.filename)}, expected a plain relative path"
                )
            if entry.is_dir():
                if entry.file_size:
                    what = f"folder {shortened(entry.filename)} with {entry.file_size:,} bytes in it"
                    raise ValueError(f"{self.path}: found {what}, expected a file")
                continue
            if path.name[0] == "." or "__MACOSX" in path.parts:
                continue
            if len(path.name) > LONGEST_NAME:
                found = f"a name of {len(path.name):,} letters"
                raise ValueError(f"{self.path}: found {found}, expected at most {LONGEST_NAME}, as files have")
            if path.name in named:
                raise ValueError(f"{self.path}: found {path.name} twice, expected each name once")
            named[path.name] = entry
        return named


def _check_printable(name: str, where: Path) -> None:
    if any(unicodedata.category(character) in _UNPRINTABLE for character in name):
        raise ValueError(f"{where}: found name {shortened(name)}, expected one without control characters")


def _in_a_line(error: Exception) -> str:
    """What an error says; of a damaged archive it may quote as many bytes as the longest name has."""
    what = " ".join(str(error).split()) or type(error).__name__
    return what if len(what) <= 120 else what[:117] + "..."


def _check_size(size: int, limit: int, where: Path | str) -> None:
    if size > limit:
        raise ValueError(f"{where}: found {size:,} bytes, expected at most {limit:,}")


def find_files(root: str | os.PathLike, name: str) -> Files | None:
    """The folder `root/name` or, if there is none, the zip `root/name.zip`; None if there is neither.

    Raises ValueError if what is there cannot be read.
    """
    folder, archive = Path(root) / name, Path(root) / f"{name}.zip"
    if folder.is_dir():
        return Files(folder)
    return Files(archive) if archive.is_file() else None
