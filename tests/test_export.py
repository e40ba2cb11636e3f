"""Exported detectors: what is loaded finds what the network finds, for every size of pictures and every variant."""

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small_model import SMALL, WITH_KEYPOINTS, change
from small_text import mistake, picture, run, save_small_weights, small_config, small_model
from small_variants import VARIANTS

import maskrcnn
from maskrcnn.config import ModelConfig
from maskrcnn.detector import Detector, Found
from maskrcnn.export import DetectionProgram, export_detector, exported, load_exported, smallest_side
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.ops import convolution

SIZES = [(128, 160), (96, 96), (96, 256), (352, 224)]
"""Height and width in pixels: odd and even numbers of cells on each level, and as few as there may be."""


def small_detector() -> Detector:
    config = small_config("text.score_threshold=0.1")
    return Detector(small_model(config), config)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return small_detector()


@pytest.fixture(scope="module")
def file(detector, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "small.pt2"
    export_detector(detector, path)
    return path


@pytest.fixture(scope="module")
def loaded(file) -> Detector:
    return load_exported(file)


def inputs(batch: int, height: int, width: int) -> tuple[torch.Tensor, ...]:
    """Noise with dark margins; each image has a size of its own inside them, and the originals had others."""
    generator = torch.Generator().manual_seed(batch * height + width)
    images = torch.randn(batch, 3, height, width, generator=generator)
    sizes = torch.tensor([[height - 8 * image, width - 16 * image] for image in range(batch)])
    for image, (rows, columns) in enumerate(sizes.tolist()):
        images[image, :, rows:] = images[image, :, :, columns:] = 0
    return images.contiguous(memory_format=torch.channels_last), sizes, sizes * 3 + 1


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """The same slots, and in them the same up to rounding, which is that of different algorithms for convolutions."""
    assert found.keys() == expected.keys() and expected["valid"].any()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4 if name in ("scores", "masks") else 2e-3)


def of(found: Found) -> dict[str, torch.Tensor]:
    return {name: value for name, value in vars(found.detections).items() if value is not None}


@torch.no_grad()
def outputs(network: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
    return network(*arguments)


# Pictures


def test_the_loaded_detector_finds_the_same_in_a_picture(detector, loaded):
    for image in (picture(1), np.ascontiguousarray(picture(2)[:, :120])):
        expected, found = detector(image), loaded(image)
        assert_same(of(found), of(expected))
        assert len(found.texts) == len(expected.texts) > 3
        for one, other in zip(found.texts, expected.texts, strict=True):
            np.testing.assert_allclose(one.polygon, other.polygon, atol=0.01)
    assert loaded.config == detector.config and loaded.device == torch.device("cpu")


def test_a_narrow_picture_is_padded_until_the_program_takes_it(detector, loaded):
    narrow = np.ascontiguousarray(picture(3)[:20])
    with pytest.raises(AssertionError, match="Guard failed"):
        loaded.model.program(*inputs(1, 32, 128))
    seen = []
    detector.model.register_forward_pre_hook(lambda model, arguments: seen.append(arguments[0]))
    detector(narrow)
    images, sizes, originals = seen[0].images, seen[0].image_sizes, seen[0].original_sizes
    assert images.shape == (1, 3, 32, 128)
    padded = torch.nn.functional.pad(images, (0, 0, 0, 64))
    expected = outputs(DetectionProgram(detector.model), (padded, sizes, originals))
    assert_same(of(loaded(narrow)), expected)


# Tensors


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_number_of_images_of_any_size(detector, loaded, batch, size):
    arguments = inputs(batch, *size)
    assert_same(outputs(loaded.model.program, arguments), outputs(DetectionProgram(detector.model), arguments))


def test_the_order_of_the_dimensions_in_memory_does_not_matter(detector, loaded):
    images, *sizes = inputs(2, 128, 160)
    found = outputs(loaded.model.program, (images.contiguous(), *sizes))
    assert_same(found, outputs(DetectionProgram(detector.model), (images, *sizes)))


@pytest.mark.slow
def test_another_process_needs_the_custom_ops_only(detector, file, tmp_path):
    arguments = inputs(2, 96, 160)
    torch.save(arguments, tmp_path / "inputs.pt")
    script = """
import sys, torch, maskrcnn.ops
program = torch.export.load(sys.argv[1]).module()
torch.save(program(*torch.load(sys.argv[2])), sys.argv[3])
imported = sorted(name for name in sys.modules if name.startswith("maskrcnn.") and "ops" not in name)
sys.exit(f"imported {imported}" if {"maskrcnn.model", "maskrcnn.detector"} & set(imported) else 0)
"""
    paths = [str(file), str(tmp_path / "inputs.pt"), str(tmp_path / "outputs.pt")]
    environment = os.environ | {"PYTHONPATH": str(Path(maskrcnn.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", script, *paths], check=True, env=environment)
    assert_same(torch.load(tmp_path / "outputs.pt"), outputs(DetectionProgram(detector.model), arguments))


CHOSEN = ("C4 with strides in res5", "C5", "ResNeXt", "RoIAlign, maximum", "RoIWarp, average", "RoIPool",
          "MLP softmax masks", "pyramids", "Faster R-CNN", "torchvision's background slot")  # fmt: skip
KINDS = {name: VARIANTS[name] for name in CHOSEN} | {
    "feature pyramid": SMALL,
    "keypoints": WITH_KEYPOINTS,
    "strides from the sizes of the maps": change(SMALL, "anchors", stride_from_feature_size=True),
    "sizes that are multiples of nothing": change(SMALL, "image", size_divisor=1),
    "folded norms": change(SMALL, "backbone", norm="batch_frozen"),
}


@pytest.mark.slow
@pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)
def test_all_that_networks_are_made_of(monkeypatch, config: ModelConfig):
    # Networks of random weights are full of boxes that score almost the same, and rounding decides which comes first.
    monkeypatch.setattr(convolution, "LANES", 0)
    torch.manual_seed(0)
    network = MaskRCNN(config).eval()
    content = io.BytesIO()
    torch.export.save(exported(network), content)
    program = torch.export.load(content).module()
    sizes = [*SIZES, (480, 640)]
    if config.image.size_divisor == 1:
        sizes += [(65, 66), (77, 130), (131, 97)]
    for number, size in enumerate(sizes):
        arguments = inputs(1 + number % 3, *size)
        assert_same(outputs(program, arguments), outputs(DetectionProgram(network), arguments))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (SMALL, 96),  # P6 has a stride of 64: two cells begin behind that
        (change(SMALL, "image", size_divisor=64), 128),
        (change(SMALL, "image", size_divisor=1), 65),
        (VARIANTS["C4"], 64),  # a stride of 16
    ],
)
def test_how_small_images_may_be(config, expected):
    assert smallest_side(MaskRCNN(config)) == expected


@pytest.mark.slow
def test_the_exported_network_is_left_as_it_was():
    network = MaskRCNN(SMALL).train()
    exported(network)
    assert network.training and all(parameter.requires_grad for parameter in network.parameters())


# Files


def changed(file: Path, change: Callable[[str, bytes], bytes | None]) -> bytes:
    """The archive with the content that `change` gives for each name; without it if that is None."""
    result = io.BytesIO()
    with zipfile.ZipFile(file) as before, zipfile.ZipFile(result, "w") as after:
        for entry in before.infolist():
            content = change(entry.filename, before.read(entry))
            if content is not None:
                after.writestr(entry.filename, content)
    return result.getvalue()


def described(description: object) -> Callable[[str, bytes], bytes]:
    return lambda name, content: json.dumps(description).encode() if name.endswith("maskrcnn.json") else content


def one_bit(file: Path) -> bytes:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    return bytes(content)


DAMAGES = {
    "truncated or no archive, expected a detector written by": lambda file: b"",
    "found a file that is truncated": lambda file: file.read_bytes()[:-50_000],
    "damaged: .* in it is not what was written": one_bit,
    "no maskrcnn.json in it": lambda file: changed(file, lambda name, old: None if "extra" in name else old),
    "is no description of a detector": lambda file: changed(file, described([])),
    "smallest side 'x', expected a number": lambda file: changed(file, described({"smallest_side": "x"})),
    "cannot be read: .*model": lambda file: changed(file, described({"smallest_side": 96, "config": {"model": 1}})),
    rf"program cannot be read \(written by PyTorch \S+, this is {re.escape(torch.__version__)}\)": lambda file: changed(
        file, lambda name, old: b"{}" if name.endswith("/model.json") else old
    ),
}
"""What is said of a file -> what was done to it."""


@pytest.mark.parametrize("message", DAMAGES)
def test_damaged_files_and_others_are_refused_in_one_line(file, tmp_path, message):
    (tmp_path / "bad.pt2").write_bytes(DAMAGES[message](file))
    with pytest.raises(ValueError, match=rf"bad\.pt2: .*{message}") as refused:
        load_exported(tmp_path / "bad.pt2")
    assert len(str(refused.value).splitlines()) == 1


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"none\.pt2: found no such file, expected an exported detector"):
        load_exported(tmp_path / "none.pt2")


def test_a_file_says_nothing_of_the_machine_it_was_written_on(file):
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            assert str(Path(maskrcnn.__file__).parent).encode() not in archive.read(name), name


@pytest.mark.slow
def test_the_command_writes_what_is_loaded(capsys, tmp_path):
    weights = save_small_weights(tmp_path / "small.safetensors")
    out = tmp_path / "new" / "small.pt2"
    said = run(capsys, "export", weights, "--out", out, "--set", "model.image.long_side=64")
    assert said.startswith(f"{out}: ") and "multiples of 32 from 96 on" in said
    assert load_exported(out).config.model.image.long_side == 64
    refused = mistake(capsys, "predict", out, "photo.jpg", "--out", tmp_path / "found")
    assert "found a program, which `maskrcnn.export.load_exported` reads, expected weights" in refused


def test_the_command_refuses_another_ending_before_any_work(capsys, tmp_path):
    said = mistake(capsys, "export", "no weights", "--out", tmp_path / "small.onnx")
    assert "small.onnx: found the ending '.onnx', expected .pt2" in said
