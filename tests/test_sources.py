"""From the word after --data to a data set."""

import pickle

import numpy as np
import pytest
import torch
from small_coco import write_coco
from small_text import small_config, write_icdar2015
from test_coco import NAMES, with_keypoints

from maskrcnn.cli import main
from maskrcnn.data.augmentation import Augmentation
from maskrcnn.data.coco import COCO
from maskrcnn.data.icdar import ICDAR2015
from maskrcnn.data.loader import Remembered, TrainingBatches
from maskrcnn.data.sources import FORMATS, open_data, open_files, training_stream
from maskrcnn.sample import Sample


def test_a_folder_is_read_as_icdar2015(tmp_path):
    data = write_icdar2015(tmp_path, training=4)
    assert isinstance(open_data(str(data), "train", small_config()), ICDAR2015)
    assert open_data(str(data), "img_2..img_3", small_config()).names == ["img_2.jpg", "img_3.jpg"]
    assert len(open_data(str(data), "test", small_config())) == 2


@pytest.mark.parametrize("layout", FORMATS)
def test_a_folder_in_another_format_is_recognised(tmp_path, layout):
    data = tmp_path / "data"
    assert main(["render", str(data), "--format", layout, "--count", "1", "--size", "200x120"]) == 0
    for other in FORMATS.keys() - {layout, "coco" if layout == "mmocr" else layout}:  # COCO's reader takes MMOCR's
        with pytest.raises(ValueError, match=rf"^{data}: found .*; it looks like the format {layout}$"):
            open_data(str(data), "train", small_config(f"data.format={other}"))


def test_a_folder_in_no_format_or_in_the_right_one_looks_like_no_other(tmp_path):
    for layout in FORMATS:
        with pytest.raises(ValueError, match="expected") as error:
            open_files(str(tmp_path), "train", layout)
        assert "looks like" not in str(error.value)
    data = write_icdar2015(tmp_path / "data", training=1)
    write_coco(data)
    (data / "ch4_training_localization_transcription_gt" / "gt_img_1.txt").write_text("word")
    with pytest.raises(ValueError, match=r"^gt_img_1.txt:1: found .* as number 1, expected 8 [^;]*$"):
        open_files(str(data), "train", "icdar2015")


@pytest.mark.filterwarnings("ignore:.*left out 1 of 3 pictures")
def test_a_folder_or_a_file_is_read_as_coco(tmp_path):
    root = write_coco(tmp_path, annotations="annotations/instances_val2017.json", pictures="val2017")
    file, config = root / "annotations" / "instances_val2017.json", small_config("data.format=coco")
    for location, split in ((root, "val"), (root, "val2017"), (file, "train")):
        data = open_data(str(location), split, config)
        assert isinstance(data, COCO) and len(data) == 3
    assert len(open_data(str(root), "val", config, for_training=True)) == 2
    with pytest.raises(ValueError, match="expected one for the split train"):
        open_data(str(root), "train", config)


def test_keypoints_are_read_for_a_network_that_finds_them(tmp_path):
    config = small_config("data.format=coco", "model.keypoint_head.enabled=True")
    write_coco(tmp_path, with_keypoints(), "annotations/person_keypoints_train2017.json")
    assert open_data(str(tmp_path), "train", config).keypoint_names == NAMES
    with pytest.raises(ValueError, match="rendered: rendered is text, which has no keypoints"):
        open_data("rendered", "train", config)


def test_rendered_text_is_as_large_as_the_crops_of_the_recipe():
    for crop, side in ((128, 128), (0, 512)):
        assert open_data("rendered", "train", small_config(f"data.crop={crop}"))[0].image.shape == (side, side, 3)


def test_rendered_text_differs_for_each_split_and_seed():
    images = [
        open_data("rendered", split, small_config("data.crop=128", f"training.seed={seed}"))[5].image
        for split in ("train", "test")
        for seed in (0, 1)
    ]
    assert not any(np.array_equal(images[i], images[j]) for i in range(4) for j in range(i))
    again = open_data("rendered", "test", small_config("data.crop=128", "training.seed=1"))[5].image
    np.testing.assert_array_equal(again, images[3])


def test_training_need_never_see_a_picture_twice_and_a_test_comes_to_an_end():
    config = small_config("data.crop=128")
    assert len(open_data("rendered", "train", config)) == 1_000_000
    assert len(open_data("rendered", "test", config)) == 200


class Shapes:
    """Pictures of 40 x 60, 60 x 40 and 40 x 90 pixels, in turns; the last is in no padded size once it is scaled."""

    names = tuple(f"{index}.jpg" for index in range(12))
    class_names = ("text",)

    def __len__(self) -> int:
        return 12

    def picture_size(self, index: int) -> tuple[int, int]:
        return ((40, 60), (60, 40), (40, 90))[index % 3]

    def __getitem__(self, index: int) -> Sample:
        image = np.full((*self.picture_size(index), 3), 200, np.uint8)
        word = np.array([[5.0, 5], [30, 5], [30, 20], [5, 20]])
        return Sample(self.names[index], image, (word,), np.ones(1, np.int64), np.zeros(1, bool))


def test_batches_have_the_padded_sizes_and_hold_pictures_of_one_shape():
    config = small_config(
        "data.crop=0", "data.short_sides=(48, 64)", "data.padded_sizes=((64, 96), (96, 64))", "training.steps=12",
        "model.image.long_side=128",
    )  # fmt: skip
    shapes = {}
    for batch in training_stream(Shapes(), config)(0):
        kinds = {int(name.partition(".")[0]) % 3 for name in batch.names}
        assert len(kinds) == 1
        shapes.setdefault(kinds.pop(), set()).add(tuple(batch.images.shape[2:]))
    # A picture may be seen at 48 and be smaller than its group; the third kind is padded by the divisor alone.
    assert shapes[0] == {(64, 96)} and shapes[1] == {(96, 64)}
    assert shapes[2] <= {(64, 96), (64, 128)} and (64, 128) in shapes[2]


def test_pictures_know_their_size_before_they_are_read(tmp_path):
    data = open_data(str(write_icdar2015(tmp_path / "text")), "train", small_config())
    assert data.picture_size(0) == data[0].image.shape[:2] == (120, 160)
    coco = open_data(str(write_coco(tmp_path / "coco")), "train", small_config("data.format=coco"))
    assert [coco.picture_size(i) for i in range(len(coco))] == [coco[i].image.shape[:2] for i in range(len(coco))]


def test_pictures_that_are_drawn_have_no_size_to_sort_them_by():
    config = small_config("data.crop=0", "data.padded_sizes=((512, 512),)")
    with pytest.raises(ValueError, match=r"data\.padded_sizes: found pictures that are drawn when asked for"):
        training_stream(open_data("rendered", "train", config), config)


def test_what_there_is_not():
    with pytest.raises(ValueError, match=r"--split img_1\.\.img_9: rendered text has the splits train and test"):
        open_data("rendered", "img_1..img_9", small_config())
    with pytest.raises(ValueError, match="rendred: found nothing, expected the data set's folder"):
        open_data("rendred", "train", small_config())


def test_a_training_stream_can_be_sent_to_another_process():
    """Where processes do not fork (macOS, Windows), the loader pickles it."""
    config = small_config("data.crop=96")
    batches = TrainingBatches(
        Remembered(open_data("rendered", "train", config)),
        Augmentation(config.data, config.model.image),
        config.model.image,
        batch_size=1,
        seed=0,
    )
    same = pickle.loads(pickle.dumps(batches))
    assert torch.equal(same[0].images, batches[0].images)
