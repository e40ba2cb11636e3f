"""Commands on data in COCO's format: what they print, what they leave, and what they refuse."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from small_coco import small_coco, write_coco
from small_text import SETTINGS, mistake, run, save_small_weights, write_icdar2015

from maskrcnn.cli import MISTAKE, main
from maskrcnn.data.coco import COCO
from maskrcnn.detector import load
from maskrcnn.ops import run_length
from maskrcnn.training.checkpoint import load_weights

SMALL = [setting for setting in SETTINGS if not setting.startswith(("data.crop", "text."))]
SMALL += ["data.short_sides=(64,96)", "training.steps=2", "model.box_head.score_threshold=0.01"]
"""What makes the recipe coco_small smaller still; random weights are sure of nothing."""

pytestmark = pytest.mark.filterwarnings("ignore:.*left out 1 of 3 pictures")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data set with pictures for training, and the same for validation."""
    root = tmp_path_factory.mktemp("coco")
    for split in ("train2017", "val2017"):
        write_coco(root, None, f"annotations/instances_{split}.json", split)
    return root


@pytest.fixture(scope="module")
def weights(root, tmp_path_factory):
    """What two steps of training leave."""
    out = tmp_path_factory.mktemp("run") / "objects"
    assert main(["train", "coco_small", "--data", str(root), "--out", str(out), "--set", *SMALL]) == 0
    return out / "model.safetensors"


def test_the_classes_of_the_network_are_those_of_the_data(weights):
    _, config, metadata = load_weights(weights)
    assert config.model.class_names == ("dog", "cat") and config.name == "coco_small"
    assert metadata["category_ids"] == "3,7" and metadata["pictures"] == "2"


def test_evaluation_prints_and_writes_average_precision(capsys, root, weights, tmp_path):
    said = run(capsys, "evaluate", weights, "--data", root, "--out", tmp_path, "--json", tmp_path / "scores.json")
    lines = said.splitlines()
    assert lines[0].startswith("bbox: AP 0.") and lines[1].startswith("segm: AP 0.") and "APl none" in lines[1]
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert list(scores) == ["bbox", "segm"] and len(scores["segm"]) == 12 and scores["segm"]["APl"] is None
    # The split is "test" unless said otherwise, for which COCO has its validation pictures.
    data, detector = COCO(root, "val"), load(weights)
    masks = json.loads((tmp_path / "segm.json").read_text())
    expected = [detector(data[index].image, 0.0).objects for index in range(3)]
    assert len(masks) == sum(map(len, expected)) > 0
    first = next(objects[0] for objects in expected if objects)
    assert masks[0]["score"] == first.score and masks[0]["category_id"] == data.category_ids[first.label - 1]
    assert Image.open(tmp_path / "examples.jpg").width > 1400


def test_a_picture_that_cannot_be_read_is_scored_as_missed_and_told(capsys, weights, tmp_path):
    data = write_coco(tmp_path / "data", None, "annotations/instances_val2017.json", "val2017")
    arguments = ["evaluate", str(weights), "--data", str(data), "--out", str(tmp_path / "out")]
    (data / "val2017" / "b.png").write_bytes((data / "val2017" / "b.png").read_bytes()[:100])
    (data / "val2017" / "a.png").write_text("404 not found")
    capsys.readouterr()
    assert main(arguments) == MISTAKE
    said, told = capsys.readouterr()
    lines = said.splitlines()
    assert lines[0].startswith("bbox: AP 0.000") and lines[-2].startswith("b.png: found a damaged or truncated picture")
    assert lines[-1].startswith("a.png: found a file that begins b'404 not found', expected a picture")
    counts = "maskrcnn evaluate: 2 of 3 pictures cannot be read and counted as pictures in which nothing was found: "
    assert told.splitlines()[-1].startswith(f"{counts}b.png: ") and told.endswith("; and 1 more\n")
    assert {record["image_id"] for record in json.loads((tmp_path / "out" / "bbox.json").read_text())} <= {20}
    assert Image.open(tmp_path / "out" / "examples.jpg").width > 1400
    (data / "val2017" / "c.png").write_bytes(b"")
    assert main(arguments) == MISTAKE
    said, told = capsys.readouterr()
    assert "3 of 3 pictures cannot be read" in told and "Traceback" not in told
    assert [json.loads((tmp_path / "out" / f"{kind}.json").read_text()) for kind in ("bbox", "segm")] == [[], []]


def test_predictions_are_drawn_and_written(capsys, root, weights, tmp_path):
    picture = root / "val2017" / "b.png"
    said = run(capsys, "predict", weights, picture, "--out", tmp_path, "--threshold", 0.01)
    objects = load(weights)(picture, 0.01).objects
    assert said == f"{picture}: {len(objects)} objects: {tmp_path / 'b.png'}\n" and len(objects) > 0
    record = json.loads((tmp_path / "b.json").read_text())
    assert record["image"] == str(picture) and len(record["objects"]) == len(objects)
    for written, found in zip(record["objects"], objects, strict=True):
        assert written["class"] == found.name and written["score"] == round(found.score, 4)
        np.testing.assert_allclose(written["box"], found.box, atol=0.006)
        assert run_length.from_string(written["mask"]["counts"], *written["mask"]["size"]) == found.mask
    assert (np.asarray(Image.open(tmp_path / "b.png")) != 0).any()


def test_objects_below_a_half_are_not_shown_unless_asked_for(root, weights):
    objects = load(weights)(root / "val2017" / "b.png").objects
    assert all(found.score >= 0.5 for found in objects)


def test_a_check_counts_classes(capsys, root, tmp_path):
    said = run(capsys, "check", "coco", root, "--split", "val2017", "--out", tmp_path, "--recipe", "coco_small")
    assert said.startswith("3 images, 4 objects, 1 of them don't care\n  1 image (c.png) has no objects at all\n")
    assert "2 classes, objects to be found of 2: cat 2, dog 1" in said and "nothing skipped, nothing degenerate" in said
    assert "anchors of sizes 16, 32, 64, 128, 256" in said


def test_a_check_has_the_anchors_of_its_own_recipe(capsys, root, tmp_path):
    assert "anchors of sizes 32, 64, 128, 256, 512" in run(capsys, "check", "coco", root, "--out", tmp_path)


def test_weights_of_other_classes_are_refused(capsys, root, weights, tmp_path):
    content = small_coco()
    content["categories"][0]["name"] = "horse"
    other = write_coco(tmp_path / "other", content)
    said = mistake(capsys, "evaluate", weights, "--data", other, "--split", "train", "--out", tmp_path)
    assert said.endswith("found no category for 1 of the 2 classes of the weights: cat")


def test_weights_of_objects_are_not_for_text_and_weights_of_text_not_for_objects(capsys, root, weights, tmp_path):
    texts = write_icdar2015(tmp_path / "texts")
    said = mistake(capsys, "evaluate", weights, "--data", texts, "--out", tmp_path, "--format", "icdar2015")
    assert said == "--data: these weights find objects, expected a data set in the layout of COCO"
    said = mistake(capsys, "predict", weights, root / "val2017" / "b.png", "--out", tmp_path / "o", "--submission")
    assert "no number" in said  # the name of the picture; with one:
    numbered = tmp_path / "img_1.png"
    Image.new("RGB", (60, 40)).save(numbered)
    said = mistake(capsys, "predict", weights, numbered, "--out", tmp_path / "o", "--submission")
    assert said == f"--submission: {weights} finds objects, expected weights that find text"
    of_text = save_small_weights(tmp_path / "text.safetensors")
    said = mistake(capsys, "evaluate", of_text, "--data", root, "--out", tmp_path, "--format", "coco")
    assert said.endswith("found no category for 1 of the 1 classes of the weights: text")


def test_a_category_called_text_is_scored_as_an_object(capsys, tmp_path):
    content = small_coco()
    content["categories"] = [{"id": 9, "name": "text"}]
    for annotation in content["annotations"]:
        annotation["category_id"] = 9
    data = write_coco(tmp_path / "data", content)
    run(capsys, "train", "coco_small", "--data", data, "--out", tmp_path / "run", "--set", *SMALL)
    weights = tmp_path / "run" / "model.safetensors"
    said = run(capsys, "evaluate", weights, "--data", data, "--split", "train", "--out", tmp_path / "evaluation")
    assert said.startswith("bbox: AP")


def test_a_run_goes_on_with_the_same_classes_only(capsys, root, weights, tmp_path):
    run(capsys, "train", "coco_small", "--data", root, "--out", weights.parent, "--resume", "--set", *SMALL)
    content = small_coco()
    content["categories"][0]["name"] = "horse"
    other = write_coco(tmp_path / "other", content)
    said = mistake(capsys, "train", "coco_small", "--data", other, "--out", weights.parent, "--resume", "--set", *SMALL)
    assert "model.class_names was ('dog', 'cat'), now ('dog', 'horse')" in said


def test_a_new_run_begins_with_all_but_the_layers_of_the_classes(capsys, weights, tmp_path):
    content = small_coco()
    content["categories"].append({"id": 9, "name": "horse"})
    data = write_coco(tmp_path / "data", content)
    still = [*SMALL, "training.steps=1", "training.learning_rate=0", "training.average_decay=0"]
    said = run(capsys, "train", "coco_small", "--data", data, "--out", tmp_path / "run", "--init", weights,
               "--set", *still)  # fmt: skip
    layers = "roi_heads.box_head.classes, roi_heads.box_head.deltas, roi_heads.mask_head.logits"
    assert f"other classes than in {weights}: {layers} begin with random weights" in said
    before, after = load_weights(weights)[0], load_weights(tmp_path / "run" / "model.safetensors")[0]
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.rpartition(".")[0] for name in changed} == set(layers.split(", "))
    assert after["roi_heads.box_head.classes.bias"].shape == (4,)
    deeper = [*still, "model.mask_head.convolutions=3"]
    other = ["--out", tmp_path / "other", "--init", weights]
    said = mistake(capsys, "train", "coco_small", "--data", data, *other, "--set", *deeper)
    assert "do not fit this model: roi_heads.mask_head.convolutions.1.bias is missing" in said


def test_keypoints_are_learnt_written_and_left_unscored_unless_a_person_s(capsys, tmp_path):
    content = small_coco()
    content["categories"][0] |= {"keypoints": ["left_ear", "right_ear", "nose"], "skeleton": [[1, 3], [2, 3]]}
    for number in (0, 3):
        content["annotations"][number]["keypoints"] = [4, 5, 2, 2, 1, 2, 3, 3, 1]
    data = write_coco(tmp_path / "data", content, "annotations/person_keypoints_train2017.json")
    head = ["model.keypoint_head.enabled=True", "model.keypoint_head.convolutions=1", "model.keypoint_head.channels=16"]
    run(capsys, "train", "coco_small", "--data", data, "--out", tmp_path / "run", "--set", *SMALL, *head)
    weights, out = tmp_path / "run" / "model.safetensors", tmp_path / "evaluation"
    said = run(capsys, "evaluate", weights, "--data", data, "--split", "train", "--out", out)
    assert said.startswith("bbox: AP") and "\nkeypoints: not those of a person" in said
    records = json.loads((out / "keypoints.json").read_text())
    assert all(len(record["keypoints"]) == 9 and record["category_id"] in (3, 7) for record in records)
    assert len(records) == len(json.loads((out / "bbox.json").read_text())) > 0
    picture = data / "train2017" / "b.png"
    run(capsys, "predict", weights, picture, "--out", tmp_path / "found", "--threshold", 0.01)
    found = json.loads((tmp_path / "found" / "b.json").read_text())["objects"]
    assert all(np.shape(one["keypoints"]) == (3, 3) for one in found) and len(found) > 0


def test_what_is_wrong_with_a_file_is_one_line(capsys, tmp_path):
    content = small_coco()
    content["annotations"][0]["image_id"] = 31
    data = write_coco(tmp_path / "data", content)
    for command in (["train", "coco_small", "--data", data], ["check", "coco", data]):
        said = mistake(capsys, *command, "--out", tmp_path / "out")
        assert "annotation 1: found image_id 31, expected the id of one of the 3 image entries" in said


@pytest.mark.slow
def test_a_detector_of_objects_learns_and_scores(capsys, shared_data, tmp_path):
    """The loss of a few steps on real pictures falls, and the result can be scored; overfit_coco.py goes on to 0.8."""
    settings = ["training.steps=12", "training.warmup_steps=1", "data.short_sides=(160,)", "training.workers=0"]
    data = shared_data / "coco"
    run(capsys, "train", "coco_small", "--data", data, "--out", tmp_path / "run", "--set", *settings)
    rows = [line.split(",") for line in (tmp_path / "run" / "log.csv").read_text().splitlines()]
    total = [float(row[rows[0].index("total")]) for row in rows[1:]]
    assert len(total) == 12 and sum(total[-3:]) < 0.8 * sum(total[:3])
    said = run(capsys, "evaluate", tmp_path / "run" / "model.safetensors", "--data", data, "--split", "train",
               "--out", tmp_path / "evaluation")  # fmt: skip
    assert said.startswith("bbox: AP 0.0")
