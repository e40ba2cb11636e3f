"""Run-length codes of anything: the compiled code, numpy and dense masks agree, and damage is named alike."""

from unittest import mock

import numpy as np
from hostile_inputs import seeds
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from maskrcnn.ops import fallback_run_length, register, run_length
from maskrcnn.ops.run_length import RunLengths
from maskrcnn.reference import counts_string, polygon_masks
from maskrcnn.reference import run_length as reference

KERNELS = [fallback_run_length] + ([register.extension.run_length] if register.extension else [])
mask_counts = st.integers(0, 5)
sides = st.one_of(st.integers(1, 9), st.sampled_from([63, 64, 65, 130]))


def on_both(function, *arguments, **named):
    """What a function gives or how it complains, on which the compiled code and numpy's agree."""
    results = []
    for kernels in KERNELS:
        with mock.patch.object(run_length, "kernels", kernels):
            try:
                results.append(function(*arguments, **named))
            except (TypeError, ValueError) as error:
                results.append(f"{type(error).__name__}: {error}")
    for result in results[1:]:
        if isinstance(result, np.ndarray):
            assert result.dtype == results[0].dtype and result.shape == results[0].shape
            assert (result == results[0]).all()
        else:
            assert result == results[0]
    return results[-1]


@st.composite
def stacks(draw, count=mask_counts):
    """(N, H, W) bool or uint8, noise of some density and blocks, in any memory layout."""
    count, height, width = draw(count), draw(sides), draw(sides)
    random = np.random.default_rng(draw(seeds))
    masks = random.random((count, height, width)) < random.choice([0.0, 0.03, 0.5, 1.0], (count, 1, 1))
    masks[:, : random.integers(height + 1), : random.integers(width + 1)] ^= True
    masks = masks * np.uint8(draw(st.sampled_from([1, 255]))) if draw(st.booleans()) else masks
    layout = draw(st.sampled_from(["C", "F", "reversed", "sliced", "repeated"]))
    if layout == "reversed":
        return masks[::-1, ::-1, ::-1]
    if layout == "sliced":
        room = np.ones([2 * size for size in masks.shape], dtype=masks.dtype)
        room[::2, ::2, ::2] = masks
        return room[::2, ::2, ::2]
    if layout == "repeated":
        return np.broadcast_to(masks[:, :, :1], masks.shape)
    return np.asarray(masks, order=layout)


@given(stacks())
def test_decoding_gives_the_masks_back_and_codes_equal_the_loop(masks):
    codes = on_both(run_length.encode, masks)
    decoded = on_both(run_length.decode, codes)
    assert decoded.dtype == bool and (len(masks) == 0 or (decoded == (masks != 0)).all())
    assert [code.counts.tolist() for code in codes] == [reference.encode(mask) for mask in masks]
    assert on_both(run_length.area, codes).tolist() == (masks != 0).sum(axis=(1, 2)).tolist()
    for found, mask in zip(on_both(run_length.box, codes), masks, strict=True):
        rows, columns = mask.nonzero()
        expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else [0, 0, 0, 0]
        assert found.tolist() == expected


@given(stacks(count=st.integers(1, 5)), st.data())
def test_merges_and_overlaps_equal_those_of_the_masks(masks, data):
    dense, codes = masks != 0, run_length.encode(masks)
    for intersect, expected in ((False, dense.any(axis=0)), (True, dense.all(axis=0))):
        merged = on_both(run_length.merge, codes, intersect=intersect)
        assert merged == run_length.encode(expected[None])[0]
    crowd = data.draw(st.lists(st.booleans(), min_size=len(masks), max_size=len(masks)))
    shared = (dense[:, None] & dense).sum(axis=(2, 3))
    areas = dense.sum(axis=(1, 2))
    whole = np.where(crowd, areas[:, None], areas[:, None] + areas - shared)
    assert (on_both(run_length.iou, codes, codes, crowd) == shared / np.maximum(whole, 1)).all()


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20), st.data())
def test_counts_of_nothing_anywhere_mean_nothing(counts, data):
    """Codes from elsewhere may have them; what they mean is the mask."""
    total = sum(counts)
    height = data.draw(st.sampled_from([side for side in range(1, total + 1) if total % side == 0] or [1]))
    counts = counts if total else [1]
    kind = data.draw(st.sampled_from(["<i8", ">u4", "u1"]))
    code = RunLengths(height, max(total, 1) // height, np.array(counts, dtype=kind))
    mask = reference.decode(counts, code.height, code.width)
    assert (on_both(run_length.decode, [code])[0] == mask).all()
    assert on_both(run_length.merge, [code]).counts.tolist() == reference.encode(mask)
    assert on_both(run_length.area, [code]).tolist() == [mask.sum()]
    assert on_both(run_length.box, [code]).tolist() == [[*reference.box(counts, code.height, code.width)]]
    assert on_both(run_length.iou, [code], [code]).tolist() == [[float(mask.any())]]


@given(st.lists(st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1)), max_size=12))
def test_strings_are_read_back(counts):
    code = mock.Mock(counts=np.array(counts, dtype=np.uint32))
    text = on_both(run_length.to_string, code)
    assert text == counts_string.to_string(counts) and counts_string.from_string(text) == counts
    total = sum(counts)
    if 0 < total < 2**32:
        assert on_both(run_length.from_string, text, 1, total) == RunLengths(1, total, counts)


@given(
    st.one_of(st.text(alphabet="0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmno", max_size=20),
              st.text(alphabet="4OPPPP`o/p\0", max_size=20), st.text(max_size=9), st.binary(max_size=20)),
    st.integers(1, 2**16), st.integers(1, 2**16),
)  # fmt: skip
def test_damaged_strings_are_refused_with_one_message(text, height, width):
    code = on_both(run_length.from_string, text, height, width)
    if isinstance(code, RunLengths):
        text = text if isinstance(text, str) else text.decode("ascii")
        assert code.counts.tolist() == counts_string.from_string(text) and code.counts.sum() == height * width
    else:
        assert code.startswith("ValueError: run lengths: ")


coordinates = st.one_of(
    st.integers(-20, 40).map(float), st.integers(-100, 200).map(lambda fifth: fifth / 5),
    st.floats(-30, 60), st.sampled_from([0.0, -0.0, 1e-300, 0.1, 0.3]),
)  # fmt: skip
far_coordinates = st.one_of(coordinates, st.floats(-1e8, 1e8), st.sampled_from([1e8, -1e8]))


def polygons(numbers):
    points = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=7).map(lambda rows: np.array(rows, dtype=float))
    return st.lists(points, max_size=4)


@given(polygons(coordinates), sides, sides)
def test_polygons_equal_the_walk_along_their_outline(shapes, height, width):
    codes = on_both(run_length.from_polygons, shapes, height, width)
    assert [code.counts.tolist() for code in codes] == [
        polygon_masks.from_polygon(shape, height, width) for shape in shapes
    ]


@given(polygons(far_coordinates), sides, sides)
def test_far_polygons_are_the_same_in_both_and_from_any_memory(shapes, height, width):
    codes = on_both(run_length.from_polygons, shapes, height, width)
    layouts = [np.asfortranarray(shape[::-1])[::-1] for shape in shapes]
    assert on_both(run_length.from_polygons, layouts, height, width) == codes
    masks = on_both(run_length.rasterize_polygons, [shape.ravel().tolist() for shape in shapes], height, width)
    assert masks.shape == (len(shapes), height, width)
    assert not shapes or (masks == run_length.decode(codes)).all()


@given(
    st.lists(
        st.one_of(
            numpy_strategies.arrays(
                st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_, np.complex64]),
                numpy_strategies.array_shapes(max_dims=3, min_side=0, max_side=7),
            ),
            st.lists(st.one_of(st.floats(), st.integers(), st.text(max_size=2), st.none()), max_size=8),
        ),
        max_size=3,
    ),
    st.one_of(st.integers(-3, 70), st.sampled_from([2**31, 2**32, 10**30, 2.5, True, "7", None])),
    st.integers(1, 9),
)
def test_anything_as_a_polygon_is_drawn_or_refused(shapes, height, width):
    found = on_both(run_length.from_polygons, shapes, height, width)
    if isinstance(found, str):
        assert found.startswith(("ValueError: polygon ", "ValueError: run lengths: "))
    else:
        assert all(code.counts.sum() == height * width for code in found) and len(found) == len(shapes)
