"""From the word after --data to a data set."""

import pickle

import numpy as np
import pytest
import torch
from small_coco import write_coco
from small_text import small_config, write_icdar2015
from test_coco import NAMES, with_keypoints

from maskrcnn.data.augmentation import Augmentation
from maskrcnn.data.coco import COCO
from maskrcnn.data.icdar import ICDAR2015
from maskrcnn.data.loader import Remembered, TrainingBatches
from maskrcnn.data.sources import open_data


def test_a_folder_is_read_as_icdar2015(tmp_path):
    data = write_icdar2015(tmp_path, training=4)
    assert isinstance(open_data(str(data), "train", small_config()), ICDAR2015)
    assert open_data(str(data), "img_2..img_3", small_config()).names == ["img_2.jpg", "img_3.jpg"]
    assert len(open_data(str(data), "test", small_config())) == 2


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
