"""What pickles say of tensors: PyTorch's and numpy's descriptions of them, as `pickled` writes them down.

The shape is known at once and the numbers are read when somebody asks, so that a file which claims too much costs no
memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from maskrcnn.training.pickled import Global, Made, Unreadable

_ARRAY_MAKERS = {
    f"numpy.{core}.{name}"
    for core in ("core", "_core")
    for name in ("multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer")
}
_BYTES_MAKERS = {"_codecs.encode", "__builtin__.bytes", "builtins.bytes"}
ARRAY_NAMES = _ARRAY_MAKERS | _BYTES_MAKERS | {"numpy.ndarray", "numpy.dtype", "collections.OrderedDict"}
"""All that a pickle of arrays has to name."""


class StoredTensor(NamedTuple):
    """A tensor in a file: its shape is known, its numbers have not been read."""

    shape: tuple[int, ...]
    read: Callable[[], Tensor]
    """Its numbers, contiguous, in the dtype of the file. Raises Unreadable."""


class Storage(NamedTuple):
    """A row of numbers that tensors look into."""

    dtype: torch.dtype
    count: int
    read: Callable[[], bytes]


def as_dictionary(value: Any) -> dict | None:
    """A dictionary or an ordered one, which pickles describe as an object that was made and filled; None for others."""
    if isinstance(value, Made) and value.maker == "collections.OrderedDict":
        pairs = value.arguments[0] if isinstance(value.arguments, tuple) and value.arguments else []
        if not isinstance(pairs, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
            return None
        # Python 2 gives its items as pairs in the arguments.
        return {name: entry for name, entry in pairs if isinstance(name, str)} | value.items
    return value if isinstance(value, dict) else None


def as_tensor(value: Any) -> StoredTensor | None:
    """The tensor or array that a pickle describes, or None if it is something else."""
    if not isinstance(value, Made) or not isinstance(value.arguments, tuple):
        return None
    if value.maker == "torch._utils._rebuild_parameter" and value.arguments:
        value = value.arguments[0]
        if not isinstance(value, Made) or not isinstance(value.arguments, tuple):
            return None
    if value.maker in ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"):
        return _as_torch_tensor(*value.arguments[:4]) if len(value.arguments) >= 4 else None
    if value.maker in _ARRAY_MAKERS:
        return _as_array(value)
    return None


def _as_torch_tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> StoredTensor | None:
    if not isinstance(storage, Storage) or not is_size(offset) or not _is_shape(shape) or not _is_shape(strides):
        return None
    if len(shape) != len(strides):
        return None

    def read() -> Tensor:
        last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
        if 0 not in shape and last >= storage.count:
            raise Unreadable("a tensor reaches beyond its numbers")
        content = storage.read()
        if len(content) != storage.count * storage.dtype.itemsize:
            raise Unreadable("truncated: numbers of a tensor are missing")
        if 0 in shape:
            return torch.zeros(shape, dtype=storage.dtype)
        flat = torch.frombuffer(bytearray(content), dtype=storage.dtype)
        return flat.as_strided(shape, strides, offset).contiguous().clone()

    return StoredTensor(shape, read)


def _as_array(made: Made) -> StoredTensor | None:
    """A numpy array as any version of numpy describes it, or one of its numbers."""
    dtype, content, columns_first = None, None, False
    shape: Any = ()
    name = made.maker.rpartition(".")[2]
    if name == "_reconstruct" and isinstance(made.state, tuple) and len(made.state) == 5:
        _, shape, dtype, columns_first, content = made.state
    elif name == "_frombuffer" and len(made.arguments) == 4:
        content, dtype, shape, order = made.arguments
        columns_first = order == "F"
    elif name == "scalar" and len(made.arguments) == 2:
        dtype, content = made.arguments
    kind = _numpy_dtype(dtype)
    if kind is None or not _is_shape(shape):
        return None

    def read() -> Tensor:
        raw = _as_bytes(content)
        if raw is None or len(raw) != int(np.prod(shape, dtype=object)) * kind.itemsize:
            raise Unreadable("truncated or damaged array")
        flat = np.frombuffer(raw, kind).astype(kind.newbyteorder("="))
        return torch.from_numpy(flat.reshape(shape, order="F" if columns_first else "C").copy(order="C"))

    return StoredTensor(shape, read)


def _numpy_dtype(value: Any) -> np.dtype | None:
    """float or integer of 1 to 8 bytes, or None for anything else, such as arrays of objects."""
    if not isinstance(value, Made) or value.maker != "numpy.dtype" or not value.arguments:
        return None
    code = _as_text(value.arguments[0])
    order = _as_text(value.state[1]) if isinstance(value.state, tuple) and len(value.state) > 1 else "<"
    if code not in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1") or order not in ("<", ">", "|", "="):
        return None
    return np.dtype(order + code)


def _as_text(value: Any) -> str | None:
    """Text; of Python 2's pickles, bytes are text as well."""
    return value.decode("latin-1") if isinstance(value, bytes) else value if isinstance(value, str) else None


def _as_bytes(value: Any) -> bytes | None:
    """Bytes; Python 2's pickles have them as text, and early protocols as a request to encode a text."""
    if isinstance(value, Made) and value.maker in _BYTES_MAKERS and isinstance(value.arguments, tuple):
        value = value.arguments[0] if value.arguments else b""
    if isinstance(value, str):
        try:
            return value.encode("latin-1")
        except UnicodeEncodeError:
            return None
    return bytes(value) if isinstance(value, bytes | bytearray) else None


def is_size(value: Any) -> bool:
    """Whether a pickle's value is a number of elements that a tensor may have."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) <= 8 and all(map(is_size, value))


def describe(value: Any) -> str:
    """What a pickle's value is, for messages; never what is in it."""
    if isinstance(value, Made):
        return f"an object of {value.maker}"
    return f"an object of {value.name}" if isinstance(value, Global) else f"a {type(value).__name__}"
