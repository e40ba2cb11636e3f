"""Words, fonts and sheets: every letter exists in every font, and boxes hold their ink exactly."""

import string

import numpy as np
import pytest

from maskrcnn.data.rendered_sheet import FONT_FILES, glyph, random_word, set_sheet

LETTERS = string.ascii_letters + string.digits
MARKS = "!?.,:&$%"


@pytest.mark.parametrize("font", FONT_FILES)
def test_every_font_has_every_letter(font):
    """A letter that a font lacks would be drawn as the same box as any other one that it lacks."""
    shapes = [glyph(font, letter).ink for letter in LETTERS + MARKS]
    assert all(shape is not None and shape.max() > 200 for shape in shapes)
    missing = glyph(font, "\uffff").ink
    different = {(shape.shape, shape.tobytes()) for shape in shapes}
    # In some fonts a few letters share one shape; never more than that.
    assert len(different) >= len(shapes) - 2
    assert missing is None or (missing.shape, missing.tobytes()) not in different


def test_words_vary_and_keep_to_their_length():
    rng = np.random.default_rng(0)
    for longest in (4, 10):
        words = [random_word(rng, longest) for _ in range(1000)]
        lengths = [len(word) for word in words]
        assert (min(lengths), max(lengths)) == (2, longest)
        assert set("".join(words)) <= set(LETTERS + MARKS)
        assert all(set(word) & set(LETTERS) for word in words)
        assert len(set(words)) > 500
    assert {word for word in words if word.isupper()} and {word for word in words if word.islower()}
    assert [word for word in words if word.isdigit()] and [word for word in words if word[-1] in "!?.,:&"]


@pytest.mark.parametrize("font", ["DejaVuSerif-Italic.ttf", "cmti10.ttf"])
@pytest.mark.parametrize("letter_gap", [0, 9])
def test_boxes_hold_the_ink_of_their_words_exactly(font, letter_gap):
    lines = [["Qf,", "of"], ["jWj"], ["a", "gap", "is", "I"]]
    sheet = set_sheet(lines, font, letter_gap=letter_gap, align=0.5, line_gap=9, margin=5)
    assert sheet.words == ("Qf,", "of", "jWj", "a", "gap", "is", "I")
    ink = np.array(sheet.image)
    for x1, y1, x2, y2 in sheet.boxes.astype(int):
        inside = ink[y1:y2, x1:x2]
        for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
            assert side.max() > 0
        inside[...] = 0
    assert ink.max() == 0, "ink outside the boxes"
    left, top, right, bottom = (sheet.boxes[:, side] for side in range(4))
    assert (left.min(), top.min()) == (5, 5)
    assert (right.max(), bottom.max()) == (sheet.image.width - 5, sheet.image.height - 5)
    assert top[2] - bottom[:2].max() == 9
    assert top[3:].min() - bottom[2] == 9


def test_words_stand_on_one_base_line_at_one_distance():
    sheet = set_sheet([["HH", "HH", "xx"]], "DejaVuSans.ttf", line_gap=9)
    (first, second, third) = sheet.boxes
    assert first[3] == second[3] == third[3]
    assert first[1] == second[1] < third[1]
    assert second[0] - first[2] == third[0] - second[2] == glyph("DejaVuSans.ttf", " ").advance


@pytest.mark.parametrize(("align", "left"), [(0.0, 8), (1.0, None)])
def test_short_lines_go_to_the_side_asked_for(align, left):
    sheet = set_sheet([["LONGER"], ["IT"]], "DejaVuSans.ttf", align=align)
    longer, short = sheet.boxes
    assert short[0] == left if left else short[2] == longer[2]


def test_letter_gaps_widen_a_word():
    widths = [np.ptp(set_sheet([["EXIT"]], "DejaVuSans.ttf", letter_gap=gap).boxes[0, [0, 2]]) for gap in (0, 7)]
    assert widths[1] - widths[0] == 3 * 7


def test_a_word_may_hold_spaces_but_not_be_one():
    sheet = set_sheet([["NO ENTRY"]], "DejaVuSans.ttf")
    assert sheet.words == ("NO ENTRY",)
    assert sheet.boxes.shape == (1, 4)
    with pytest.raises(ValueError, match="a word without ink cannot be set: ' '"):
        set_sheet([["NO", " "]], "DejaVuSans.ttf")


def test_a_reduced_sheet_keeps_coordinates_and_ink():
    sheet = set_sheet([["Exit"]], "DejaVuSans.ttf", margin=7)
    assert sheet.reduced(1) is sheet.image
    small = np.asarray(sheet.reduced(3), float)
    assert small.shape == (-(-sheet.image.height // 3), -(-sheet.image.width // 3))
    full = np.asarray(sheet.image, float)
    np.testing.assert_allclose(small[4:8, 4:8], full[12:24, 12:24].reshape(4, 3, 4, 3).mean(axis=(1, 3)), atol=0.5)
