"""Counts and sizes that can be worked out by hand, odd data sets, and the real ICDAR2015."""

import re

import numpy as np
import pytest
from PIL import Image
from small_coco import small_coco, write_coco

from maskrcnn.check_data import check, draw_examples, write_pictures
from maskrcnn.config import AnchorConfig, ImageConfig
from maskrcnn.data.coco import COCO
from maskrcnn.data.icdar import ICDAR2015
from maskrcnn.structures import Sample

ANCHORS, IMAGE = AnchorConfig(), ImageConfig(short_side=400, long_side=400)


def rectangle(x, y, width, height, degrees=0.0):
    corners = np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]])
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return corners @ turn + (x, y)


class Made:
    """A data set of grey 400 x 400 pictures; a picture is (polygons, ignore flags), or the error that reading gives."""

    def __init__(self, *pictures, class_names=("text",)):
        self.pictures, self.class_names = pictures, class_names
        self.names = [f"img_{index + 1}.jpg" for index in range(len(pictures))]

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        if isinstance(self.pictures[index], Exception):
            raise self.pictures[index]
        polygons, ignore = self.pictures[index]
        image = np.full((400, 400, 3), 128, np.uint8)
        return Sample(self.names[index], image, polygons, np.ones(len(polygons), np.int64), np.array(ignore, bool))


class WithShortcuts(Made):
    """One whose pictures must not be decoded."""

    def __getitem__(self, index):
        raise AssertionError("a picture was decoded")

    def check_picture(self, index):
        if isinstance(self.pictures[index], Exception):
            raise self.pictures[index]

    def annotated(self, index):
        polygons, ignore = self.pictures[index]
        image = np.broadcast_to(np.uint8(0), (300, 500, 3))
        return Sample(self.names[index], image, polygons, np.ones(len(polygons), np.int64), np.array(ignore, bool))


WORD, TALL, TURNED = rectangle(10, 10, 80, 20), rectangle(200, 50, 10, 50), rectangle(100, 100, 60, 30, degrees=37)
TYPICAL = (((WORD, TALL), [False, True]), ((TURNED,), [False]), ((TALL,), [True]), ((), []))


def test_counts():
    found = check(Made(*TYPICAL), ANCHORS, IMAGE)
    assert (found.images, found.objects, found.ignored, found.noun) == (4, 4, 2, "words")
    assert (found.only_ignored, found.empty) == (("img_3.jpg",), ("img_4.jpg",))
    assert found.picture_sizes == {(400, 400): 4}
    assert found.examples == (0, 1)
    assert found.coverage.objects == 2
    text = found.text()
    assert text.startswith("4 images, 4 words, 2 of them don't care\n")
    assert "1 image (img_3.jpg) has only don't-care words" in text
    assert "1 image (img_4.jpg) has no words at all" in text
    assert "400 x 400 (4)" in text
    assert "nothing skipped, nothing degenerate" in text


def test_heights_are_those_of_the_turned_word():
    found = check(Made(*TYPICAL), ANCHORS, IMAGE)
    np.testing.assert_allclose(found.heights, [20, 30])
    np.testing.assert_allclose(found.widths, [80, 60])
    rows = dict(re.findall(r"^  (height|width) +([0-9. ]+)$", found.text(), re.MULTILINE))
    assert rows["height"].split() == ["20.0", "20.5", "22.5", "25.0", "27.5", "29.5", "30.0"]
    assert rows["width"].split() == ["60.0", "61.0", "65.0", "70.0", "75.0", "79.0", "80.0"]


def test_heights_against_a_search_over_all_angles():
    rng = np.random.default_rng(0)
    polygons = tuple(rng.uniform(0, 400, (count, 2)) for count in (3, 4, 5, 14, 30))
    found = check(Made((polygons, [False] * 5)), ANCHORS, IMAGE)
    for polygon, height, width in zip(polygons, found.heights, found.widths, strict=True):
        angles = np.radians(np.arange(0, 90, 0.01))
        extents = [
            np.ptp(polygon @ np.stack([np.cos(angles + turn), np.sin(angles + turn)]), axis=0)
            for turn in (0, np.pi / 2)
        ]
        areas = extents[0] * extents[1]
        assert height <= width
        assert height * width <= areas.min() * (1 + 1e-9)
        assert height * width == pytest.approx(areas.min(), rel=1e-3)


def test_pictures_are_not_decoded_where_the_data_set_knows_their_size():
    found = check(WithShortcuts(*TYPICAL, ValueError("img_5.jpg: no such file")), ANCHORS, IMAGE)
    assert found.unreadable == ("img_5.jpg: no such file",) and found.problems == ()
    assert found.picture_sizes == {(300, 500): 4}
    assert (found.objects, found.ignored) == (4, 2)
    assert "500 x 300 (4)" in found.text()


def test_words_outside_the_picture_are_counted():
    inside, outside = rectangle(0, 0, 400, 400), rectangle(390, 10, 20, 5)
    found = check(Made(((inside, outside), [False, True])), ANCHORS, IMAGE)
    assert found.outside == 1
    assert "\n1 word not wholly inside the picture\n" in found.text()


def test_unreadable_pictures_are_all_named():
    broken = [ValueError(f"img_{number}.jpg: found an empty file, expected a picture") for number in (1, 3)]
    dataset = Made(broken[0], TYPICAL[0], broken[1])
    found = check(dataset, ANCHORS, IMAGE)
    assert (found.images, found.objects, found.skipped) == (3, 2, 0)
    assert found.unreadable == tuple(str(error) for error in broken) and found.problems == ()
    assert "2 pictures at which training stops:\n  img_1.jpg: found an empty file" in found.text()
    assert "skipped" not in found.text(), "training does not pass them over"


def test_problems_of_the_reader_are_listed_with_file_and_line(tmp_path):
    pictures, annotations = tmp_path / "ch4_training_images", tmp_path / "ch4_training_localization_transcription_gt"
    pictures.mkdir()
    annotations.mkdir()
    Image.new("RGB", (400, 300)).save(pictures / "img_1.jpg")
    lines = ["10,10,90,10,90,30,10,30,word", "5,5,5,5,5,5,5,5,point", "10,30,90,30,90,10,10,10,backwards"]
    (annotations / "gt_img_1.txt").write_text("\r\n".join(lines), "utf-8-sig")
    with pytest.warns(UserWarning, match="skipped 1"):
        dataset = ICDAR2015(tmp_path)
    found = check(dataset, ANCHORS, IMAGE)
    assert (found.objects, len(found.problems), found.skipped) == (2, 2, 1)
    assert found.problems[0].startswith("gt_img_1.txt:2: found a quadrilateral without area")
    assert found.problems[1].startswith("gt_img_1.txt:3: found a counter-clockwise quadrilateral")
    assert "2 problems, 1 skipped:" in found.text() and found.problems[1] in found.text()
    assert found.picture_sizes == {(300, 400): 1}


def test_a_long_list_of_problems_is_cut_but_counted():
    found = check(Made(*[ValueError(f"img_{number}.jpg: bad") for number in range(25)]), ANCHORS, IMAGE)
    assert "25 pictures at which training stops:" in found.text()
    assert found.text().count(": bad") == 20 and "... and 5 more" in found.text()


def test_coverage_and_what_would_improve_it_are_said_in_words():
    small = tuple(rectangle(x, 100, 18, 18) for x in range(20, 380, 20))
    text = check(Made((small, [False] * len(small))), ANCHORS, IMAGE).text()
    assert re.search(r"16 to 32 +18 +0\.0% +0\.0%", text)
    assert (
        "18 words below 0.5: 18 of a size that no anchor has, 0 of proportions that none has, 0 between anchors" in text
    )
    assert re.search(r"anchors of half the size +100\.0%", text)
    assert "--set 'model.anchors.sizes=(16,32,64,128,256)'" in text
    assert max(len(line) for line in text.splitlines()) <= 120


def test_one_of_each_is_said_in_the_singular():
    thin = rectangle(10, 10, 300, 4)
    text = check(Made(((thin,), [False]), ValueError("img_2.jpg: bad")), ANCHORS, IMAGE).text()
    assert text.startswith("2 images, 1 word, 0 of them don't care\n")
    assert "\n1 word to be found, in pixels" in text and "\n1 picture at which training stops:\n" in text
    assert "  1 word below 0.5: " in text


def test_without_words_and_without_pictures():
    for dataset in (Made(), Made(((), [])), Made(((WORD,), [True]))):
        text = check(dataset, ANCHORS, IMAGE).text()
        assert "nothing to learn from" in text and "nothing to measure" in text


def test_other_data_sets_have_objects():
    found = check(Made(*TYPICAL, class_names=("cat", "dog")), ANCHORS, IMAGE)
    assert found.text().startswith("4 images, 4 objects, 2 of them don't care")


def test_a_word_whose_corners_lie_on_a_line_has_no_height():
    line = np.array([[10.0, 10.0], [50.0, 40.0], [90.0, 70.0]])
    found = check(Made(((line, WORD), [False, False])), ANCHORS, IMAGE)
    np.testing.assert_allclose(found.heights, [0, 20], atol=1e-9)
    assert "nan" not in found.text() and "inf" not in found.text()


def test_the_pictures(tmp_path):
    dataset = Made(*TYPICAL)
    found = check(dataset, ANCHORS, IMAGE)
    examples, coverage = write_pictures(dataset, found, tmp_path / "new" / "folder")
    with Image.open(examples) as sheet, Image.open(coverage) as diagram:
        assert sheet.format == "JPEG" and sheet.width == 12 + 2 * 652
        assert diagram.format == "PNG"
    # A picture that has vanished since leaves a grey place, not a traceback.
    dataset.pictures = (ValueError("img_1.jpg: no such file"), TYPICAL[1])
    sheet = draw_examples(dataset, found)
    assert sheet.getpixel((100, 100)) == (0xBB, 0xBB, 0xBB)


def test_examples_are_spread_over_the_data_set():
    pictures = [TYPICAL[0] if index % 2 else TYPICAL[2] for index in range(200)]
    examples = check(Made(*pictures), ANCHORS, IMAGE).examples
    assert len(examples) == 9 and examples[0] == 1 and examples[-1] > 170
    assert all(index % 2 for index in examples)


def test_objects_are_counted_by_class(tmp_path):
    content = small_coco()
    content["categories"].append({"id": 1, "name": "unicorn"})
    found = check(COCO(write_coco(tmp_path, content)), ANCHORS, IMAGE)
    assert (found.images, found.objects, found.ignored, found.empty) == (3, 4, 1, ("c.png",))
    assert found.classes == {"cat": 2, "dog": 1, "unicorn": 0}
    text = found.text()
    assert "3 classes, objects to be found of 2: cat 2, dog 1\n  nothing to learn from: unicorn\n" in text
    assert "nothing skipped, nothing degenerate" in text
    # The cat of two squares is one object, as wide as both.
    assert sorted(found.widths)[-1] == pytest.approx(np.hypot(18, 16), rel=0.2) and len(found.widths) == 3


@pytest.mark.parametrize(("split", "images", "objects", "crowds"), [("train", 32, 288, 4), ("val", 79, 624, 5)])
def test_the_real_coco_has_no_problems(shared_data, split, images, objects, crowds):
    found = check(COCO(shared_data / "coco", split), ANCHORS, ImageConfig())
    assert (found.images, found.objects, found.ignored) == (images, objects, crowds)
    assert found.problems == () and found.outside == 0 and sum(found.classes.values()) == objects - crowds
    assert found.classes.keys() == set(COCO(shared_data / "coco", split).class_names)
    assert next(iter(found.classes)) == "person"
    assert max(len(line) for line in found.text().splitlines()) <= 120


@pytest.mark.slow
def test_the_real_icdar2015(shared_data):
    found = check(ICDAR2015(shared_data / "icdar2015"), ANCHORS, ImageConfig())
    assert (found.images, found.objects, found.ignored) == (1000, 11_886, 7_418)
    assert len(found.only_ignored) == 21 and found.empty == ()
    assert found.picture_sizes == {(720, 1280): 1000}
    text = found.text()
    assert text.startswith("1,000 images, 11,886 words, 7,418 of them don't care\n  21 images (")
    assert found.coverage.objects == 4_468
    assert found.coverage.fair == pytest.approx(0.899, abs=5e-4) and found.coverage.good == pytest.approx(
        0.357, abs=5e-4
    )
