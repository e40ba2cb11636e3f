"""Strategies of hypothesis for what the ops may be handed: any shape, memory layout and dtype, and hostile numbers.

hypothesis chooses shapes, settings and a palette of numbers, which it can shrink to a small example; a random generator
fills the tensors from the palette, as drawing every number by itself would be slow.
"""

from __future__ import annotations

import math

import torch
from hypothesis import strategies as st
from torch import Tensor

NAN, INFINITY = math.nan, math.inf
FLOATING = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
LARGEST = torch.finfo(torch.float32).max
HOSTILE_NUMBERS = (
    NAN, INFINITY, -INFINITY, LARGEST, -LARGEST, 1e30, -1e30, 2.0**31, -(2.0**63), 2.0**63, 1e-40, -1e-40, 1e-45, -0.0,
    1e9, -1e6,
)  # fmt: skip
LEAST, MOST = -(2**63), 2**63 - 1
HOSTILE_INTEGERS = (LEAST, MOST, -(2**31), 2**31, 2**32, -1, -7)

seeds = st.integers(0, 2**32 - 1)
counts = st.sampled_from([0, 1, 2, 3, 5, 9, 20])
"""How many of something; beyond these, whole blocks of a kernel and one more or less."""
leading_shapes = st.sampled_from([(), (0,), (1,), (2,), (3,), (2, 2), (1, 0), (2, 1, 2)])
hostile_numbers = st.one_of(st.sampled_from(HOSTILE_NUMBERS), st.floats(width=32))
hostile_integers = st.one_of(st.sampled_from(HOSTILE_INTEGERS), st.integers(-3, 30), st.integers(LEAST, MOST))


def generator_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pick(palette: list, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """A tensor filled at random from a palette of numbers."""
    return torch.tensor(palette, dtype=dtype)[torch.randint(len(palette), shape, generator=generator)]


@st.composite
def boxes(draw, *shape: int, dtype: torch.dtype = torch.float32, extent: int = 14, hostile: bool = True) -> Tensor:
    """(*shape, 4) boxes of few whole numbers, so that ties are common, or of as few others, and some hostile ones."""
    generator = generator_of(draw(seeds))
    corners = torch.randint(-3, extent, (*shape, 2), generator=generator)
    sizes = torch.randint(0, extent, (*shape, 2), generator=generator)
    ordinary = torch.cat((corners, corners + sizes), dim=-1) * draw(st.sampled_from([1.0, 0.37]))
    if not hostile:
        return ordinary.to(dtype)
    palette = draw(st.lists(hostile_numbers, min_size=1, max_size=6))
    share = draw(st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0]))
    replaced = torch.rand((*shape, 4), generator=generator) < share
    chosen = torch.where(replaced, pick(palette, (*shape, 4), generator, torch.float64), ordinary.double())
    return chosen.to(dtype)


@st.composite
def values(draw, *shape: int, dtype: torch.dtype = torch.float32, hostile: bool = True) -> Tensor:
    """(*shape) numbers between -4 and 4, quarters, so that ties are common, and, if asked for, some hostile ones."""
    generator = generator_of(draw(seeds))
    ordinary = torch.randint(-16, 17, shape, generator=generator) / 4
    if not hostile:
        return ordinary.to(dtype)
    palette = draw(st.lists(hostile_numbers, min_size=1, max_size=6))
    share = draw(st.sampled_from([0.0, 0.1, 1.0]))
    replaced = torch.rand(shape, generator=generator) < share
    chosen = torch.where(replaced, pick(palette, shape, generator, torch.float64), ordinary.double())
    return chosen.to(dtype)


@st.composite
def flags(draw, *shape: int) -> Tensor:
    """(*shape) bool, mostly true."""
    return torch.rand(shape, generator=generator_of(draw(seeds))) < draw(st.sampled_from([0.0, 0.8, 1.0]))


@st.composite
def integers(draw, *shape: int, ordinary: int = 4, hostile: bool = True) -> Tensor:
    """(*shape) int64 from 0 up to `ordinary`, and, if asked for, some hostile ones."""
    generator = generator_of(draw(seeds))
    palette = draw(st.lists(hostile_integers, min_size=1, max_size=4)) if hostile else [0]
    replaced = torch.rand(shape, generator=generator) < (draw(st.sampled_from([0.0, 0.2, 1.0])) if hostile else 0.0)
    return torch.where(
        replaced,
        pick(palette, shape, generator, torch.int64),
        torch.randint(ordinary + 1, shape, generator=generator),
    )


LAYOUTS = ("contiguous", "transposed", "sliced", "offset", "expanded", "channels_last")


@st.composite
def laid_out(draw, tensor: Tensor) -> Tensor:
    """A tensor of this shape and dtype in another memory layout; what lies between its numbers is poison.

    The numbers are the same, except that an expanded tensor repeats its first slice along one dimension.
    """
    layout = draw(st.sampled_from(LAYOUTS)) if tensor.dim() else "contiguous"
    if layout == "contiguous":
        return tensor.contiguous()
    if layout == "channels_last" and tensor.dim() == 4:
        return tensor.contiguous(memory_format=torch.channels_last)
    if layout == "expanded":
        dimension = draw(st.integers(0, tensor.dim() - 1))
        return tensor.narrow(dimension, 0, min(1, tensor.shape[dimension])).expand_as(tensor)
    if layout == "sliced":
        steps = draw(st.lists(st.integers(1, 3), min_size=tensor.dim(), max_size=tensor.dim()))
        room = poisoned([step * size for step, size in zip(steps, tensor.shape, strict=True)], tensor.dtype)
        view = room[tuple(slice(None, None, step) for step in steps)]
    elif layout == "offset":
        room = poisoned([size + 2 for size in tensor.shape], tensor.dtype)
        view = room[tuple(slice(1, 1 + size) for size in tensor.shape)]
    else:
        order = draw(st.permutations(range(tensor.dim())))
        view = torch.empty([tensor.shape[i] for i in order], dtype=tensor.dtype)
        view = view.permute([order.index(i) for i in range(tensor.dim())])
    return view.copy_(tensor)


def poisoned(shape: list[int], dtype: torch.dtype) -> Tensor:
    """Full of what changes a result when it is read."""
    return torch.full(shape, NAN if dtype.is_floating_point else True if dtype == torch.bool else 77, dtype=dtype)


def assert_same(actual: Tensor, expected: Tensor) -> None:
    """Number for number, a NaN like another."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)
