"""Total-Text: lines and original files by hand, the layout, errors."""

import numpy as np
import pytest
from small_files import picture_bytes, write_files

from maskrcnn.data.total_text import TotalText, parse_total_text, parse_total_text_line

TRIANGLE = "10,40,30,40,20,10"
FIVE = "0,0,10,0,12,5,10,10,0,10"


def points(text):
    return np.array(text.split(","), dtype=float).reshape(-1, 2)


# lines


@pytest.mark.parametrize("corners", [TRIANGLE, FIVE, "0,0,9,0,9,9,0,9", "-1, 0 ,9,0,9,9,0,9"])
@pytest.mark.parametrize("transcription", ["word", "", "a,b", "###", "1996", "1996,x", "$8,888", "1234567", "3.5"])
def test_a_line_has_any_number_of_points_and_any_transcription(corners, transcription):
    polygon, text = parse_total_text_line(f"{corners},{transcription}")
    np.testing.assert_array_equal(polygon, points(corners))
    assert text == transcription and polygon.dtype == np.float64


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3,4,word", "found 4 integers, then 'word', expected at least 3 points x,y and a transcription"),
        ("1,2,3,4,5,word", "found 5 integers, then 'word'"),
        ("word", "found 0 integers, then 'word'"),
        (TRIANGLE, "found 6 integers and no transcription"),
        (f"{FIVE},8,888", "found 12 integers and no transcription"),
        ("1,2,3.5,4,5,6,7,8,word", "found 2 integers, then '3.5'"),
        ("1,2,3", "found 3 integers, expected at least"),
    ],
)
def test_bad_lines_are_named(line, message):
    with pytest.raises(ValueError, match=f"^poly_gt_img3.txt:2: {message}"):
        parse_total_text(f"{TRIANGLE},fine\n{line}\n".encode(), "poly_gt_img3.txt")


def test_a_file_of_lines():
    content = f"\ufeff{TRIANGLE},a\r\n\r\n{FIVE},###\r\n{FIVE},#\r\n".encode()
    words = parse_total_text(content, "x")
    assert [(word.line, len(word.polygon), word.transcription, word.ignore) for word in words] == [
        (1, 3, "a", False),
        (3, 5, "###", True),
        (4, 5, "#", False),
    ]


# original files

ORIGINAL = (
    "x: [[206 251 386]], y: [[633 811 931]], ornt: [u'c'], transcriptions: [u'PETROSAINS']\n"
    "x: [[115 503 494 115]], y: [[322 346\n 426 404]], ornt: [u'm'], transcriptions: [u'#']\n"
    'x: [[1, 2, 3]], y: [[4, 6, 9]], ornt: [u\'h\'], transcriptions: [u"it\'s"]\n'
    r"x: [[1 2 3]], y: [[4 6 9]], ornt: ['h'], transcriptions: ['caf\xe9 \u20ac \ud83d\ude00 \\ \' \d']"
)


def test_an_original_file():
    words = parse_total_text(ORIGINAL.encode(), "poly_gt_img1.txt")
    assert [(word.line, word.transcription, word.ignore) for word in words] == [
        (1, "PETROSAINS", False),
        (2, "#", True),
        (4, "it's", False),
        (5, "café € 😀 \\ ' \\d", False),
    ]
    np.testing.assert_array_equal(words[0].polygon, [[206, 633], [251, 811], [386, 931]])
    np.testing.assert_array_equal(words[1].polygon, [[115, 322], [503, 346], [494, 426], [115, 404]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: [[1 2 3]], y: [[4 6]], ornt: [u'c'], transcriptions: [u'a']", "found 3 x and 2 y, expected at least 3"),
        ("x: [[1 2]], y: [[4 6]], ornt: [u'c'], transcriptions: [u'a']", "found 2 x and 2 y"),
        ("x: [[1 2 1-3]], y: [[4 6 9]], ornt: [u'c'], transcriptions: [u'a']", "found '1-3', expected"),
        ("x: [[1 2 9999999]], y: [[4 6 9]], ornt: [u'c'], transcriptions: [u'a']", "found .9999999., expected"),
        ("x: [[1 2 3]], y: [[4 6 9]], ornt: [u'c'], transcriptions: [u'a'", "found .*, expected x:"),
        ("x: [[1 2 3]], y: [[4 6 9]], ornt: [u'c'], transcriptions: [open('f')]", "found .* expected x:"),
        (r"x: [[1 2 3]], y: [[4 6 9]], ornt: [], transcriptions: [u'\ud83d']", "found .* not half of one"),
        (r"x: [[1 2 3]], y: [[4 6 9]], ornt: [], transcriptions: [u'\U00110000']", "found .*, expected a character"),
        (f"{TRIANGLE},word", "found '.*', expected x:"),
    ],
)
def test_bad_original_files_are_named(text, message):
    start = ORIGINAL.splitlines(keepends=True)[0]
    with pytest.raises(ValueError, match=f"^poly_gt_img1.txt:2: {message}"):
        parse_total_text((start + text).encode(), "poly_gt_img1.txt")


# the data set


def test_the_layout(tmp_path):
    files = {
        "Images/Train/img11.jpg": picture_bytes(),
        "Images/Train/img2.JPG": picture_bytes(),
        "Groundtruth/Polygon/Train/poly_gt_img11.txt": f"{TRIANGLE},1996\n0,0,1,1,2,2,flat\n",
        "Groundtruth/Polygon/Train/poly_gt_img2.txt": ORIGINAL,
        "Images/Test/img1.jpg": picture_bytes(),
        "Groundtruth/Polygon/Test/poly_gt_img1.txt": "",
    }
    write_files(tmp_path, files)
    with pytest.warns(UserWarning, match="skipped 1: poly_gt_img11.txt:2: found a polygon without area"):
        data = TotalText(tmp_path)
    assert data.names == ["img2.JPG", "img11.jpg"]
    sample = data[1]
    assert sample.transcriptions == ("1996",)
    np.testing.assert_array_equal(sample.polygons[0], points(TRIANGLE))  # it runs counter-clockwise, which is fine
    assert data[0].ignore.tolist() == [False, True, False, False]
    assert TotalText(tmp_path, "test").names == ["img1.jpg"]
    assert TotalText(tmp_path, "img_1..img_9").names == ["img2.JPG"]
