"""The recipes: each makes its network, and those of the text benchmarks have the numbers of MMOCR's detectors."""

import inspect
import json
import math
import re
import subprocess
import sys
from operator import attrgetter
from pathlib import Path

import pytest
import torch

from maskrcnn import text_recipes
from maskrcnn.config import Config, ConfigurationError
from maskrcnn.data.augmentation import Augmentation
from maskrcnn.data.loader import TrainingBatches
from maskrcnn.data.rendered_text import RenderedText
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.recipes import RECIPES, recipe
from maskrcnn.settings import setting_names

PARAMETERS = {
    # Deep features of 32 to 256 channels, a pyramid of 48 channels and heads in proportion.
    "demo": 2_400_000,
    "text_small": 4_000_000,
    # ResNet-50, one foreground class and five anchors a cell.
    "icdar2015": 43_973_728,
    "icdar2017": 43_973_728,
    "ctw1500": 43_973_728,
    # Norms of the pyramid's levels and of the box head, scale and shift each.
    "icdar2015_plus": 43_973_728 + 2 * 4 * 256 + 2 * 2 * 1024,
    "icdar2017_plus": 43_973_728 + 2 * 4 * 256 + 2 * 2 * 1024,
    "ctw1500_plus": 43_973_728 + 2 * 4 * 256 + 2 * 2 * 1024,
    # torchvision's model for two classes instead of 91; its frozen BatchNorm is not counted there (spec: 44,401,393).
    "coco": 43_922_395,
    "coco_keypoints": 59_137_258,
    "coco_small": 2_400_000,
}
SMALL = ("demo", "text_small", "coco_small")
TEXT = ("icdar2015", "icdar2017", "ctw1500")


def parameters(config: Config) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in MaskRCNN(config.model).parameters())


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_called_by_its_name_and_survives_a_file(name):
    config = recipe(name)
    assert config.name == name
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_makes_its_network(name):
    count = parameters(recipe(name))
    assert count == pytest.approx(PARAMETERS[name], rel=0.25 if name in SMALL else 0.0)
    # In half precision what ships has to fit into 15 MB.
    assert name not in SMALL or 2 * count < 15e6


def test_small_recipes_are_a_tenth_of_the_large_one():
    counts = {name: parameters(recipe(name)) for name in RECIPES}
    assert counts["demo"] < counts["text_small"] < counts["icdar2015"] / 10
    assert counts["coco_small"] < counts["coco"] / 10


def test_coco_has_the_parameters_that_torchvision_documents():
    """For its 91 classes, of which the background is one; the scales and shifts of its BatchNorm are none."""
    assert parameters(recipe("coco").for_classes([f"class {index}" for index in range(90)])) == 44_401_393


@pytest.mark.parametrize(
    ("setting", "expected"),
    {
        # ResNet-50, the first stage and all values of BatchNorm fixed
        "model.backbone.depth": "50",
        "model.backbone.norm": "batch_frozen",
        "model.backbone.frozen_stages": 1,
        "model.initialisation": "torchvision",
        # pictures: short side 800, long side at most 1333, rounded down; padded to multiples of 32
        "model.image.short_side": 800,
        "model.image.long_side": 1333,
        "model.image.largest_enlargement": 0.0,
        "model.image.rounding": "floor",
        "model.image.size_divisor": 32,
        "data.crop": 0,
        "data.short_sides": (800,),
        "data.flip_probability": 0.5,
        "data.rotation_degrees": 0.0,
        "data.colour_probability": 0.0,
        "data.ignored": "ignore",
        # anchors: half extents in whole pixels, strides from the sizes of the maps
        "model.anchors.sizes": (32, 64, 128, 256, 512),
        "model.anchors.ratios": (0.5, 1, 2),
        "model.anchors.round_to_pixels": True,
        "model.anchors.stride_from_feature_size": True,
        # region proposals
        "model.rpn.positive_iou": 0.7,
        "model.rpn.negative_iou": 0.3,
        "model.rpn.low_quality": "own_best",
        "model.rpn.samples": 256,
        "model.rpn.candidates_train": 2000,
        "model.rpn.proposals_train": 2000,
        "model.rpn.candidates_test": 1000,
        "model.rpn.proposals_test": 1000,
        "model.rpn.nms_iou": 0.7,
        "model.rpn.minimum_size": 1e-3,
        "model.rpn.box_loss": "smooth_l1",
        "model.rpn.box_loss_beta": 1 / 9,
        "model.rpn.denominator": "samples",
        # box head
        "model.box_head.sampling_ratio": 2,
        "model.box_head.aligned": False,
        "model.box_head.samples": 512,
        "model.box_head.positive_fraction": 0.25,
        "model.box_head.low_quality": False,
        "model.box_head.sampler": "random",
        "model.box_head.ground_truth_proposals": "match",
        "model.box_head.box_weights": (10, 10, 5, 5),
        "model.box_head.clamp_both_sides": False,
        "model.box_head.box_loss": "smooth_l1",
        "model.box_head.box_loss_beta": 1 / 9,
        "model.box_head.background_outputs": True,
        "model.box_head.score_threshold": 0.05,
        "model.box_head.minimum_size": 0.01,
        "model.box_head.nms_iou": 0.5,
        "model.box_head.nms_in_original_pixels": False,
        "model.box_head.detections": 100,
        # mask head
        "model.mask_head.sampling_ratio": 2,
        "model.mask_head.aligned": False,
        "model.mask_head.targets": "soft",
        "model.mask_head.paste": "padded_resize",
        # training: 26 epochs of 117,266 pictures with objects, in batches of 16
        "training.steps": pytest.approx(26 * 117_266 / 16, rel=0.001),
        "training.learning_rate": 0.02,
        "training.warmup_steps": 1000,
        "training.milestones": (16 / 26, 22 / 26),
        "training.momentum": 0.9,
        "training.weight_decay": 1e-4,
    }.items(),
)
def test_coco_has_torchvision_s_numbers(setting, expected):
    assert attrgetter(setting)(recipe("coco")) == expected


def test_coco_keypoints_is_coco_but_for_the_head_and_the_schedule():
    """46 epochs, the rate falling after 36 and 43; six short sides; no masks (spec 3.1)."""
    keypoints, instances = recipe("coco_keypoints"), recipe("coco")
    head = keypoints.model.keypoint_head
    assert head.enabled and not keypoints.model.mask_head.enabled
    assert (head.pooled_size, head.sampling_ratio, head.aligned) == (14, 2, False)
    assert (head.convolutions, head.channels, len(head.names)) == (8, 512, 17)
    assert keypoints.model.class_names == ("person",)
    assert keypoints.data.short_sides == (640, 672, 704, 736, 768, 800)
    training = keypoints.training
    assert training.milestones == (36 / 46, 43 / 46)
    assert training.steps * training.batch_size == pytest.approx(46 * 56_599, rel=0.01)
    same = instances.override(
        [
            "name=coco_keypoints",
            "model.class_names='person',",
            "model.mask_head.enabled=False",
            "model.mask_head.aligned=True",
            "model.mask_head.targets=binary",
            "model.mask_head.paste=pixel_centres",
            "model.keypoint_head.enabled=True",
            "model.keypoint_head.aligned=False",
            f"data.short_sides={keypoints.data.short_sides}",
            f"training.steps={training.steps}",
            f"training.milestones={training.milestones}",
        ]
    )
    assert keypoints == same


@pytest.mark.parametrize(
    ("setting", "expected"),
    {
        # ResNet-50, the first stage and all statistics statistics of BatchNorm fixed, its scales and shifts trained
        "model.backbone.depth": "50",
        "model.backbone.width": 64,
        "model.backbone.norm": "batch_eval",
        "model.backbone.norm_epsilon": 1e-5,
        "model.backbone.frozen_stages": 1,
        "model.backbone.pyramid_channels": 256,
        "model.initialisation": "mmdetection",
        # pictures: 1920 pixels along the long side, rounded to bytes, nothing padded
        "model.image.short_side": 1920,
        "model.image.long_side": 1920,
        "model.image.interpolation": "bytes",
        "model.image.rounding": "nearest",
        "model.image.size_divisor": 1,
        # anchors: four times the stride, five ratios, fractions kept
        "model.anchors.sizes": (16, 32, 64, 128, 256),
        "model.anchors.ratios": (0.17, 0.44, 1.13, 2.90, 7.46),
        "model.anchors.round_to_pixels": False,
        "model.anchors.stride_from_feature_size": False,
        # region proposals
        "model.rpn.positive_iou": 0.7,
        "model.rpn.negative_iou": 0.3,
        "model.rpn.low_quality": "forced",
        "model.rpn.low_quality_iou": 0.3,
        "model.rpn.samples": 256,
        "model.rpn.positive_fraction": 0.5,
        "model.rpn.candidates_train": 2000,
        "model.rpn.proposals_train": 1000,
        "model.rpn.candidates_test": 1000,
        "model.rpn.proposals_test": 1000,
        "model.rpn.nms_iou": 0.7,
        "model.rpn.box_loss": "l1",
        "model.rpn.denominator": "at_least_one_each",
        # box head: the hardest examples, ground truth among the proposals after matching
        "model.box_head.pooled_size": 7,
        "model.box_head.sampling_ratio": 0,
        "model.box_head.aligned": True,
        "model.box_head.hidden": 1024,
        "model.box_head.samples": 512,
        "model.box_head.positive_fraction": 0.25,
        "model.box_head.positive_iou": 0.5,
        "model.box_head.low_quality": True,
        "model.box_head.sampler": "hard",
        "model.box_head.ground_truth_proposals": "assign",
        "model.box_head.box_weights": (10, 10, 5, 5),
        "model.box_head.clamp_both_sides": True,
        "model.box_head.box_loss": "l1",
        "model.box_head.background_outputs": False,
        "model.box_head.score_threshold": 0.05,
        "model.box_head.nms_iou": 0.5,
        "model.box_head.nms_in_original_pixels": True,
        "model.box_head.detections": 100,
        # mask head
        "model.mask_head.pooled_size": 14,
        "model.mask_head.sampling_ratio": 0,
        "model.mask_head.aligned": True,
        "model.mask_head.convolutions": 4,
        "model.mask_head.channels": 256,
        "model.mask_head.targets": "binary",
        "model.mask_head.paste": "pixel_centres",
        "text.shape": "quadrilateral",
        "text.outlines": "pixels",
        "text.piece": "all",
        "text.mask_threshold": 0.5,
        # training
        "data.crop": 640,
        "data.independent_sides": (640, 2560),
        "data.crop_around": "all_objects",
        "data.around_object_probability": 5 / 8,
        "data.cut": "boxes",
        "data.minimum_visible_fraction": 0.0,
        "data.flip_probability": 0.5,
        "data.rotation_degrees": 0.0,
        "data.colour_probability": 0.0,
        "data.ignored": "background",
        "training.optimiser": "sgd",
        "training.momentum": 0.9,
        "training.weight_decay": 1e-4,
        "training.gradient_clip": 0.0,
        "training.schedule": "steps",
        "training.warmup_factor": 0.001,
    }.items(),
)
def test_icdar2015_has_the_published_numbers(setting, expected):
    assert attrgetter(setting)(recipe("icdar2015")) == expected


def test_icdar2015_has_the_published_schedule_for_its_batch_size():
    """Published: batch 64, rate 0.08, 500 warm-up steps, 160 epochs of 1,000 pictures, a tenth after 80 and 128."""
    training = recipe("icdar2015").for_pictures(1000).training
    assert training.learning_rate == pytest.approx(0.08 * training.batch_size / 64)
    assert training.steps * training.batch_size == 160 * 1000
    assert training.milestones == (80 / 160, 128 / 160)
    # 500 steps of 64 pictures took 500 / 16 epochs of 16 steps each.
    epochs = training.warmup_steps * training.batch_size / 1000
    assert epochs == pytest.approx(500 / math.ceil(1000 / 64), rel=0.01)


def test_icdar2017_warms_up_for_as_many_steps_in_fewer_epochs():
    training = recipe("icdar2017").override(["training.batch_size=64"]).for_pictures(7200).training
    assert training.steps == 160 * 7200 / 64 and training.learning_rate == 0.08
    assert training.warmup_steps == pytest.approx(500, abs=4)


def differences(left: Config, right: Config) -> dict[str, tuple[object, object]]:
    names = setting_names(left)
    pairs = {name: (attrgetter(name)(left), attrgetter(name)(right)) for name in names if name != "name"}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def test_the_benchmarks_differ_in_what_the_specification_says():
    """Long sides at test (spec 4.2), polygons, and don't-care regions, of which CTW1500's files know nothing."""
    sides = {f"model.image.{side}_side": (1920, 1600) for side in ("short", "long")}
    assert differences(recipe("icdar2015"), recipe("icdar2017")) == sides | {
        "data.format": ("icdar2015", "icdar2017"),
        "training.warmup_epochs": (31.25, 4.42),
        "training.checkpoint_every": (500, 5000),
    }
    assert differences(recipe("icdar2015"), recipe("ctw1500")) == sides | {
        "data.format": ("icdar2015", "ctw1500"),
        "data.ignored": ("background", "object"),
        "text.shape": ("quadrilateral", "polygon"),
        "text.piece": ("all", "last"),
    }


@pytest.mark.parametrize("name", TEXT)
def test_what_is_better_differs_in_what_it_gives_a_reason_for(name):
    source = inspect.getsource(text_recipes.improved)
    reasons = re.findall(r"^ +(\w+)=.*#", source, re.MULTILINE)
    better = recipe(f"{name}_plus")
    found = differences(recipe(name), better)
    assert {setting.rpartition(".")[2] for setting in found} - {"norm"} <= set(reasons) and len(found) > 12
    assert better.data.format == name and better.text.shape == recipe(name).text.shape
    assert {found[f"model.{section}.norm"][1] for section in ("backbone", "box_head")} == {"batch"}


@pytest.mark.parametrize("name", [*TEXT, *(f"{name}_plus" for name in TEXT)])
def test_a_crop_of_each_text_recipe(name):
    """The settings go together: a batch of two crops with objects, don't-care regions as the recipe has them."""
    config = recipe(name)
    batches = TrainingBatches(
        RenderedText(4, 0), Augmentation(config.data, config.model.image), config.model.image,
        batch_size=2, seed=0, ignored=config.data.ignored,
    )  # fmt: skip
    found = [batches[step] for step in range(4)]
    assert all(batch.images.shape == (2, 3, 640, 640) for batch in found)
    assert any(batch.targets.valid.any() for batch in found)
    assert any(batch.targets.ignore.any() for batch in found) == name.endswith("_plus")


def test_the_nearest_names_answer_a_misspelt_one():
    with pytest.raises(ConfigurationError, match=r"^icdar15: no such recipe; nearest: icdar2015, .*; all: demo,"):
        recipe("icdar15")


STEP = """
import json, resource, sys
import numpy as np
import torch
from maskrcnn.data.augmentation import Augmentation
from maskrcnn.data.loader import TrainingBatches
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.recipes import recipe
from maskrcnn.structures import Sample
from maskrcnn.training.loop import training_step
from maskrcnn.training.optimiser import make_optimiser

config = recipe("icdar2015")
word = np.array([[300.0, 200.0], [700.0, 200.0], [700.0, 300.0], [300.0, 300.0]])
image = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), dtype=np.uint8)
sample = Sample("noise", image, (word,), np.ones(1, np.int64), np.zeros(1, bool))
augment = Augmentation(config.data, config.model.image)
batch = TrainingBatches([sample], augment, config.model.image, batch_size=1, seed=0)[0]
torch.manual_seed(0)
model = MaskRCNN(config.model).train()
before = {name: value.clone() for name, value in model.state_dict().items()}
losses, norm = training_step(model, [batch], make_optimiser(model, config.training), config.training, step=0)
print(json.dumps({
    "size": list(batch.images.shape),
    "losses": {name: loss.item() for name, loss in losses.items()},
    "norm": norm.item(),
    "changed": [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])],
    "GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
}))
"""


@pytest.mark.slow
def test_a_step_of_the_large_recipe_fits_into_a_laptop():
    """In a process of its own, whose peak of memory is that of the step."""
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    step = json.loads(done.stdout)
    assert step["size"] == [1, 3, 640, 640]
    assert step["losses"].keys() == {"rpn_objectness", "rpn_box", "class", "box", "mask"}
    assert all(math.isfinite(value) for value in (step["norm"], *step["losses"].values()))
    # The stem and the first stage stay as they are, and so do all statistics of BatchNorm.
    parts = {".".join(name.split(".")[:2]) for name in step["changed"]}
    assert {"backbone.layer2", "backbone.layer3", "backbone.layer4", "rpn.head", "roi_heads.mask_head"} <= parts
    assert not parts & {"backbone.conv1", "backbone.bn1", "backbone.layer1"}
    assert not any("running" in name for name in step["changed"])
    assert step["GiB"] < 6
