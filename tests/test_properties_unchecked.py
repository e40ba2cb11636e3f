"""The kernels themselves, past the checks of `maskrcnn.ops`: no call may end the process or read what is not there.

Where a tensor or a setting does not fit, a kernel raises; what it accepts has the shape that is known without data.
Most of these calls only show what they should in the AddressSanitizer build (`test_sanitized_ops.py`).
"""

import numpy as np
import pytest
import torch
from hostile_inputs import LEAST, MOST, NAN, hostile_integers, hostile_numbers, integers, laid_out, values
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from maskrcnn.ops import register

pytestmark = pytest.mark.skipif(register.extension is None, reason="there are no compiled ops")

FLOAT, WHOLE, FLAG, BYTE = torch.float32, torch.int64, torch.bool, torch.uint8


@st.composite
def tensors(draw, *shape: int, dtype: torch.dtype = FLOAT):
    """Hostile numbers in any layout."""
    tensor = draw(values(*shape, dtype=dtype) if dtype.is_floating_point else integers(*shape, ordinary=9)).to(dtype)
    return draw(laid_out(tensor))


@st.composite
def misfits(draw, tensor: torch.Tensor):
    """A tensor with another dtype, number of dimensions or length."""
    kind = draw(st.sampled_from(["dtype", "dimensions", "length"]))
    if kind == "dtype":
        return tensor.to(draw(st.sampled_from([torch.float64, torch.float16, torch.int32, WHOLE, BYTE, FLAG])))
    shape = list(tensor.shape)
    if kind == "dimensions":
        shape = draw(st.sampled_from([shape[1:], [*shape, 1], [1, *shape], []]))
    else:
        shape[draw(st.integers(0, len(shape) - 1))] = draw(st.sampled_from([0, 1, 3, 65]))
    return draw(tensors(*shape, dtype=tensor.dtype))


numbers = st.one_of(st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.0, -1.0, NAN]), hostile_numbers)
sizes = st.integers(1, 4)
two_sizes = st.lists(sizes, min_size=2, max_size=2)
two_numbers = st.lists(numbers, min_size=2, max_size=2)
impossible = st.sampled_from([0, -1, MOST, LEAST])
CALLS = {
    "transform_kernel_3x3": [tensors(3, 3, 16, 32), st.sampled_from([4, 8, 16, 0])],
    "convolve_3x3": [
        tensors(2, 16, 3, 5), tensors(36, 16 * 32 + 16), st.one_of(st.none(), tensors(32)),
        st.one_of(st.just(32), impossible), st.sampled_from([4, 8, 16, 0]),
    ],
    "nms": [tensors(2, 9, 4), tensors(2, 9), st.one_of(st.none(), tensors(2, 9, dtype=WHOLE)), numbers, sizes],
    "match_boxes": [
        tensors(2, 3, 4), tensors(2, 3, dtype=FLAG), tensors(2, 9, 4), tensors(2, 9, dtype=FLAG), numbers
    ],
    "covered_boxes": [tensors(2, 9, 4), tensors(2, 3, 4), tensors(2, 3, dtype=FLAG), numbers],
    "crop_masks": [
        tensors(40, dtype=BYTE), tensors(2, 3, dtype=WHOLE), tensors(2, 3, 4, dtype=WHOLE), tensors(2, 3, 4),
        # The work grows with the image that is claimed, so it is a small one or one beyond all bounds.
        tensors(2, 2, dtype=WHOLE).map(lambda sides: torch.where(sides < 2**31, sides.clamp(max=40), sides)),
        sizes, st.booleans(),
    ],
    "paste_masks": [tensors(3, 5, 5), tensors(3, 4), sizes, sizes, st.booleans()],
    "roi_pool": [tensors(2, 3, 4, 5), tensors(2, 6, 4), sizes, numbers, st.booleans()],
    "roi_pool_backward": [
        tensors(2, 6, 3, 2, 2), tensors(2, 6, 3, 2, 2, dtype=WHOLE).map(lambda argmax: argmax.int()),
        sizes, sizes, st.booleans(),
    ],
    "pyramid_roi_align": [
        st.lists(tensors(2, 3, 4, 5), min_size=2, max_size=2), tensors(2, 6, 4), sizes, two_numbers, sizes,
        st.booleans(), numbers, st.booleans(),
    ],
    "pyramid_roi_align_backward": [
        tensors(2, 6, 3, 2, 2), tensors(2, 6, 4), two_sizes, two_sizes, st.just(2), two_numbers, sizes,
        st.booleans(), numbers, st.booleans(),
    ],
}  # fmt: skip
"""Arguments of each op that fit each other."""


def spoiled(value: object) -> st.SearchStrategy:
    """Another value of the kind that an argument expects."""
    if isinstance(value, torch.Tensor):
        return misfits(value)
    if isinstance(value, list):
        changed = spoiled(value[0]).map(lambda first: [first, *value[1:]])
        return st.one_of(st.just([]), st.just(value[1:]), st.just([*value, value[0]]), changed)
    if isinstance(value, int) and not isinstance(value, bool):
        return impossible
    return st.just(value)


@st.composite
def calls(draw, name: str):
    """Arguments of which none, one or two do not fit."""
    arguments = [draw(argument) for argument in CALLS[name]]
    for index in draw(st.sets(st.integers(0, len(arguments) - 1), max_size=2)):
        arguments[index] = draw(spoiled(arguments[index]))
    return arguments


def test_every_op_is_called():
    assert set(CALLS) == set(register.SCHEMAS)


@pytest.mark.parametrize("name", CALLS)
@given(st.data())
def test_a_kernel_raises_or_gives_the_shape_that_is_known_without_data(name, data):
    arguments = data.draw(calls(name))
    op = getattr(torch.ops.maskrcnn, name)
    try:
        results = op(*arguments)
    except RuntimeError as error:
        assert str(error)
        return
    with FakeTensorMode() as mode:
        known = op(*(without_data(argument, mode) for argument in arguments))
    results, known = ([one] if isinstance(one, torch.Tensor) else one for one in (results, known))
    for result, expected in zip(results, known, strict=True):
        assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
        result.sum()  # every number can be read


def without_data(value: object, mode: FakeTensorMode) -> object:
    if isinstance(value, list):
        return [without_data(part, mode) for part in value]
    return mode.from_tensor(value) if isinstance(value, torch.Tensor) else value


# Run-length codes

counts = st.lists(st.one_of(st.integers(0, 9), st.sampled_from([2**32 - 1, 2**31])), min_size=5, max_size=6)
offsets = st.one_of(
    st.just([0, 2, 5]),
    st.lists(st.integers(0, 5), min_size=3, max_size=3).map(sorted),
    st.lists(st.one_of(st.integers(-1, 8), hostile_integers), max_size=5),
)
image_sides = st.one_of(st.integers(1, 9), st.integers(1, 9), st.sampled_from([0, -1, 2**31, MOST, LEAST]))
two_flags = st.lists(st.booleans(), min_size=2, max_size=2)
points = st.lists(st.tuples(*[st.one_of(st.integers(-20, 20), hostile_numbers)] * 2), min_size=5, max_size=6)
RUN_LENGTH_CALLS = {
    "encode": [st.lists(st.integers(0, 5), min_size=2, max_size=4).map(lambda shape: np.ones(shape, np.uint8))],
    "decode": [counts, offsets, image_sides, image_sides],
    "merge": [counts, offsets, st.booleans(), hostile_integers],
    "area": [counts, offsets],
    "box": [counts, offsets, st.lists(image_sides, min_size=2, max_size=3)],
    "iou": [counts, offsets, counts, offsets, image_sides, two_flags],
    "from_polygons": [points.map(lambda rows: np.array(rows, dtype=float)), offsets, image_sides, image_sides],
    "to_string": [counts],
    "from_string": [st.one_of(st.binary(max_size=12), st.text(alphabet="0124OPo/", max_size=9))],
}


@pytest.mark.parametrize("name", RUN_LENGTH_CALLS)
@given(st.data())
def test_a_kernel_of_run_lengths_raises_or_returns(name, data):
    values = [data.draw(argument) for argument in RUN_LENGTH_CALLS[name]]
    kinds = {0: np.uint32, 2: np.uint32} if name == "iou" else {0: np.uint32}
    arguments = [
        np.array(value, dtype=kinds.get(index, np.int64)) if isinstance(value, list) else value
        for index, value in enumerate(values)
    ]
    try:
        result = getattr(register.extension.run_length, name)(*arguments)
    except (ValueError, MemoryError) as error:
        assert str(error)
        return
    assert result is not None
    if name == "area":
        ends = zip(values[1], values[1][1:], strict=False)
        assert result.tolist() == [sum(values[0][start + 1 : end : 2]) for start, end in ends]
