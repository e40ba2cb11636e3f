"""The detector: outlines worked by hand from what a network says, every kind of picture, loading by file and name."""

import inspect
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from small_text import picture, save_small_weights, small_config, small_model
from torch import nn

import maskrcnn
from maskrcnn import detector as module
from maskrcnn.config import TextConfig
from maskrcnn.data.images import read_image
from maskrcnn.data.rendered_text import SCENE, RenderedText
from maskrcnn.detector import Detector, available_device, find_weights, load, shipped_weights
from maskrcnn.evaluate import evaluate_texts
from maskrcnn.model.mask_rcnn import ModelOutput
from maskrcnn.structures import Detections
from maskrcnn.training.checkpoint import load_weights, save_weights


class Says(nn.Module):
    """A network that finds the same boxes in every picture, and remembers what it was given."""

    def __init__(self, boxes: list[list[float]], scores: list[float], masks: torch.Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        count = len(boxes)
        self.detections = Detections(
            boxes=torch.tensor(boxes).reshape(1, count, 4),
            scores=torch.tensor([scores]),
            labels=torch.ones(1, count, dtype=torch.int64),
            valid=torch.ones(1, count, dtype=torch.bool),
            masks=torch.ones(1, count, 28, 28) if masks is None else masks[None],
        )

    def forward(self, batch):
        self.batch = batch
        return ModelOutput(None, self.detections)


BOXES, SCORES = [[10.0, 20.0, 50.0, 40.0], [60.0, 20.0, 100.0, 30.0], [12.0, 20.0, 52.0, 40.0]], [0.9, 0.6, 0.3]


def says(*settings: str, boxes=BOXES, scores=SCORES, masks=None) -> Detector:
    return Detector(Says(boxes, scores, masks), small_config(*settings))


@pytest.fixture(scope="module")
def tiny() -> Detector:
    config = small_config("text.score_threshold=0.1")
    return Detector(small_model(config), config)


# Worked by hand


def test_a_full_mask_becomes_its_box():
    found = says()(picture(0))
    assert [text.score for text in found.texts] == pytest.approx([0.9, 0.6])  # 0.3 is below text_small's 0.5
    # A mask of ones, interpolated to zero outside of the box, reaches a half exactly at the box's border.
    np.testing.assert_allclose(found.texts[0].polygon, [[10, 20], [50, 20], [50, 40], [10, 40]], atol=1e-4)
    np.testing.assert_allclose(found.texts[1].polygon, [[60, 20], [100, 20], [100, 30], [60, 30]], atol=1e-4)
    assert found.detections.scores.shape == (1, 3) and found.without_shape == 0
    np.testing.assert_array_equal(found.image, picture(0))


def test_half_a_mask_becomes_half_its_box():
    masks = torch.zeros(1, 28, 28)
    masks[0, :, :14] = 1
    found = says(boxes=BOXES[:1], scores=[0.9], masks=masks)(picture(0))
    np.testing.assert_allclose(found.texts[0].polygon, [[10, 20], [30, 20], [30, 40], [10, 40]], atol=1e-4)


def test_settings_say_which_outline_a_text_gets():
    """A band and a crumb below it; the mask's cells are pixels of the picture."""
    masks = torch.zeros(1, 28, 28)
    masks[0, 4:10] = masks[0, 20:24, 20:24] = 1

    def outline(*settings):
        found = says(*settings, boxes=[[10.0, 20.0, 38.0, 48.0]], scores=[0.9], masks=masks)(picture(0))
        return found.texts[0].polygon.round(4).tolist()

    assert outline() == [[10, 24], [38, 24], [38, 30], [10, 30]]
    assert outline("text.outlines=pixels") == [[10, 24], [37, 24], [37, 29], [10, 29]]
    assert outline("text.outlines=pixels", "text.piece=all") == [[10, 24], [37, 24], [37, 43], [10, 43]]
    last = [[30, 40], [33, 40], [33, 43], [30, 43]]
    assert outline("text.outlines=pixels", "text.piece=last", "text.shape=polygon") == last


def test_a_pyramid_becomes_what_it_stands_on():
    """Over the square on the middle half of the box: heights up to 1 over 14 x 14 of the 28 x 28 cells."""
    steps = np.minimum(np.arange(14), np.arange(14)[::-1]) + 0.5
    masks = torch.zeros(2, 28, 28)
    masks[0, 7:21, 7:21] = torch.from_numpy(np.minimum(steps[:, None], steps) / 7).float()
    masks[1, 14, 14] = 1
    boxes = [[10.0, 20.0, 66.0, 76.0], [100, 20, 128, 48]]
    settings = ("model.mask_head.targets=pyramid", "text.outlines=planes")
    found = says(*settings, boxes=boxes, scores=[0.9, 0.6], masks=masks)(picture(0))
    np.testing.assert_allclose(found.texts[0].polygon, [[24, 34], [52, 34], [52, 62], [24, 62]], atol=1e-4)
    assert (len(found.texts), found.without_shape, found.unfitted) == (2, 0, 1)


def test_the_threshold_can_be_given_with_the_picture_or_in_the_settings():
    assert len(says()(picture(0), 0.0).texts) == 3
    assert len(says()(picture(0), 0.7).texts) == 1
    assert len(says("text.score_threshold=0.2")(picture(0)).texts) == 3


def test_outlines_that_overlap_a_better_one_leave_when_asked_to():
    scores = [text.score for text in says("text.polygon_nms_iou=0.5")(picture(0), 0.0).texts]
    assert scores == pytest.approx([0.9, 0.6])  # the third is the first, two pixels to the right


def test_an_empty_mask_has_no_outline_and_is_counted():
    masks = torch.stack([torch.ones(28, 28), torch.zeros(28, 28), torch.zeros(28, 28)])
    found = says(masks=masks)(picture(0))
    assert (len(found.texts), found.without_shape) == (1, 1)  # the third is below the threshold anyway


def test_outlines_end_at_the_border_of_the_picture():
    found = says(boxes=[[-30.0, 100.0, 200.0, 140.0]], scores=[0.9])(picture(0))
    np.testing.assert_allclose(found.texts[0].polygon, [[0, 100], [160, 100], [160, 120], [0, 120]], atol=1e-4)


def test_the_network_sees_the_scaled_picture_and_knows_its_original_size():
    detector = says("model.image.long_side=320", "model.image.short_side=1000", "model.image.largest_enlargement=0")
    detector(picture(0))
    batch = detector.model.batch
    assert batch.image_sizes.tolist() == [[240, 320]] and batch.original_sizes.tolist() == [[120, 160]]
    assert batch.images.shape == (1, 3, 256, 320) and batch.targets is None  # 240 is padded to 8 x 32
    assert not detector.model.training


# Every kind of picture


def test_a_file_an_array_and_a_pillow_image_are_the_same(tiny, tmp_path):
    Image.fromarray(picture(1)).save(tmp_path / "picture.png")
    from_file, from_array = tiny(tmp_path / "picture.png"), tiny(picture(1))
    from_pillow, from_text = tiny(Image.fromarray(picture(1))), tiny(str(tmp_path / "picture.png"))
    assert len(from_file.texts) > 3
    for other in (from_array, from_pillow, from_text):
        assert torch.equal(other.detections.boxes, from_file.detections.boxes)
        assert [text.score for text in other.texts] == [text.score for text in from_file.texts]


def pillow_images() -> dict[str, Image.Image]:
    colour = Image.fromarray(picture(2))
    transparent = colour.convert("RGBA")
    transparent.putalpha(Image.linear_gradient("L").resize(colour.size))
    levels = np.linspace(0, 65535, 160 * 120).reshape(120, 160)
    return {
        "RGB": colour,
        "L": colour.convert("L"),
        "1": colour.convert("1"),
        "P": colour.quantize(64),
        "RGBA": transparent,
        "LA": transparent.convert("LA"),
        "I;16": Image.fromarray(levels.astype(np.uint16)),
        "I": Image.fromarray(levels.astype(np.int32)),
        "F": Image.fromarray(levels.astype(np.float32) / 65535),
    }


@pytest.mark.parametrize("mode", pillow_images())
def test_a_pillow_image_is_read_as_a_file_of_it_would_be(mode):
    image = pillow_images()[mode]
    assert image.mode == mode
    file = io.BytesIO()
    image.save(file, "TIFF" if mode in ("I", "F") else "PNG")
    expected = read_image(file.getvalue())
    np.testing.assert_array_equal(says()(image).image, expected)
    assert expected.std() > 10  # neither all black nor all white


def test_a_mode_that_png_does_not_know():
    colour = Image.fromarray(picture(2)).convert("CMYK")
    np.testing.assert_array_equal(says()(colour).image, colour.convert("RGB"))


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (3, 2)])
def test_tiny_pictures(tiny, size):
    found = tiny(np.full((*size, 3), 128, np.uint8))
    boxes = found.detections.boxes[found.detections.valid]
    height, width = size
    assert len(boxes) and boxes.min() >= 0 and boxes[:, 2].max() <= width and boxes[:, 3].max() <= height


def test_a_very_large_picture(tiny):
    found = tiny(np.tile(picture(3), (50, 50, 1)))
    assert found.image.shape == (6000, 8000, 3)
    assert found.texts and found.detections.boxes.max() > 4000


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 5), np.uint8), r"array: image must be \(H, W, 3\) uint8, found \(5, 5\)"),
        (np.zeros((5, 5, 4), np.uint8), r"found \(5, 5, 4\)"),
        (np.zeros((5, 5, 3)), "found .* float64"),
        (np.zeros((0, 5, 3), np.uint8), r"array: found \(0, 5, 3\), expected at least one pixel"),
    ],
)
def test_arrays_of_another_kind_are_refused(array, message):
    with pytest.raises(ValueError, match=message):
        says()(array)


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), -float("inf")])
def test_a_threshold_that_is_no_number_is_refused(threshold):
    with pytest.raises(ValueError, match=f"^score_threshold: found {threshold}, expected a number$"):
        says()(np.zeros((5, 5, 3), np.uint8), threshold)


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"notes\.txt: found a file that begins b'hello'"):
        says()(tmp_path / "notes.txt")


# Loading


def test_loading_gives_back_the_network_and_its_settings(tmp_path):
    path = save_small_weights(tmp_path / "small.safetensors", "text.shape=polygon")
    loaded = maskrcnn.load(path)
    assert loaded.config.text == TextConfig(shape="polygon", score_threshold=0.2)
    expected = small_model(loaded.config).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.model.state_dict().items())
    assert loaded.device == torch.device("cpu") and not loaded.model.training


def test_settings_can_be_changed_before_the_network_is_made(tmp_path):
    path = save_small_weights(tmp_path / "small.safetensors")
    changed = load(path, settings=["model.box_head.detections=3", "model.image.long_side=64"])
    assert changed(picture(0), 0.0).detections.boxes.shape == (1, 3, 4)
    assert changed.model.config.image.long_side == 64
    with pytest.raises(ValueError, match=r"small\.safetensors: 5 tensors do not fit.*mask_head.*expected \(32, 16"):
        load(path, settings=["model.mask_head.channels=32"])


@pytest.mark.parametrize(
    ("section", "setting", "value", "message"),
    [
        ("box_head", "hidden", 10_000_000, r"tensors do not fit this model: .*\(32, 784\), expected \(10000000, 784\)"),
        ("mask_head", "channels", 10**6, r"tensors do not fit this model: .*expected \(1000000, 1000000, 2, 2\)"),
        ("backbone", "width", 10**30, "its configuration asks for a network that no machine can hold"),
        ("box_head", "pooled_size", 10**12, "its configuration asks for a network that no machine can hold"),
        ("mask_head", "convolutions", 10**12, r"found \d+ tensors, expected those of 1,000,000,000,000 mask conv"),
        ("keypoint_head", "convolutions", 10**12, r"found \d+ tensors, expected those of 1,000,000,000,000 keypoint"),
    ],
)
def test_a_file_that_asks_for_a_gigantic_network_is_refused_before_it_is_built(
    tmp_path, monkeypatch, section, setting, value, message
):
    config = small_config()
    state = small_model(config).state_dict()
    changes = {setting: value} | ({"enabled": True} if section == "keypoint_head" else {})
    model = replace(config.model, **{section: replace(getattr(config.model, section), **changes)})
    save_weights(tmp_path / "small.safetensors", state, replace(config, model=model))
    devices = []

    class Watched(module.MaskRCNN):
        def __init__(self, config) -> None:
            devices.append(torch.empty(0).device.type)
            assert devices == ["meta"]  # otherwise this test would take the machine down
            super().__init__(config)

    monkeypatch.setattr(module, "MaskRCNN", Watched)
    with pytest.raises(ValueError, match=rf"small\.safetensors: .*{message}"):
        load(tmp_path / "small.safetensors")


def test_names_of_shipped_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHIPPED", tmp_path)
    assert shipped_weights() == {}
    with pytest.raises(ValueError, match=r"^text_small: found no such file, expected weights or a shipped name: none$"):
        find_weights("text_small")
    config = small_config()
    save_weights(tmp_path / "text_small.safetensors", small_model(config).state_dict(), config, half=True)
    assert shipped_weights() == {"text_small": tmp_path / "text_small.safetensors"}
    assert load("text_small").config == config
    with pytest.raises(ValueError, match=r"text_smal: found no such file, .* shipped name: text_small$"):
        find_weights("text_smal")
    with pytest.raises(ValueError, match="found a folder"):
        find_weights(tmp_path)


def test_a_file_comes_before_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_small_weights(tmp_path / "text_small")
    assert find_weights("text_small").resolve() == tmp_path / "text_small"


def test_the_packages_own_load_takes_what_the_detectors_takes():
    names = [list(inspect.signature(function).parameters) for function in (maskrcnn.load, load)]
    assert names[0] == names[1]


def test_half_precision_finds_the_same_to_three_digits(tmp_path):
    config = replace(small_config(), text=TextConfig(score_threshold=0.0))
    model = small_model(config)
    save_weights(tmp_path / "half.safetensors", model.state_dict(), config, half=True)
    whole, half = Detector(model, config)(picture(4)), load(tmp_path / "half.safetensors")(picture(4))
    assert half.detections.scores.max().item() == pytest.approx(whole.detections.scores.max().item(), rel=3e-3)


def test_the_device_is_a_gpu_only_if_there_is_one():
    assert available_device() == ("cuda" if torch.cuda.is_available() else "cpu")


# --- What ships -------------------------------------------------------------------------------------------------------


def test_shipped_weights_are_small_have_a_card_and_their_origin():
    shipped = shipped_weights()
    assert "text_small" in shipped
    for name, path in shipped.items():
        assert path.stat().st_size <= 15e6, name
        _, config, extra = load_weights(path)
        assert config.name == name and {"data", "split", "steps"} <= extra.keys()
        card = path.with_suffix(".md").read_text(encoding="utf-8")
        for heading in ("How it was trained", "How good it is", "What it cannot do", "Terms"):
            assert f"## {heading}" in card, name


@pytest.mark.slow
def test_shipped_weights_find_text_in_a_rendered_scene():
    """Not how good they are (the card says that), but that they are whole: most words, and hardly anything else."""
    scenes = RenderedText(6, 11, replace(SCENE, text_height=(20.0, 80.0), low_contrast_fraction=0.0))
    as_they_are = ["model.image.short_side=512", "model.image.long_side=512"]
    score = evaluate_texts(load("text_small", settings=as_they_are), scenes).at(0.5)
    assert score.recall > 0.5 and score.precision > 0.5


def test_16_bits_find_the_same_texts():
    """In a picture with large, plain words; scores differ in the third digit, outlines by a pixel or so."""
    sample = RenderedText(1, 3, replace(SCENE, curved_fraction=0.0))[0]
    exact, short = (load("text_small", precision=precision) for precision in ("float32", "bfloat16"))
    kinds = []
    short.model.backbone.register_forward_hook(lambda module, given, maps: kinds.append(maps[0].dtype))
    expected, found = exact(sample.image, 0.5).texts, short(sample.image, 0.5).texts
    assert kinds == [torch.bfloat16]
    sure = [text for text in expected if text.score > 0.7]
    assert len(sure) >= 2
    for text in sure:
        centre = text.polygon.mean(axis=0)
        nearest = min(found, key=lambda other: np.abs(other.polygon.mean(axis=0) - centre).max())
        assert np.abs(nearest.polygon.mean(axis=0) - centre).max() < 2
        assert nearest.score == pytest.approx(text.score, abs=0.05)


def test_another_precision_is_refused():
    with pytest.raises(ValueError, match="precision: found 'float16', expected one of: float32, bfloat16"):
        load("text_small", precision="float16")
