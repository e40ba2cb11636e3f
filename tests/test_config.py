"""Settings: their defaults are the published numbers, and wrong ones are errors that name the setting."""

import dataclasses
import json
import math

import pytest

from maskrcnn.config import (
    AnchorConfig,
    BackboneConfig,
    BoxHeadConfig,
    Config,
    ConfigurationError,
    DataConfig,
    ImageConfig,
    MaskHeadConfig,
    ModelConfig,
    RPNConfig,
    TextConfig,
    TrainingConfig,
    setting_names,
)

PYRAMIDS = ["model.mask_head.targets=pyramid", "text.outlines=planes"]

# By hand.


def test_pyramids_and_planes_go_together():
    config = Config().override([*PYRAMIDS, "model.mask_head.dilation=2", "model.mask_head.upsampling=bilinear"])
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_defaults_are_those_of_the_papers():
    model = ModelConfig()
    assert model.anchors.sizes == (32.0, 64.0, 128.0, 256.0, 512.0) and model.anchors.ratios == (0.5, 1.0, 2.0)
    assert (model.rpn.positive_iou, model.rpn.negative_iou, model.rpn.nms_iou) == (0.7, 0.3, 0.7)
    assert (model.rpn.samples, model.rpn.positive_fraction) == (256, 0.5)
    assert (model.box_head.samples, model.box_head.positive_fraction, model.box_head.positive_iou) == (512, 0.25, 0.5)
    assert model.box_head.box_weights == (10.0, 10.0, 5.0, 5.0)
    assert (model.box_head.score_threshold, model.box_head.nms_iou, model.box_head.detections) == (0.05, 0.5, 100)
    assert (model.box_head.pooled_size, model.mask_head.pooled_size) == (7, 14)


def test_class_count_includes_the_background():
    assert ModelConfig(class_names=("cat", "dog")).class_count == 3


def test_keypoints_are_those_of_the_data():
    """Names and skeleton change together, since one must know the other."""
    config = Config().for_keypoints(["left_end", "right_end"], [("left_end", "right_end")])
    assert config.model.keypoint_head.names == ("left_end", "right_end")
    assert config.model.keypoint_head.skeleton == (("left_end", "right_end"),)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ConfigurationError, match=r"KeypointHeadConfig.names: found \(\)"):
        Config().for_keypoints([], [])


def test_override_changes_one_setting_and_leaves_the_original():
    config = Config()
    changed = config.override(["training.steps=200"])
    assert changed.training.steps == 200 and config.training.steps == 1000
    assert dataclasses.replace(changed, training=config.training) == config


@pytest.mark.parametrize(
    ("assignment", "get", "value"),
    [
        ("name=my run = 2", lambda c: c.name, "my run = 2"),
        ("model.backbone.depth=18", lambda c: c.model.backbone.depth, "18"),
        ("model.backbone.frozen_stages=0", lambda c: c.model.backbone.frozen_stages, 0),
        ("model.mask_head.enabled=False", lambda c: c.model.mask_head.enabled, False),
        ("training.learning_rate=1e-3", lambda c: c.training.learning_rate, 0.001),
        ("training.learning_rate=1", lambda c: c.training.learning_rate, 1.0),
        ("model.anchors.ratios=0.5, 2", lambda c: c.model.anchors.ratios, (0.5, 2)),
        ("model.anchors.ratios=[0.5, 2]", lambda c: c.model.anchors.ratios, (0.5, 2)),
        ("model.anchors.ratios=1.0", lambda c: c.model.anchors.ratios, (1.0,)),
        ("model.class_names='cat', 'dog'", lambda c: c.model.class_names, ("cat", "dog")),
        ("training.milestones=()", lambda c: c.training.milestones, ()),
        ("data.crop=0", lambda c: c.data.crop, 0),
    ],
)
def test_override_reads_every_kind_of_value(assignment, get, value):
    assert get(Config().override([assignment])) == value


def test_overrides_are_made_at_once_so_their_order_does_not_matter():
    """Either of the two alone would put negative_iou above positive_iou."""
    for order in (1, -1):
        config = Config().override(["model.rpn.positive_iou=0.2", "model.rpn.negative_iou=0.1"][::order])
        assert (config.model.rpn.positive_iou, config.model.rpn.negative_iou) == (0.2, 0.1)


def test_setting_names_lead_to_every_setting():
    names = setting_names(Config())
    assert "model.box_head.box_weights" in names and "name" in names
    assert "model" not in names and "model.box_head" not in names
    assert len(names) == len(set(names))


def test_dict_and_back_also_through_json():
    config = Config().override(["model.class_names='cat','dog'", "training.milestones=(0.25,)", "name=x"])
    assert Config.from_dict(config.to_dict()) == config
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_assignments_of_every_kind_of_value_change_nothing():
    changes = ["data.padded_sizes=(64, 96),", "data.crop=0", "model.class_names='a b',\"it's\"", "name=x y"]
    changes += ["training.milestones=()", "training.weight_decay=1e-7", "model.variant.mask_hidden=1024"]
    config = Config().override(changes)
    said = config.assignments()
    written = {"data.padded_sizes=(64,96),", "training.milestones=()", "model.variant.mask_hidden=1024,", "name=x y"}
    assert written < set(said) and "model.class_names='a b',\"it's\"" in said
    assert Config().override(said) == config


# Errors.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrainingConfig(steps=0), "TrainingConfig.steps: found 0, expected 1 or more"),
        (lambda: TrainingConfig(batch_size=0), "TrainingConfig.batch_size: found 0, expected 1 or more"),
        (lambda: TrainingConfig(batch_size=2.0), "TrainingConfig.batch_size: found 2.0, expected a whole number"),
        (lambda: TrainingConfig(steps=True), "TrainingConfig.steps: found True, expected a whole number"),
        (lambda: TrainingConfig(learning_rate=-0.1), "TrainingConfig.learning_rate: found -0.1, expected 0 or more"),
        (lambda: TrainingConfig(learning_rate="1"), "TrainingConfig.learning_rate: found '1', expected a finite"),
        (lambda: TrainingConfig(learning_rate=math.nan), "TrainingConfig.learning_rate: found nan, expected a finite"),
        (lambda: TrainingConfig(learning_rate=math.inf), "TrainingConfig.learning_rate: found inf, expected a finite"),
        (lambda: TrainingConfig(momentum=1.0), "TrainingConfig.momentum: found 1.0, expected 0 to less than 1"),
        (lambda: TrainingConfig(average_decay=1.0), "TrainingConfig.average_decay: found 1.0"),
        (lambda: TrainingConfig(workers=-1), "TrainingConfig.workers: found -1, expected 0 or more"),
        (lambda: TrainingConfig(optimiser="adam"), "TrainingConfig.optimiser: found 'adam', expected one of"),
        (lambda: TrainingConfig(milestones=(0.5, "x")), r"TrainingConfig.milestones\[1\]: found 'x'"),
        (lambda: TrainingConfig(milestones=(1.5,)), r"TrainingConfig.milestones\[0\]: found 1.5, expected 0 to 1"),
        (lambda: TrainingConfig(milestones=0.5), "TrainingConfig.milestones: found 0.5, expected a list"),
        (lambda: TrainingConfig(milestones=[0.5]), "TrainingConfig.milestones"),
        (lambda: DataConfig(scale_range=(2.0, 0.5)), "DataConfig.scale_range: .* expected the smaller one first"),
        (lambda: DataConfig(scale_range=(0.0, 0.5)), r"DataConfig.scale_range\[0\]: found 0.0, expected more than 0"),
        (lambda: DataConfig(scale_range=(1.0,)), "DataConfig.scale_range: .* expected 2 values"),
        (lambda: DataConfig(aspect_range=(1.25, 0.8)), "DataConfig.aspect_range"),
        (lambda: DataConfig(flip_probability=1.5), "DataConfig.flip_probability: found 1.5, expected 0 to 1"),
        (lambda: DataConfig(crop=-1), "DataConfig.crop: found -1"),
        (
            lambda: DataConfig(independent_sides=(640,)),
            r"DataConfig.independent_sides: found \(640,\), expected none, or two, the smaller one first",
        ),
        (lambda: DataConfig(independent_sides=(640, 640)), "DataConfig.independent_sides: .* smaller one first"),
        (lambda: DataConfig(independent_sides=(0, 640)), r"DataConfig.independent_sides\[0\]: found 0, expected 1 or"),
        (
            lambda: DataConfig(independent_sides=(640, 2560), crop=641),
            r"DataConfig.independent_sides: found \(640, 2560\) with crops of 641, expected crops, none larger than",
        ),
        (lambda: DataConfig(independent_sides=(640, 2560), crop=0), "DataConfig.independent_sides: .* crops of 0"),
        (
            lambda: DataConfig(crop_around="all_objects", crop=0),
            "DataConfig.crop_around: found 'all_objects' without crops, expected 'one_object'",
        ),
        (lambda: DataConfig(cut="boxes", crop=0), "DataConfig.cut: found 'boxes' without crops, expected 'polygons'"),
        (lambda: DataConfig(cut="masks"), "DataConfig.cut: found 'masks', expected one of"),
        (lambda: ImageConfig(mean=(0.5, 0.5)), "ImageConfig.mean: .* expected 3 values"),
        (lambda: ImageConfig(deviation=(0.2, 0.0, 0.2)), r"ImageConfig.deviation\[1\]: found 0.0"),
        (lambda: ImageConfig(size_divisor=0), "ImageConfig.size_divisor: found 0, expected 1 to 1,024"),
        (lambda: AnchorConfig(sizes=(1, "x")), r"AnchorConfig.sizes\[1\]: found 'x', expected a finite number"),
        (lambda: AnchorConfig(sizes=(32.0, -64.0)), r"AnchorConfig.sizes\[1\]: found -64.0, expected more than 0"),
        (lambda: AnchorConfig(ratios=()), r"AnchorConfig.ratios: found \(\), expected one or more"),
        (lambda: RPNConfig(negative_iou=0.8), "RPNConfig.negative_iou: found 0.8, expected at most positive_iou, 0.7"),
        (lambda: RPNConfig(nms_iou=-0.1), "RPNConfig.nms_iou: found -0.1, expected 0 to 1"),
        (lambda: RPNConfig(low_quality="best"), "RPNConfig.low_quality: found 'best', expected one of"),
        (lambda: BoxHeadConfig(low_quality=1), "BoxHeadConfig.low_quality: found 1, expected True or False"),
        (lambda: BackboneConfig(depth="tiny", width=8), "BackboneConfig.width: found 8, expected 16 or more"),
        (lambda: BoxHeadConfig(box_weights=(10, 10, 5)), "BoxHeadConfig.box_weights: .* expected 4 values"),
        (lambda: BoxHeadConfig(detections=0), "BoxHeadConfig.detections: found 0"),
        (lambda: MaskHeadConfig(pooled_size=0), "MaskHeadConfig.pooled_size: found 0"),
        (lambda: BackboneConfig(depth=50), "BackboneConfig.depth: found 50, expected one of"),
        (lambda: BackboneConfig(frozen_stages=5), "BackboneConfig.frozen_stages: found 5, expected one of"),
        (lambda: BackboneConfig(frozen_stages=True), "BackboneConfig.frozen_stages: found True"),
        (lambda: TextConfig(score_threshold=2), "TextConfig.score_threshold: found 2, expected 0 to 1"),
        (lambda: TextConfig(outlines="pixel"), "TextConfig.outlines: found 'pixel', expected one of"),
        (
            lambda: TextConfig(shape="polygon", piece="all"),
            "TextConfig.piece: found 'all' with shape polygon, expected 'largest' or 'last'",
        ),
        (
            lambda: TextConfig(outlines="planes", shape="polygon"),
            "TextConfig.shape: found 'polygon' with outlines planes, expected 'quadrilateral'",
        ),
        (
            lambda: TextConfig(outlines="planes", piece="all"),
            "TextConfig.piece: found 'all' with outlines planes, expected 'largest'",
        ),
        (
            lambda: TextConfig(outlines="planes", mask_threshold=0.1),
            "TextConfig.mask_threshold: found 0.1 with outlines planes, expected 0.5",
        ),
        (
            lambda: Config().override(["text.outlines=planes"]),
            "TextConfig.outlines: found 'planes' with mask targets that are no pyramids, expected 'contour' or",
        ),
        (
            lambda: Config().override(["model.mask_head.targets=pyramid"]),
            "TextConfig.outlines: found 'contour' with mask targets pyramid, expected 'planes'",
        ),
        (
            lambda: Config().override([*PYRAMIDS, "model.mask_head.enabled=False"]),
            "TextConfig.outlines: found 'planes' with mask targets that are no pyramids",
        ),
        (
            lambda: Config().override(PYRAMIDS).for_classes(["cat", "dog"]),
            r"MaskHeadConfig.targets: found 'pyramid' for classes \('cat', 'dog'\) of icdar2015, expected it only",
        ),
        (
            lambda: Config().override([*PYRAMIDS, "data.format=coco"]),
            "MaskHeadConfig.targets: found 'pyramid' with data.format coco, whose layout asks for objects, also",
        ),
        (
            lambda: TextConfig(outlines="pixels", mask_threshold=0.4),
            "TextConfig.mask_threshold: found 0.4 with outlines pixels, expected 0.5",
        ),
        (lambda: ModelConfig(class_names=()), "ModelConfig.class_names: .* expected one or more, all different"),
        (lambda: ModelConfig(class_names=("a", "a")), "ModelConfig.class_names: .* all different"),
        (lambda: ModelConfig(class_names=("a", 1)), r"ModelConfig.class_names\[1\]: found 1, expected text"),
        (lambda: ModelConfig(rpn=BoxHeadConfig()), "ModelConfig.rpn: found BoxHeadConfig.* expected a section"),
        (lambda: Config(name=3), "Config.name: found 3, expected text"),
    ],
)
def test_wrong_settings_are_refused_when_a_section_is_made(make, message):
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        make()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("training.steps", "'training.steps': expected section.key=value"),
        ("training.step=3", "training.step: no such setting; nearest: training.steps"),
        ("model=3", "model: no such setting"),
        ("training.milestones=abc", "training.milestones: cannot read 'abc'; it is now"),
        ("training.milestones='abc'", r"training.milestones\[0\]: found 'abc', expected a finite number"),
        ("model.anchors.sizes=(1,'x')", r"model.anchors.sizes\[1\]: found 'x', expected a finite number"),
        ("training.steps=0", "training.steps: found 0, expected 1 or more"),
        ("training.steps=1.5", "training.steps: found 1.5, expected a whole number"),
        ("training.steps=__import__('os')", "training.steps: cannot read"),
        ("training.learning_rate=1e999", "training.learning_rate: found inf, expected a finite number"),
        ("training.learning_rate=True", "training.learning_rate: found True, expected a finite number"),
        ("model.backbone.depth=51", "model.backbone.depth: found '51', expected one of"),
        ("model.mask_head.enabled=no", "model.mask_head.enabled: cannot read 'no'; it is now True"),
        ("data.scale_range=2, 1", "data.scale_range: .* expected the smaller one first"),
    ],
)
def test_wrong_overrides_are_refused_by_their_dotted_name(assignment, message):
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        Config().override([assignment])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values["training"].update(stepz=1), r"training: unknown settings \['stepz'\]"),
        (lambda values: values.update({1: 2}), r"Config: unknown settings \['1'\]"),
        (lambda values: values["training"].update(steps="100"), "training.steps: found '100', expected a whole number"),
        (lambda values: values["training"].update(steps=[100]), "training.steps: .* expected a whole number"),
        (lambda values: values.update(model=None), "model: found None, expected a section"),
        (lambda values: values["model"].update(rpn=[]), r"model.rpn: found \[\], expected a section"),
        (lambda values: values["data"].update(scale_range=[1, None]), r"data.scale_range\[1\]: found None"),
        (lambda values: values["training"].update(learning_rate=10**400), "training.learning_rate: found 1000"),
    ],
)
def test_files_with_other_settings_are_refused(change, message):
    values = json.loads(json.dumps(Config().to_dict()))
    change(values)
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        Config.from_dict(values)


def test_a_file_from_before_a_setting_was_there_has_its_default():
    values = json.loads(json.dumps(Config().override(["training.steps=7", "model.rpn.samples=8"]).to_dict()))
    del values["training"]["batch_size"], values["model"]["box_head"]
    assert Config.from_dict(values) == Config().override(["training.steps=7", "model.rpn.samples=8"])


def test_crops_of_weights_from_before_the_rules_of_mmocr_are_what_they_were():
    values = json.loads(json.dumps(Config().to_dict()))
    for name in ("independent_sides", "crop_around", "cut"):
        del values["data"][name]
    data = Config.from_dict(values).data
    assert (data.independent_sides, data.crop_around, data.cut) == ((), "one_object", "polygons")


def test_something_that_is_no_dict_is_refused():
    with pytest.raises(ConfigurationError, match=r"^Config: found 3, expected a section"):
        Config.from_dict(3)


def test_configurations_cannot_be_changed_by_accident():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().name = "other"


@pytest.mark.parametrize(
    ("names", "layout", "text"),
    [
        (("text",), "icdar2015", True),
        (("text", "unused 2", "unused 3"), "icdar2015", True),  # as MMOCR's file for CTW1500
        (("person", "text"), "icdar2015", False),
        (("text",), "coco", False),  # somebody's own category of that name has boxes and masks like any other
        (("text", "logo"), "coco", False),
    ],
)
def test_what_a_text_detector_is(names, layout, text):
    config = Config().for_classes(names).override([f"data.format={layout}"])
    assert config.finds_text is text


def test_classes_that_no_training_has_seen_are_known_by_their_names():
    config = Config(model=ModelConfig(class_names=("text", "unused 2", "unused 3")))
    assert config.model.used_labels == (1,) and config.model.class_count == 4 and config.finds_text
    config = Config(model=ModelConfig(class_names=("text", "unused 3")))
    assert config.model.used_labels == (1, 2) and not config.finds_text


def test_crops_have_one_size_and_need_no_others():
    with pytest.raises(ConfigurationError, match=r"DataConfig.padded_sizes: found .* with crops of 512"):
        DataConfig(padded_sizes=((800, 1088),))
    with pytest.raises(ConfigurationError, match=r"DataConfig.padded_sizes: found .* with rotation_degrees 20"):
        DataConfig(crop=0, padded_sizes=((800, 1088),), rotation_degrees=20.0)
    assert Config().override(["data.crop=0", "data.padded_sizes=((64, 96),)"]).data.padded_sizes == ((64, 96),)


# From epochs to steps


TEXT = TrainingConfig(epochs=160, batch_size=64, learning_rate=0.08, learning_rate_batch=64, warmup_epochs=31.25)
"""MMOCR on ICDAR2015 (spec 3.2): 500 iterations of warm-up are 31.25 of its 1,000 pictures' epochs."""


def test_steps_and_rates_follow_from_pictures_and_batch():
    found = TEXT.for_pictures(1000)
    assert (found.steps, found.warmup_steps, found.learning_rate) == (2500, 488, 0.08)
    small = dataclasses.replace(TEXT, batch_size=8).for_pictures(1000)
    assert (small.steps, small.warmup_steps, small.learning_rate) == (20_000, 3906, 0.01)
    assert (small.epochs, small.warmup_epochs, small.learning_rate_batch) == (0, 0, 0)


def test_for_pictures_changes_nothing_that_is_written_out_already():
    training = TrainingConfig(steps=7, warmup_steps=3, learning_rate=0.1)
    assert training.for_pictures(1000) == training
    assert TEXT.for_pictures(900).for_pictures(5) == TEXT.for_pictures(900)


def test_a_data_set_smaller_than_a_batch_still_takes_a_step():
    assert dataclasses.replace(TEXT, epochs=1).for_pictures(3).steps == 1


def test_who_asks_for_steps_gets_them_and_the_same_share_of_them_as_warm_up():
    config = Config(training=TEXT).override(["training.steps=400"])
    for count in (5, 1000, 1_000_000):
        found = config.for_pictures(count).training
        assert (found.steps, found.warmup_steps) == (400, 78)
    shorter = Config(training=TEXT).override(["training.epochs=16"]).for_pictures(1000).training
    assert (shorter.steps, shorter.warmup_steps) == (250, 49)
    nothing = Config(training=TEXT).override(["training.steps=400", "training.epochs=0"]).training
    assert (nothing.steps, nothing.warmup_steps) == (400, 78)


def test_who_asks_for_a_warm_up_gets_it():
    for asked, expected in (("warmup_steps=9", 9), ("warmup_epochs=2", 31)):
        for length in ("epochs=160", "steps=400"):
            config = Config(training=TEXT).override([f"training.{asked}", f"training.{length}"])
            assert config.for_pictures(1000).training.warmup_steps == expected


def test_who_asks_for_a_learning_rate_gets_it():
    config = Config(training=dataclasses.replace(TEXT, batch_size=8)).override(["training.learning_rate=0.001"])
    assert config.for_pictures(1000).training.learning_rate == 0.001
    config = config.override(["training.learning_rate=0.001", "training.learning_rate_batch=16"])
    assert config.for_pictures(1000).training.learning_rate == 0.0005


@pytest.mark.parametrize("name", ["", "warmup_"])
def test_steps_and_epochs_together_are_refused(name):
    expected = rf"^training.{name}steps, training.{name}epochs: found both, expected one of them$"
    with pytest.raises(ConfigurationError, match=expected):
        Config(training=TEXT).override([f"training.{name}steps=4", f"training.{name}epochs=2"])


@pytest.mark.parametrize("value", ["1e300", "1e999", "-1"])
def test_epochs_that_no_training_has_are_refused(value):
    with pytest.raises(ConfigurationError, match=r"^training.epochs: found .*, expected"):
        Config().override([f"training.epochs={value}"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.rpn.proposals_test=1099511627776", "found 1099511627776, expected 1 to 100,000"),
        ("model.box_head.detections=0", "found 0, expected 1 to 100,000"),
        ("model.mask_head.sampling_ratio=65", "found 65, expected 0 to 64"),
        ("model.image.size_divisor=2048", "found 2048, expected 1 to 1,024"),
    ],
)
def test_what_would_take_all_memory_or_all_time_is_refused(setting, message):
    with pytest.raises(ConfigurationError, match=message):
        Config().override([setting])


def test_a_message_has_an_end_whatever_is_found():
    for value in ("x" * 10**6, ["x" * 1000] * 1000, {f"x{number}": 1 for number in range(10**4)}):
        with pytest.raises(ConfigurationError) as error:
            Config.from_dict({"training": {"steps": value}})
        assert len(str(error.value)) < 1000
        with pytest.raises(ConfigurationError) as error:
            Config().override([value])
        assert len(str(error.value)) < 1000
