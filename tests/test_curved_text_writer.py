"""Writing ICDAR2017-MLT, CTW1500 and Total-Text: files by hand, resampling, layouts, what they cannot express."""

from functools import partial

import numpy as np
import pytest
from small_files import every_file
from small_samples import sample_with as sample_of_width

from maskrcnn.cli.render import CURVED
from maskrcnn.data.ctw1500 import parse_ctw1500
from maskrcnn.data.curved_text_writer import (
    ctw1500_lines,
    ctw1500_xml,
    total_text_lines,
    write_ctw1500,
    write_total_text,
)
from maskrcnn.data.icdar_writer import icdar2017_lines, write_icdar2017
from maskrcnn.data.rendered_text import RenderedText
from maskrcnn.data.text_polygons import resampled_sides

QUAD = np.array([[0.4, 0.0], [60.0, 0.0], [60.0, 12.0], [0.0, 12.0]])
sample_with = partial(sample_of_width, width=64)


# resampling


def test_a_word_gets_points_along_both_of_its_sides():
    resampled = resampled_sides(QUAD, 4)
    np.testing.assert_allclose(
        resampled,
        [[0.4, 0], [0.4 + 59.6 / 3, 0], [60 - 59.6 / 3, 0], [60, 0], [60, 12], [40, 12], [20, 12], [0, 12]],
        atol=1e-12,
    )


def test_points_of_a_bent_side_are_equally_far_apart_along_it_and_on_it():
    bent = np.array([[0, 0], [3, 0], [3, 1], [3, 20], [3, 9], [0, 9.0]])  # the top is 3 + 1 long
    np.testing.assert_allclose(resampled_sides(bent, 5)[:5], [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1]])


def test_a_line_with_as_many_points_stays_as_it_is():
    line = np.random.default_rng(0).random((14, 2))
    assert resampled_sides(line, 7) is line


# one annotation file


def test_icdar2017_by_hand():
    texts = [("Été", False), ("24", False), ("->", False), ('"a"', False), ("x", True)]
    sample = sample_with(*((QUAD, ignore, text) for text, ignore in texts))
    start = "0,0,60,0,60,12,0,12"
    assert icdar2017_lines(sample) == (
        f"{start},Latin,Été\r\n"
        f"{start},Latin,24\r\n"
        f"{start},Symbols,->\r\n"
        f'{start},Latin,"\\"a\\""\r\n'
        f"{start},None,###\r\n"
    )


def test_ctw1500_by_hand():
    sample = sample_with((QUAD, False, "A<&"), (QUAD, True, "x"))
    segs = "0,0,10,0,20,0,30,0,40,0,50,0,60,0,60,12,50,12,40,12,30,12,20,12,10,12,0,12"
    assert ctw1500_lines(sample) == f"{segs},####A<&\n{segs},#######\n"
    assert ctw1500_xml(sample, "0007.jpg") == (
        "<Annotations>\n"
        '  <image file="0007.jpg">\n'
        '    <box height="12" left="0" top="0" width="60">\n'
        "      <label>A&lt;&amp;</label>\n"
        f"      <segs>{segs}</segs>\n"
        '      <pts x="10" y="6"/>\n'
        '      <pts x="30" y="6"/>\n'
        '      <pts x="50" y="6"/>\n'
        "    </box>\n"
        '    <box height="12" left="0" top="0" width="60">\n'
        "      <label>###</label>\n"
        f"      <segs>{segs}</segs>\n"
        '      <pts x="10" y="6"/>\n'
        '      <pts x="30" y="6"/>\n'
        '      <pts x="50" y="6"/>\n'
        "    </box>\n"
        "  </image>\n"
        "</Annotations>\n"
    )


def test_total_text_by_hand():
    triangle = np.array([[0, 0], [9, 0], [9, 9]])
    sample = sample_with((QUAD, False, "1996"), (triangle, False, "a,b"), (QUAD, True, "x"))
    assert total_text_lines(sample) == "0,12,60,12,60,0,0,0,1996\n9,9,9,0,0,0,a,b\n0,12,60,12,60,0,0,0,###\n"


@pytest.mark.parametrize(
    ("lines", "polygon", "text", "message"),
    [
        (icdar2017_lines, np.repeat(QUAD, 2, axis=0), "a", "found 8 corners, expected 4"),
        (ctw1500_lines, QUAD[:3], "a", "found 3 corners, expected an even number"),
        (ctw1500_lines, QUAD[::-1], "a", "expected a clockwise outline"),
        (lambda sample: ctw1500_xml(sample, "x"), QUAD, "a\x07", "expected those that XML allows"),
        (total_text_lines, QUAD, "8,888", "found transcription '8,888', which reads as a corner"),
        (total_text_lines, QUAD, "###", "found transcription '###'"),
        (total_text_lines, QUAD, "a\nb", "expected one line of text"),
    ],
)
def test_what_the_formats_cannot_express(lines, polygon, text, message):
    with pytest.raises(ValueError, match=f"^img_7.jpg: object 2: .*{message}"):
        lines(sample_with((QUAD, True, "###"), (polygon, False, text)))


# whole data sets


def test_the_official_layouts(tmp_path):
    train, test = [sample_with((QUAD, False, f"word {n}")) for n in range(9)], [sample_with()]
    write_icdar2017(train, test, tmp_path / "icdar2017")
    assert sorted(every_file(tmp_path / "icdar2017")) == sorted(
        [
            *(f"ch8_training_images_{part}/img_{number}.{kind}" for part, number, kind in (
                (1, 1, "jpg"), (1, 2, "gif"), (2, 3, "png"), (3, 4, "jpg"), (4, 5, "JPG"), (5, 6, "jpg"), (6, 7, "jpg"),
                (7, 8, "jpg"), (8, 9, "jpg"),
            )),
            *(f"ch8_training_localization_transcription_gt_v2/gt_img_{number}.txt" for number in range(1, 10)),
            "ch8_validation_images/img_1.jpg",
            "ch8_validation_localization_transcription_gt_v2/gt_img_1.txt",
        ]
    )  # fmt: skip
    write_ctw1500(train[:1], test, tmp_path / "ctw1500")
    assert sorted(every_file(tmp_path / "ctw1500")) == [
        "ctw1500_train_labels/0001.xml",
        "gt_ctw1500/0001001.txt",
        "test_images/1001.jpg",
        "train_images/0001.jpg",
    ]
    write_total_text(train[:1], test, tmp_path / "totaltext")
    assert sorted(every_file(tmp_path / "totaltext")) == [
        "Groundtruth/Polygon/Test/poly_gt_img1.txt",
        "Groundtruth/Polygon/Train/poly_gt_img1.txt",
        "Images/Test/img1.jpg",
        "Images/Train/img1.jpg",
    ]


def test_original_labels_of_ctw1500_are_read_back_exactly():
    """Nobody publishes them any more, but they are in use: the same lines, each as a box and offsets."""
    sample = RenderedText(1, 5, CURVED)[0]
    current = parse_ctw1500(ctw1500_lines(sample).encode(), "current")
    lines = []
    for word in current:
        low, high = word.polygon.min(axis=0), word.polygon.max(axis=0)
        lines.append(",".join(str(int(value)) for value in (*low, *high, *(word.polygon - low).ravel())))
    original = parse_ctw1500("\r\n".join(lines).encode(), "original")
    assert len(original) == len(current) == len(sample.polygons) > 0
    for there, here, rendered in zip(original, current, sample.polygons, strict=True):
        np.testing.assert_array_equal(there.polygon, here.polygon)
        np.testing.assert_array_equal(here.polygon, np.rint(resampled_sides(rendered, 7)))
