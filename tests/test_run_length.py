"""Run-length codes: by hand, against the loops, and with everything a damaged file may hold; C++ and numpy alike."""

import math
from unittest import mock

import numpy as np
import pytest

from maskrcnn.ops import fallback_run_length, register, run_length
from maskrcnn.ops.run_length import RunLengths
from maskrcnn.reference import counts_string, polygon_masks
from maskrcnn.reference import run_length as reference

KERNELS = [fallback_run_length] + ([register.extension.run_length] if register.extension else [])


def on_both(function, *arguments, **named):
    """What a function gives, on which the compiled code and numpy's agree."""
    results = []
    for kernels in KERNELS:
        with mock.patch.object(run_length, "kernels", kernels):
            results.append(function(*arguments, **named))
    for result in results[1:]:
        if isinstance(result, np.ndarray):
            assert result.dtype == results[0].dtype and result.shape == results[0].shape
            assert (result == results[0]).all()
        else:
            assert result == results[0]
    return results[-1]


def code_of(*rows: str) -> RunLengths:
    """The code of a mask that is drawn as rows of dots and hashes."""
    return on_both(run_length.encode, np.array([[[pixel == "#" for pixel in row] for row in rows]]))[0]


def counts_of(codes: list[RunLengths]) -> list[list[int]]:
    return [code.counts.tolist() for code in codes]


def random_masks(count: int, height: int, width: int, seed: int) -> np.ndarray:
    """(N, H, W) bool: noise of every density, and blocks."""
    random = np.random.default_rng(seed)
    masks = random.random((count, height, width)) < random.choice([0.0, 0.03, 0.5, 0.9, 1.0], (count, 1, 1))
    for mask in masks[::2]:
        y, x = random.integers(height), random.integers(width)
        mask[y : y + height // 2 + 1, x : x + width // 2 + 1] ^= True
    return masks


SIZES = [(1, 1), (1, 9), (9, 1), (2, 2), (7, 11), (23, 64), (8, 130)]


# Worked by hand

SQUARE = ["..#.", ".##.", ".#.."]


def test_columns_are_counted_one_after_another_beginning_with_zeros():
    code = code_of(*SQUARE)
    assert (code.height, code.width, code.counts.tolist()) == (3, 4, [4, 4, 4])
    assert reference.encode(np.array([[pixel == "#" for pixel in row] for row in SQUARE])) == [4, 4, 4]


def test_a_mask_whose_first_pixel_is_one_begins_with_a_count_of_no_zeros():
    assert code_of("##", "##").counts.tolist() == [0, 4]
    assert code_of("..", "..").counts.tolist() == [4]
    assert code_of("#").counts.tolist() == [0, 1]
    assert code_of("#.", ".#").counts.tolist() == [0, 1, 2, 1]


def test_any_number_but_zero_counts_as_one():
    assert on_both(run_length.encode, np.array([[[0, 255, 7, 1]] * 20], dtype=np.uint8))[0].counts.tolist() == [20, 60]


def test_decoding_gives_the_mask_back():
    mask = on_both(run_length.decode, [RunLengths(3, 4, [4, 4, 4])])
    assert mask.dtype == bool
    assert ["".join(".#"[int(pixel)] for pixel in row) for row in mask[0]] == SQUARE
    assert (reference.decode([4, 4, 4], 3, 4) == mask[0]).all()


def test_area_and_box():
    codes = [code_of(*SQUARE), code_of("..."), code_of("...", "#.."), code_of("##")]
    assert on_both(run_length.area, codes).tolist() == [4, 0, 1, 2]
    boxes = on_both(run_length.box, codes)
    assert boxes.dtype == np.float64
    assert boxes.tolist() == [[1, 0, 3, 3], [0, 0, 0, 0], [0, 1, 1, 2], [0, 0, 2, 1]]


def test_a_run_over_two_columns_touches_bottom_and_top():
    """Though neither of its ends does."""
    assert on_both(run_length.box, [RunLengths(5, 3, [3, 3, 9])]).tolist() == [[0, 0, 2, 5]]


def test_merging():
    left, right = code_of("##.", "##."), code_of(".##", "...")
    assert on_both(run_length.merge, [left, right]) == code_of("###", "##.")
    assert on_both(run_length.merge, [left, right], intersect=True) == code_of(".#.", "...")
    assert on_both(run_length.merge, [right]) == right == on_both(run_length.merge, [right], intersect=True)


def test_iou():
    left, right, nothing = code_of("##.", "##."), code_of(".##", "..."), code_of("...", "...")
    overlaps = on_both(run_length.iou, [left, right, nothing], [right, nothing, left])
    assert overlaps.tolist() == [[1 / 5, 0, 1], [1, 0, 1 / 5], [0, 0, 0]]


def test_a_detection_inside_a_crowd_overlaps_it_by_a_quarter_but_lies_in_it_whole():
    masks = np.zeros((2, 12, 12), dtype=bool)
    masks[0, 1:6, 2:7] = masks[1, 1:11, 1:11] = True
    detection, ground_truth = on_both(run_length.encode, masks)
    overlaps = on_both(run_length.iou, [detection], [ground_truth, ground_truth], [False, True])
    assert overlaps.tolist() == [[0.25, 1.0]]
    assert on_both(run_length.iou, [ground_truth], [detection], [1]).tolist() == [[0.25]]


def test_strings():
    """15 and -8 fit into one group; 16 does not, because its highest bit would be a sign; 32 is no ones and one 32."""
    for counts, text in {
        (4, 4, 4): "444",
        (0, 4): "04",
        (15,): "?",
        (16,): "`0",
        (32,): "P1",
        (5, 9, 5, 1): "595H",  # 1 - 9 = -8 is 24 of 32
        (1, 2, 3, 4, 3): "12320",  # the third is stored itself, the fourth as 4 - 2
    }.items():
        code = RunLengths(1, sum(counts), counts)
        assert on_both(run_length.to_string, code) == counts_string.to_string(list(counts)) == text
        assert on_both(run_length.from_string, text, 1, sum(counts)) == code
        assert on_both(run_length.from_string, text.encode(), 1, sum(counts)) == code
        assert counts_string.from_string(text) == list(counts)


def test_an_integer_rectangle_covers_its_pixels_and_no_others():
    mask = on_both(run_length.rasterize_polygons, [[1, 1, 4, 1, 4, 3, 1, 3]], 6, 6)
    expected = np.zeros((1, 6, 6), dtype=bool)
    expected[0, 1:3, 1:4] = True
    assert mask.dtype == bool and (mask == expected).all()


def test_a_centre_on_the_outline_belongs_to_the_polygon_on_its_right_and_below():
    mask = on_both(run_length.rasterize_polygons, [[1.5, 1.5, 4.5, 1.5, 4.5, 3.5, 1.5, 3.5]], 6, 6)
    expected = np.zeros((1, 6, 6), dtype=bool)
    expected[0, 2:4, 2:5] = True
    assert (mask == expected).all()


def test_a_polygon_that_crosses_itself_is_hollow_where_it_overlaps():
    twice = [[0, 0], [8, 0], [8, 8], [0, 8], [0, 0], [2, 2], [6, 2], [6, 6], [2, 6], [2, 2]]
    assert on_both(run_length.rasterize_polygons, [twice], 8, 8).sum() == 64 - 16


# Against the loops


@pytest.mark.parametrize("height, width", SIZES)
def test_masks_and_codes_agree_with_the_loops(height, width):
    masks = random_masks(8, height, width, seed=height * width)
    codes = on_both(run_length.encode, masks)
    assert counts_of(codes) == [reference.encode(mask) for mask in masks]
    assert (on_both(run_length.decode, codes) == masks).all()
    assert (np.stack([reference.decode(counts, height, width) for counts in counts_of(codes)]) == masks).all()
    assert on_both(run_length.area, codes).tolist() == [reference.area(counts) for counts in counts_of(codes)]
    boxes = [list(reference.box(counts, height, width)) for counts in counts_of(codes)]
    assert on_both(run_length.box, codes).tolist() == boxes
    for code in codes:
        text = on_both(run_length.to_string, code)
        assert text == counts_string.to_string(code.counts.tolist())
        assert on_both(run_length.from_string, text, height, width) == code


@pytest.mark.parametrize("height, width", SIZES)
def test_overlaps_and_merges_agree_with_the_loops(height, width):
    codes = on_both(run_length.encode, random_masks(9, height, width, seed=height + width))
    counts = counts_of(codes)
    crowd = [index % 3 == 0 for index in range(5)]
    expected = [[reference.iou(a, b, is_crowd) for b, is_crowd in zip(counts[:5], crowd, strict=True)] for a in counts]
    assert on_both(run_length.iou, codes, codes[:5], crowd).tolist() == expected
    for size in (1, 2, 3, 9):
        for intersect in (False, True):
            merged = on_both(run_length.merge, codes[:size], intersect=intersect)
            assert merged.counts.tolist() == reference.merge(counts[:size], intersect)


@pytest.mark.parametrize("grid", [None, 1, 5, 10])
def test_polygons_agree_with_the_walk_along_their_outline(grid):
    """On pixels, on fifths, where equal places and halves are common, and anywhere."""
    random = np.random.default_rng(grid)
    for _ in range(12):
        height, width = (int(side) for side in random.integers(1, 30, 2))
        polygons = [random.uniform(-15, 40, (count, 2)) for count in random.integers(3, 9, 5)]
        if grid:
            polygons = [(polygon * grid).round() / grid for polygon in polygons]
        polygons.append(polygons[0][[0, 0, 1, 1, 0]])  # a line, there and back
        codes = on_both(run_length.from_polygons, polygons, height, width)
        assert counts_of(codes) == [polygon_masks.from_polygon(polygon, height, width) for polygon in polygons]


def test_an_image_is_a_window_onto_a_polygon():
    """Far corners change nothing inside, and cost nothing: walking this outline would take a thousand million steps."""
    far = 1e8
    half = on_both(run_length.rasterize_polygons, [[[-far, -far], [far, -far], [far, 7], [-far, 7]]], 20, 30)[0]
    assert half[:7].all() and not half[7:].any()
    diagonal = on_both(run_length.rasterize_polygons, [[[-far, -far], [far, far], [-far, far]]], 30, 30)[0]
    assert (diagonal == np.tril(np.ones((30, 30), dtype=bool))).all()
    nearly_upright = [[4, -far], [6, far], [-far, far], [-far, -far]]
    assert on_both(run_length.rasterize_polygons, [nearly_upright], 4, 9)[0].sum(axis=1).tolist() == [5, 5, 5, 5]


# Empty and odd, but legal


def test_nothing_at_all():
    assert on_both(run_length.encode, np.zeros((0, 5, 7), dtype=bool)) == []
    assert on_both(run_length.decode, []).shape == (0, 0, 0)
    assert on_both(run_length.area, []).tolist() == []
    assert on_both(run_length.box, []).shape == (0, 4)
    code = code_of("#")
    for detections, ground_truths in (([], []), ([code], []), ([], [code])):
        assert on_both(run_length.iou, detections, ground_truths).shape == (len(detections), len(ground_truths))
    assert on_both(run_length.from_polygons, [], 5, 7) == []
    assert on_both(run_length.rasterize_polygons, [], 5, 7).shape == (0, 5, 7)


def test_counts_of_nothing_between_others_mean_nothing():
    """No encoder writes them, but files may hold them."""
    odd, plain = RunLengths(2, 4, [1, 1, 0, 2, 0, 0, 4, 0]), RunLengths(2, 4, [1, 3, 4])
    assert (on_both(run_length.decode, [odd]) == run_length.decode([plain])).all()
    assert on_both(run_length.area, [odd]).tolist() == [3]
    assert on_both(run_length.box, [odd]).tolist() == on_both(run_length.box, [plain]).tolist()
    assert on_both(run_length.iou, [odd], [plain]).tolist() == [[1.0]]
    for codes in ([odd], [odd, plain], [odd, odd]):
        assert on_both(run_length.merge, codes) == plain == on_both(run_length.merge, codes, intersect=True)
    assert on_both(run_length.from_string, run_length.to_string(odd), 2, 4) == odd


def test_the_largest_code_there_is():
    """Of a mask that could not be unpacked here, with differences of more than 32 bits."""
    side = 2**16 - 1
    half, rest = side * side // 2, side * side - 2 * (side * side // 2)
    code = RunLengths(side, side, [0, half, rest, 0, 0, half])
    text = on_both(run_length.to_string, code)
    assert on_both(run_length.from_string, text, side, side) == code
    assert counts_string.from_string(text) == code.counts.tolist()
    assert on_both(run_length.area, [code]).tolist() == [2 * half]
    assert on_both(run_length.iou, [code], [code]).tolist() == [[1.0]]
    assert on_both(run_length.box, [code]).tolist() == [[0, 0, side, side]]


def test_any_memory_layout():
    masks = random_masks(6, 9, 12, seed=1)
    assert on_both(run_length.encode, np.asfortranarray(masks)) == on_both(run_length.encode, masks)
    some = masks[::2, ::-1, 1::3]
    assert on_both(run_length.encode, some) == on_both(run_length.encode, some.copy())


def test_a_code_cannot_be_changed_afterwards():
    counts = np.array([4, 4, 4], dtype=np.uint32)
    code = RunLengths(3, 4, counts)
    counts[0] = 1
    assert code.counts.tolist() == [4, 4, 4]
    with pytest.raises(ValueError, match="read-only"):
        code.counts[0] = 1
    assert not run_length.encode(np.ones((2, 3, 3), dtype=bool))[1].counts.flags.writeable
    assert code != RunLengths(4, 3, counts=[4, 4, 4]) and code != RunLengths(3, 4, [12]) and code != "code"


# Errors

SMALL, WIDE = RunLengths(2, 2, [4]), RunLengths(2, 3, [6])
TRIANGLE = [[0, 0], [5, 0], [0, 5]]
CODES = {
    "too few pixels": ((3, 4, [4, 4]), "the counts add up to 8 pixels, expected 12 for 3 x 4"),
    "too many pixels": ((3, 4, [4, 4, 4, 1]), "add up to 13 pixels, expected 12"),
    "a sum that wraps around to the right one": ((1, 4, [2**32 - 1, 5]), "add up to 4294967300 pixels, expected 4"),
    "no counts": ((3, 4, []), r"counts must be a list of whole numbers, found \[\]"),
    "a negative count": ((3, 4, [14, -2]), "count 1 is -2, expected 0 to 4294967295"),
    "a count of more than 32 bits": ((3, 4, [12, 2**32]), "count 1 is 4294967296, expected"),
    "a count of more than 64 bits": ((3, 4, [12, 2**70]), "whole numbers"),
    "fractions": ((3, 4, [12.0]), r"whole numbers, found \[12.0\]"),
    "flags": ((1, 1, [True]), "whole numbers"),
    "a string": ((3, 4, "444"), "whole numbers, found '444'"),
    "lists in a list": ((3, 4, [[4, 4, 4]]), "whole numbers"),
    "nothing": ((3, 4, None), "whole numbers, found None"),
    "no pixels": ((0, 4, [0]), "height 0 and width 4, expected 1 or more"),
    "negative sides": ((-3, -4, [12]), "height -3 and width -4"),
    "a million million pixels": ((10**6, 10**6, [10**12]), "height 1000000 and width 1000000, .* at most 4294967295"),
    "a fraction of a pixel": ((3.5, 4, [14]), "height must be a whole number, found 3.5"),
    "a width in words": ((3, "4", [12]), "width must be a whole number, found '4'"),
}


@pytest.mark.parametrize("arguments, message", CODES.values(), ids=CODES)
def test_damaged_codes_are_refused(arguments, message):
    with pytest.raises(ValueError, match="^run lengths: .*" + message):
        RunLengths(*arguments)


STRINGS = {
    "an end within a count": ("44T", "the string ends within count 2"),
    "a character too low": ("44/4", "character 2 is not one of '0' to 'o'"),
    "a character too high": ("p44", "character 0 is not"),
    "a character of another script": ("44\N{GREEK SMALL LETTER ALPHA}", "character 2 is not"),
    "half a character": ("44\ud800", "character 2 is not"),
    "a zero byte": ("44\0" + "4", "character 2 is not"),
    "a negative count": ("4O", "count 1 is -1, expected 0 to 4294967295"),
    "a difference below zero": ("444H", "count 3 is -4, expected"),
    "a count of more than 32 bits": ("PPPPPP4", "count 0 is 4294967296, expected"),
    "more and more bits": ("P" * 100 + "1", "count 0 has more than 7 characters"),
    "a bad count before a character too low": ("4O44/4", "count 1 is -1, expected"),
    "a character too low before a bad count": ("44/44O", "character 2 is not"),
    "an end after a bad count": ("4OT", "count 1 is -1, expected"),
    "a character too low in an eighth place": ("PPPPPPP/", "count 0 has more than 7 characters"),
    "a character too low in a seventh place": ("PPPPPP/P", "character 6 is not"),
    "an end after the seventh place": ("4PPPPPPP", "the string ends within count 1"),
    "an end after the eighth place": ("4PPPPPPPP", "count 1 has more than 7 characters"),
    "a bad count after a long one": ("PPPPPPP4O", "count 0 has more than 7 characters"),
    "an empty string": ("", "add up to 0 pixels, expected 12"),
    "a short string": ("44", "add up to 8 pixels, expected 12"),
    "no string": ([4, 4, 4], "compressed counts must be a string, found list"),
}


@pytest.mark.parametrize("text, message", STRINGS.values(), ids=STRINGS)
@pytest.mark.parametrize("kernels", KERNELS, ids=["numpy", "compiled"][: len(KERNELS)])
def test_damaged_strings_are_refused(kernels, text, message):
    message = "^run lengths: .*" + message
    with mock.patch.object(run_length, "kernels", kernels), pytest.raises(ValueError, match=message):
        run_length.from_string(text, 3, 4)


POLYGONS = {
    "two points": ([[0, 0], [5, 5]], r"expected \(P >= 3, 2\) points, found \(2, 2\)"),
    "four numbers": ([0, 0, 5, 5], r"found \(2, 2\)"),
    "no points": ([], r"found \(0, 2\)"),
    "half a point": ([0, 0, 5, 0, 0, 5, 3], "expected pairs x, y, found 7 numbers"),
    "three coordinates": ([[0, 0, 0]] * 4, r"found \(4, 3\)"),
    "a number": (5, r"found \(\)"),
    "NaN": ([0, 0, 5, math.nan, 0, 5], "point 1 has the coordinate nan, expected at most 1e8"),
    "infinity": ([0, 0, 5, 0, 0, -math.inf], "point 2 has the coordinate -inf"),
    "too far": ([0, 0, 5, 0, 1.1e8, 5], "point 2 has the coordinate 110000000.0"),
    "words": (["0", "0", "5", "0", "0", "5"], "expected numbers x, y, found"),
    "huge whole numbers": ([0, 0, 5, 0, 0, 10**40], "expected numbers"),
    "rows of different lengths": ([[0, 0], [5], [0, 5]], "expected numbers"),
    "nothing": (None, "expected numbers x, y, found None"),
}


@pytest.mark.parametrize("polygon, message", POLYGONS.values(), ids=POLYGONS)
@pytest.mark.parametrize("function", [run_length.from_polygons, run_length.rasterize_polygons])
def test_damaged_polygons_are_refused(function, polygon, message):
    with pytest.raises(ValueError, match="^polygon 1: .*" + message):
        function([TRIANGLE, polygon], 10, 10)


MISTAKES = {
    "masks of floats": (TypeError, lambda: run_length.encode(np.zeros((1, 2, 2))), "encode: masks .* found float64"),
    "a list": (TypeError, lambda: run_length.encode([[[True]]]), "encode: masks must be an array .* found list"),
    "one mask": (ValueError, lambda: run_length.encode(np.zeros((2, 2), bool)), r"must be \(N, H, W\), found \(2, 2\)"),
    "no pixels": (ValueError, lambda: run_length.encode(np.zeros((1, 0, 2), bool)), "height 0 and width 2"),
    "decode sizes": (ValueError, lambda: run_length.decode([SMALL, WIDE]), "found 2 x 2 and, at 1, 2 x 3"),
    "merge sizes": (ValueError, lambda: run_length.merge([SMALL, WIDE]), "merge: masks must have one size"),
    "nothing to merge": (ValueError, lambda: run_length.merge([]), "merge: needs at least one code"),
    "iou sizes": (ValueError, lambda: run_length.iou([SMALL], [WIDE]), "iou: masks must have one size"),
    "missing flags": (ValueError, lambda: run_length.iou([SMALL], [SMALL], []), r"crowd must be 1 flags, found \[\]"),
    "flags in words": (ValueError, lambda: run_length.iou([SMALL], [SMALL], ["no"]), "crowd must be 1 flags"),
    "no image": (ValueError, lambda: run_length.from_polygons([TRIANGLE], 0, 9), "height 0 and width 9"),
    "an image beyond all bounds": (
        ValueError,
        lambda: run_length.rasterize_polygons([TRIANGLE], 10**6, 10**6),
        "height 1000000 and width 1000000",
    ),
}


@pytest.mark.parametrize("error, call, message", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named(error, call, message):
    with pytest.raises(error, match=message):
        call()


def test_a_few_bytes_cannot_claim_all_memory():
    big = RunLengths(60_000, 60_000, [60_000**2])
    with pytest.raises(ValueError, match=r"decode: 1 masks of 60000 x 60000 .* at most 1073741824 at"):
        run_length.decode([big])
    with pytest.raises(ValueError, match="decode: 4000 masks of 1000 x 1000 have 4000000000 pixels"):
        run_length.decode([RunLengths(1000, 1000, [10**6])] * 4000)
    with pytest.raises(ValueError, match="rasterize_polygons: 1 masks of 60000 x 60000 have"):
        run_length.rasterize_polygons([TRIANGLE], 60_000, 60_000)
    zigzag = np.stack([np.arange(20_000) % 2 * 30_000, np.arange(20_000)], axis=1)
    with pytest.raises(ValueError, match="cross up to 600000000 columns of pixels, expected at most 268435456"):
        run_length.from_polygons([zigzag], 30_000, 30_000)


@pytest.mark.parametrize("function", [run_length.decode, run_length.merge, run_length.area, run_length.box])
def test_what_is_no_code_is_named_by_its_place(function):
    code = run_length.encode(np.ones((1, 2, 3), bool))[0]
    with pytest.raises(TypeError, match=r"^run lengths: expected codes, found at 1 'x'$"):
        function([code, "x"])
