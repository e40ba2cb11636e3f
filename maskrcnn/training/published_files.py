"""The tensors in files that other libraries have written, found without running anything that is in them.

PyTorch has two formats. Since 1.6 a file is a zip: one pickle that says which tensors there are, and an entry for the
numbers of each. Before, it was several pickles and then the numbers, one after the other; that is what torchvision's
and MMDetection's early files are. Detectron2 writes one plain pickle with numpy arrays in it.

`torch.load(weights_only=True)` refuses any file that names a class it does not know, and MMDetection's do: what the
training has logged. So these pickles are read by `pickled`, which knows no class at all: a tensor is what a pickle
describes as one, and everything else in the file is left where it is.
"""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch

from maskrcnn.training.pickled import LONGEST_NAME, Global, Unreadable, read_pickle
from maskrcnn.training.stored_tensors import (
    ARRAY_NAMES,
    Storage,
    StoredTensor,
    as_dictionary,
    as_tensor,
    describe,
    is_size,
)

LARGEST_PICKLE = 64 * 2**20
"""Bytes of the pickle in a zip; it holds names and shapes only."""
LARGEST_STORAGE = 2**31
"""Bytes of the numbers of one tensor."""

_MAGIC = 0x1950A86A20F9469CFC6C
"""The first value in a file of PyTorch before 1.6."""

_STORAGES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
_RUN_CODE = {"os", "posix", "nt", "sys", "subprocess", "runpy", "pty", "socket", "ctypes", "importlib"}
_RUN_CODE_IN_BUILTINS = {"eval", "exec", "compile", "open", "__import__"}


class PublishedFile(NamedTuple):
    """What a file holds."""

    kind: str
    """Its format, in words."""
    tensors: dict[str, StoredTensor]
    """By name, in the file's order."""
    others: dict[str, str]
    """Name -> what it is, of everything among the tensors that is none."""
    meta: dict[str, Any]
    """What stands beside the tensors and is plain text, number, tuple, list or dictionary."""


def read_published(path: Path) -> PublishedFile:
    """The tensors of a `.pth` or `.pkl`. Raises ValueError, in one line, for anything else and for a damaged one."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: found {'a folder' if path.is_dir() else 'no such file'}, expected a file of weights")
    with path.open("rb") as file:
        start = file.read(64)
    try:
        if start.startswith(b"PK"):
            kind, value = "zip of PyTorch", _read_zip(path)
        elif start.startswith(b"\x80"):
            kind, value = _read_pickles(path)
        else:
            raise Unreadable(_what_else(start))
        return _sort_out(kind, value)
    except Unreadable as error:
        raise ValueError(f"{path}: refused: {error}") from error


def _what_else(start: bytes) -> str:
    """What a file is that holds no pickle."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start:
        return "it is empty"
    if text.startswith((b"<!", b"<html", b"<?xml", b"<head")):
        return f"it is a web page ({start[:20]!r}...), as a failed download leaves it"
    if start[8:10] == b'{"':
        return "it is a safetensors file; a weights file of maskrcnn needs no import, others are not read"
    return f"it begins {start[:16]!r}, expected what PyTorch or pickle writes"


# PyTorch's zip


def _read_zip(path: Path) -> Any:
    try:
        # Open as long as there are tensors that have not been read; it closes itself with the last of them.
        archive = zipfile.ZipFile(path)
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [name for name in entries if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Unreadable(f"a zip with {len(pickles)} data.pkl, expected the one that PyTorch writes")
        root = pickles[0].removesuffix("data.pkl")
        if root + "constants.pkl" in entries:
            raise Unreadable("it is a TorchScript program, expected weights (a state dict)")
        if entries[pickles[0]].file_size > LARGEST_PICKLE:
            raise Unreadable(f"its data.pkl claims {entries[pickles[0]].file_size:,} bytes")

        def storage(reference: Any) -> Any:
            dtype, key, count = _storage_reference(reference)
            entry = entries.get(f"{root}data/{key}")
            # PyTorch stores numbers as they are; a packed entry could claim any size.
            if entry is None or entry.file_size != count * dtype.itemsize or entry.compress_type:
                raise Unreadable(f"the numbers of storage {key} are missing, packed, or not {count:,}")
            return Storage(dtype, count, lambda: _read_entry(archive, entry))

        content = _read_entry(archive, entries[pickles[0]])
    except Unreadable:
        raise
    except Exception as error:  # zipfile has many ways to fail on a damaged file
        raise Unreadable(f"truncated or damaged zip ({' '.join(str(error).split())[:100]})") from error
    return read_pickle(io.BytesIO(content), _runs_no_code, storage)


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """What is in an entry, no more than the size that it claims. Raises Unreadable."""
    try:
        with archive.open(entry) as file:
            return file.read(entry.file_size)
    except Exception as error:
        raise Unreadable(f"truncated or damaged zip ({' '.join(str(error).split())[:100]})") from error


def _storage_reference(reference: Any) -> tuple[torch.dtype, str, int]:
    """dtype, key and number of elements of what a pickle of PyTorch calls ("storage", type, key, device, count)."""
    if not isinstance(reference, tuple) or len(reference) < 5 or reference[0] != "storage":
        raise Unreadable("it holds a whole program, expected weights (a state dict)")
    _, kind, key, _, count = reference[:5]
    dtype = _STORAGES.get(kind.name) if isinstance(kind, Global) else None
    plain_key = isinstance(key, str) and key.isalnum() and len(key) <= LONGEST_NAME
    if dtype is None or not plain_key or not is_size(count) or any(reference[5:]):
        raise Unreadable("damaged, or numbers of an unusual kind")
    if count * dtype.itemsize > LARGEST_STORAGE:
        raise Unreadable(f"storage {key} claims {count:,} numbers")
    return dtype, key, count


def _runs_no_code(name: str) -> bool:
    """Nothing is called anyway; but a file that asks for the shell is no file of weights, and its user should know."""
    module, _, last = name.rpartition(".")
    if module in ("builtins", "__builtin__"):
        return last not in _RUN_CODE_IN_BUILTINS
    return module.partition(".")[0] not in _RUN_CODE


# PyTorch's earlier format, and plain pickles


def _read_pickles(path: Path) -> tuple[str, Any]:
    with path.open("rb") as file:
        first = read_pickle(file, lambda name: name in ARRAY_NAMES)
        if first != _MAGIC:
            if isinstance(first, int):
                raise Unreadable("it holds a number, expected weights")
            return "pickle of arrays", first
        for _ in range(2):  # the version of the format, and of the machine that wrote it
            read_pickle(file, _runs_no_code)
        storages: dict[str, tuple[torch.dtype, int]] = {}
        places: dict[str, int] = {}

        def storage(reference: Any) -> Any:
            dtype, key, count = _storage_reference(reference)
            if storages.setdefault(key, (dtype, count)) != (dtype, count):
                raise Unreadable(f"storage {key} is of two kinds")
            return Storage(dtype, count, lambda: _read_stretch(path, places[key], count * dtype.itemsize))

        value = read_pickle(file, _runs_no_code, storage)
        places.update(_find_numbers(file, read_pickle(file, _runs_no_code), storages))
        return "file of PyTorch before 1.6", value


def _find_numbers(file: BinaryIO, keys: Any, storages: dict[str, tuple[torch.dtype, int]]) -> dict[str, int]:
    """Where the numbers of each storage begin: they follow in the order of `keys`, each after its own count."""
    size = os.fstat(file.fileno()).st_size
    places = {}
    known = isinstance(keys, list) and all(isinstance(key, str) and key in storages for key in keys)
    if not known or len(keys) != len(storages):
        raise Unreadable("truncated or damaged (its list of storages is not that of its tensors)")
    for key in keys:
        dtype, count = storages[key]
        if int.from_bytes(file.read(8), "little") != count:
            raise Unreadable(f"truncated or damaged (the count of storage {key} is not {count:,})")
        places[key] = file.tell()
        if file.seek(count * dtype.itemsize, os.SEEK_CUR) > size:
            raise Unreadable(f"truncated: it ends within storage {key}")
    return places


def _read_stretch(path: Path, start: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)


def _sort_out(kind: str, value: Any) -> PublishedFile:
    """Tensors, what stands among them, and what stands beside them."""
    top = as_dictionary(value)
    if top is None:
        raise Unreadable(f"it holds {describe(value)}, expected weights by name")
    beside: dict[Any, Any] = {}
    state = top
    for key in ("state_dict", "model"):
        inner = as_dictionary(top.get(key))
        if inner is not None:
            state, beside = inner, top
            break
    tensors, others = {}, {}
    for name, entry in state.items():
        if not isinstance(name, str) or not name.isprintable() or len(name) > LONGEST_NAME:
            raise Unreadable("the name of a tensor is no text that can be printed")
        tensor = as_tensor(entry)
        if tensor is None:
            others[name] = describe(entry)
        else:
            tensors[name] = tensor
    meta = as_dictionary(beside.get("meta")) or {}
    return PublishedFile(kind, tensors, others, {name: entry for name, entry in meta.items() if isinstance(name, str)})
