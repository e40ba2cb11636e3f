"""Samples that are not decoded yet: the same as those that are, for every data set of files."""

import json
import tracemalloc

import numpy as np
import pytest
from small_coco import write_coco
from small_files import picture_bytes, write_files
from small_text import write_icdar2015
from test_mmocr import instances

from maskrcnn.data.coco import COCO
from maskrcnn.data.icdar import ICDAR2015
from maskrcnn.data.mmocr import MMOCR
from maskrcnn.data.rendered_text import RenderedText
from maskrcnn.data.undecoded import Undecoded, black


def mmocr(root):
    pictures = {f"imgs/training/{name}": picture_bytes() for name in ("img_10.jpg", "img_2.jpg")}
    write_files(root, {**pictures, "instances_training.json": json.dumps(instances()).encode()})
    return root


@pytest.mark.parametrize(
    ("data_set", "write"), [(ICDAR2015, write_icdar2015), (COCO, write_coco), (MMOCR, mmocr)]
)
def test_decoded_it_is_the_sample(tmp_path, data_set, write):
    data = data_set(write(tmp_path))
    undecoded = Undecoded(data)
    assert len(undecoded) == len(data) >= 2 and not hasattr(RenderedText, "undecoded")
    for index in range(len(data)):
        sample, found = data[index], undecoded[index]
        assert found.annotated.image.shape == sample.image.shape and not found.annotated.image.any()
        for same in (found.annotated, found.decoded()):
            assert same.name == sample.name and same.transcriptions == sample.transcriptions
            np.testing.assert_array_equal(same.boxes, sample.boxes)
            np.testing.assert_array_equal(same.ignore, sample.ignore)
            np.testing.assert_array_equal(same.labels, sample.labels)
        np.testing.assert_array_equal(found.decoded().image, sample.image)
        assert found.decoded().image.flags.writeable


def test_what_is_damaged_behind_its_header_is_found_when_it_is_decoded(tmp_path):
    write_icdar2015(tmp_path)
    path = tmp_path / "ch4_training_images" / "img_2.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    found = ICDAR2015(tmp_path).undecoded(1)
    with pytest.raises(ValueError, match=r"^img_2\.jpg: found a damaged or truncated picture"):
        found.decoded()
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"^img_2\.jpg: found a file that begins b'nothing'"):
        ICDAR2015(tmp_path).undecoded(1)


@pytest.mark.parametrize(
    ("data_set", "write", "picture"),
    [
        (ICDAR2015, write_icdar2015, "ch4_training_images/img_1.jpg"),
        (COCO, write_coco, "train2017/b.png"),
        (MMOCR, mmocr, "imgs/training/img_10.jpg"),
    ],
)
def test_of_a_picture_in_a_folder_only_the_header_is_read(tmp_path, data_set, write, picture):
    data = data_set(write(tmp_path))
    with (tmp_path / picture).open("r+b") as file:
        file.truncate(100 * 2**20)  # takes no room on the disk
    tracemalloc.start()
    sample, size = data.undecoded(0), data.picture_size(0)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sample.annotated.image.shape[:2] == size and most < 2**20
    np.testing.assert_array_equal(sample.decoded().image, data[0].image)


def test_a_black_picture_takes_no_memory():
    assert black(3, 5).shape == (3, 5, 3) and black(3, 5).strides == (0, 0, 0) and not black(3, 5).any()
