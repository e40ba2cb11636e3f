"""What every op asks of its arguments, and how it names what it found instead."""

from __future__ import annotations

import numbers
import reprlib

import torch
from torch import Tensor


def kind_of(value: object) -> str:
    """What a value is, in words for a message."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"a tensor of {value.dtype}" if value.layout == torch.strided else f"a tensor of {value.layout}"


def describe(value: object) -> str:
    """What was found where a number was expected, in a few words."""
    return kind_of(value) if isinstance(value, Tensor) else reprlib.repr(value)


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """A shape that prints as (2, 4)."""
    return tuple(tensor.shape)


def _is_dense(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided


def require_floating_point(op: str, **tensors: Tensor) -> None:
    """Raises TypeError for the first argument that is no tensor of floating-point numbers.

    Those of 8 bits are for storage: PyTorch does no arithmetic with them.
    """
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.itemsize == 1:
            raise TypeError(f"{op}: {name} must have floating-point numbers of 16 bits or more, found {tensor.dtype}")
        if not _is_dense(tensor) or not tensor.is_floating_point():
            raise TypeError(f"{op}: {name} must be a tensor of floating-point numbers, found {kind_of(tensor)}")


def require_dtype(op: str, dtype: torch.dtype, **tensors: Tensor) -> None:
    """Raises TypeError for the first argument that is no tensor of this dtype."""
    for name, tensor in tensors.items():
        if not _is_dense(tensor) or tensor.dtype != dtype:
            raise TypeError(f"{op}: {name} must be a tensor of {dtype}, found {kind_of(tensor)}")


def require_whole_number(op: str, **values: int) -> None:
    """Raises TypeError for the first argument that is no whole number; 2.0 is none, and True is none either. Raises
    ValueError for one of 2^31 or more, of which no tensor has so many.

    What torch.compile and torch.export put in the place of a number that is not known yet, a `torch.SymInt`, is one.
    """
    for name, value in values.items():
        if not isinstance(value, numbers.Integral | torch.SymInt) or isinstance(value, bool):
            raise TypeError(f"{op}: {name} must be a whole number, found {describe(value)}")
        if not isinstance(value, torch.SymInt) and value >= 2**31:
            raise ValueError(f"{op}: {name} must be less than 2^31, found {describe(value)}")


def require_number(op: str, **values: float) -> None:
    """Raises TypeError for the first argument that is no real number. NaN and infinity are left to whoever knows the
    range, as no comparison with NaN is true."""
    for name, value in values.items():
        if not isinstance(value, numbers.Real | torch.SymInt | torch.SymFloat) or isinstance(value, bool):
            raise TypeError(f"{op}: {name} must be a number, found {describe(value)}")


def require_same_device(op: str, **tensors: Tensor) -> None:
    """Raises ValueError if two arguments are on different devices."""
    (name, tensor), (other_name, other) = tensors.items()
    if tensor.device != other.device:
        raise ValueError(f"{op}: {name} are on {tensor.device} but {other_name} on {other.device}")
