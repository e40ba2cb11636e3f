"""CTW1500: the three kinds of labels by hand, hostile XML, splits, errors."""

import time

import numpy as np
import pytest
from small_files import picture_bytes, write_files

from maskrcnn.data.ctw1500 import CTW1500, parse_ctw1500, parse_ctw1500_line, parse_original_line

SEGS = (
    "131,58,208,49,279,56,346,76,412,101,473,141,530,192,"
    "510,246,458,210,405,175,350,151,291,137,228,133,165,134"
)  # fmt: skip
POINTS = np.array(SEGS.split(","), dtype=float).reshape(14, 2)
OFFSETS = ",".join(str(int(value)) for value in (131, 49, 530, 246, *(POINTS - (131, 49)).ravel()))
BOX = (
    '<box height="197" left="131" top="49" width="399">'
    f'<label>GOLDEN</label><segs>{SEGS}</segs><pts x="1" y="2"/></box>'
)
XML = f"""<Annotations>
  <image file="0200.jpg">
    {BOX}
  </image>
</Annotations>
"""


# the three kinds


def test_the_training_labels():
    text = XML.replace("</image>", BOX.replace("GOLDEN", "###") + BOX.replace("GOLDEN", "A &amp; é") + "</image>")
    words = parse_ctw1500(text.encode(), "0200.xml")
    assert [(word.line, word.transcription, word.ignore) for word in words] == [
        (3, "GOLDEN", False),
        (4, "###", True),
        (4, "A & é", False),
    ]
    for word in words:
        np.testing.assert_array_equal(word.polygon, POINTS)
        assert word.polygon.dtype == np.float64


@pytest.mark.parametrize(
    ("written", "transcription", "ignore"),
    [
        ("####GOLDEN BAKERY", "GOLDEN BAKERY", False),
        ("####a,b,", "a,b,", False),
        ("####", "", False),
        ("#######", "###", True),
        ("########", "####", False),
        ("CARE", "", False),
        ("###", "###", True),
    ],
)
def test_the_test_labels(written, transcription, ignore):
    polygon, found, flag = parse_ctw1500_line(f"{SEGS},{written}")
    np.testing.assert_array_equal(polygon, POINTS)
    assert (found, flag) == (transcription, ignore)
    (word,) = parse_ctw1500(b"\xef\xbb\xbf" + f"{SEGS},{written}\r\n".encode(), "0001001.txt")
    assert (word.line, word.transcription, word.ignore) == (1, transcription, ignore)


def test_the_original_labels_are_offsets():
    polygon, transcription, ignore = parse_original_line(OFFSETS)
    np.testing.assert_array_equal(polygon, POINTS)
    assert (transcription, ignore) == ("", False)
    first, second = parse_ctw1500(f"{OFFSETS}\n\n{OFFSETS}\n".encode(), "1.txt")
    np.testing.assert_array_equal(second.polygon, POINTS)
    assert (first.line, second.line) == (1, 3)


def test_the_content_decides_whatever_the_name():
    for content in (XML, "\ufeff \n" + XML, f"{SEGS},####x", OFFSETS):
        (word,) = parse_ctw1500(content.encode(), "labels")
        np.testing.assert_array_equal(word.polygon, POINTS)
    assert parse_ctw1500(b"", "empty.txt") == []
    assert parse_ctw1500(b"<Annotations/>", "empty.xml") == []


def test_either_winding_is_kept_and_nothing_to_report():
    turned = ",".join(str(int(value)) for value in POINTS[::-1].ravel())
    found = CTW1500.read_annotations(f"{SEGS},####a\n{turned},####b".encode(), "1.txt")
    np.testing.assert_array_equal(found.polygons[0], POINTS)
    np.testing.assert_array_equal(found.polygons[1], POINTS[::-1])
    assert found.problems == ()


def test_polygons_that_are_odd():
    line = ",".join(["5,5"] * 14)
    crossing = POINTS.copy()
    crossing[[2, 3]] = crossing[[3, 2]]
    crossed = ",".join(str(int(value)) for value in crossing.ravel())
    found = CTW1500.read_annotations(f"{line},####a\n{crossed},####b".encode(), "1.txt")
    assert found.transcriptions == ("b",)
    assert [(problem.line, problem.skipped) for problem in found.problems] == [(1, True), (2, False)]
    assert str(found.problems[0]).startswith("1.txt:1: found a polygon without area [5, 5, ")
    assert "found a self-crossing polygon" in found.problems[1].what and found.problems[1].what.endswith("; kept")


# errors


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{SEGS},####a\n{SEGS},GOLDEN", "2: found 'GOLDEN' after the points, expected #### and the text, CARE or ###"),
        (f"{SEGS},####a\n{SEGS}", "2: found 28 numbers and no transcription, expected 28 integers and a transcription"),
        (f"{SEGS},####a\n{OFFSETS}", "2: found '.*' after the points"),
        (f"{OFFSETS}\n{SEGS},####a", "2: found '####a', expected 32 integers"),
        (f"{OFFSETS}\n{OFFSETS},7", "2: found 33 integers, expected 32 integers"),
        ("1,2,3,####a", "1: found '####a' as number 4, expected 28 integers"),
        ("hello", "1: found 'hello' as number 1"),
    ],
)
def test_bad_lines_are_named(content, message):
    with pytest.raises(ValueError, match=f"^1001.txt:{message}"):
        parse_ctw1500(content.encode(), "1001.txt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (XML.replace("</image>", ""), r"5: found broken XML \(mismatched tag\), expected a complete file"),
        (XML.replace(SEGS, "1,2,3"), "3: found 3 integers in segs, expected 28 integers of at most 6 digits"),
        (XML.replace("131,58", "131.5,58"), "3: found '131.5' in segs"),
        (XML.replace("<label>GOLDEN</label>", ""), "3: found a box without label, expected one"),
        (XML.replace(f"<segs>{SEGS}</segs>", ""), "3: found a box without segs"),
        (XML.replace("<label>", "<label>x</label><label>"), "3: found a second label in a box"),
        (XML.replace("Annotations", "annotation"), "1: found element 'annotation', expected Annotations > image > box"),
        (XML.replace('<pts x="1" y="2"/>', "<b/>"), "3: found element 'b' in box"),
        (XML.replace("</label>", "</label>stray"), "3: found 'stray' in box, expected text in label and segs only"),
        (XML.replace("GOLDEN", "\x00"), r"3: found broken XML"),
        (XML.replace("GOLDEN", "&unknown;"), r"3: found broken XML \(undefined entity\)"),
        (XML + XML, r"6: found broken XML \(junk after document element\)"),
        ("<", r"1: found broken XML \(unclosed token\)"),
    ],
)
def test_bad_xml_is_named(content, message):
    with pytest.raises(ValueError, match=f"^0200.xml:{message}"):
        parse_ctw1500(content.encode(), "0200.xml")


def test_xml_that_wants_more_than_it_holds_is_refused_at_once():
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY l0 "ha">{laughs}]>\n' + XML.replace("GOLDEN", "&l11;")
    file = f'<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]>{XML.replace("GOLDEN", "&f;")}'
    outside = f'<!DOCTYPE a SYSTEM "http://localhost:1/labels.dtd">{XML}'
    start = time.perf_counter()
    for content, line in ((bomb, 2), (file, 1), (outside, 1)):
        with pytest.raises(ValueError, match=f"^1.xml:{line}: found a document type declaration, expected none"):
            parse_ctw1500(content.encode(), "1.xml")
    assert time.perf_counter() - start < 1


def test_what_is_commented_out_does_not_vanish_in_silence():
    remark = XML.replace("<label>", "<!-- checked twice -->\n<label>")
    assert len(parse_ctw1500(remark.encode(), "1.xml")) == 1
    for start, end in (("<!--", "-->"), ("<?", "?>")):
        hidden = XML.replace("<box", f"{start}x\n<box").replace("</box>", f"</box>{end}")
        with pytest.raises(ValueError, match=r"^1\.xml:3: found elements in a comment, expected none: they would be"):
            parse_ctw1500(hidden.encode(), "1.xml")


def test_nesting_and_long_text_do_no_harm():
    with pytest.raises(ValueError, match="found element 'a'"):
        parse_ctw1500(b"<a>" * 100_000, "1.xml")
    start = time.perf_counter()
    (word,) = parse_ctw1500(XML.replace("GOLDEN", "&#65;" * 500_000).encode(), "1.xml")
    assert len(word.transcription) == 500_000 and time.perf_counter() - start < 5


def test_another_encoding_than_utf8_is_no_way_in():
    declared = '<?xml version="1.0" encoding="iso-8859-1"?>\n' + XML.replace("GOLDEN", "é")
    assert parse_ctw1500(declared.encode(), "1.xml")[0].transcription == "é"
    with pytest.raises(ValueError, match=r"^1\.xml:4: found broken XML \(not well-formed"):
        parse_ctw1500(declared.encode("latin-1"), "1.xml")


# the data set


def test_the_places_of_pictures_and_labels(tmp_path):
    current = {
        "train_images/0001.jpg": picture_bytes(),
        "train_images/0002.jpg": picture_bytes(),
        "ctw1500_train_labels/0001.xml": XML,
        "ctw1500_train_labels/0002.xml": "<Annotations/>",
        "test_images/1001.jpg": picture_bytes(),
        "gt_ctw1500/0001001.txt": f"{SEGS},#######\r\n",
    }
    root = write_files(tmp_path / "current", current)
    train, test = CTW1500(root), CTW1500(root, "test")
    assert train.names == ["0001.jpg", "0002.jpg"] and test.names == ["1001.jpg"]
    sample = train[0]
    assert sample.transcriptions == ("GOLDEN",) and sample.image.shape == (48, 64, 3)
    np.testing.assert_array_equal(sample.polygons[0], POINTS)
    assert test[0].ignore.tolist() == [True]
    for split in ("2..2", "img_2..img_9"):
        assert CTW1500(root, split).names == ["0002.jpg"]
    original = write_files(
        tmp_path / "original",
        {"train/text_image/0001.jpg": picture_bytes(), "train/text_label_curve/0001.txt": OFFSETS},
    )
    np.testing.assert_array_equal(CTW1500(original)[0].polygons[0], POINTS)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match="expected train_images and ctw1500_train_labels, or train/text_image and"):
        CTW1500(tmp_path)
    write_files(tmp_path, {"train_images/0001.jpg": b"", "train_images/cover.jpg": b""})
    write_files(tmp_path, {"ctw1500_train_labels/1.xml": "", "ctw1500_train_labels/0001.txt": ""})
    with pytest.raises(ValueError, match=r"found 0001\.txt and 1\.xml, expected one file of each number"):
        CTW1500(tmp_path)
    (tmp_path / "ctw1500_train_labels" / "1.xml").unlink()
    with pytest.warns(UserWarning, match=r"skipped 1: cover\.jpg: found in train_images, expected <number>\.jpg"):
        assert CTW1500(tmp_path).names == ["0001.jpg"]
    write_files(tmp_path, {"ctw1500_train_labels/0001.txt": f"{SEGS},####a\n1,2"})
    with pytest.raises(ValueError, match=r"^0001\.txt:2: found 2 numbers"):
        CTW1500(tmp_path)
