"""A text detector that runs in a moment, files in the layout of ICDAR2015 for it, and commands as functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from maskrcnn.cli import MISTAKE, main
from maskrcnn.config import Config
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.recipes import recipe
from maskrcnn.training.checkpoint import save_weights

SETTINGS = [
    "model.backbone.depth=14",
    "model.backbone.width=16",  # with 8, PyTorch 2.13 corrupts memory in the gradient of a strided 1 x 1 convolution
    "model.backbone.norm=group",  # random weights mean something only where norms have no memory
    "model.backbone.pyramid_norm=none",
    "model.box_head.norm=none",
    "model.backbone.pyramid_channels=16",
    "model.rpn.candidates_train=60",
    "model.rpn.candidates_test=50",
    "model.rpn.proposals_train=40",
    "model.rpn.proposals_test=30",
    "model.box_head.hidden=32",
    "model.box_head.samples=32",
    "model.mask_head.convolutions=1",
    "model.mask_head.channels=16",
    "model.image.short_side=128",
    "model.image.long_side=128",
    "text.polygon_nms_iou=1",
    "data.crop=96",
    "data.rotation_degrees=0",
    "training.batch_size=2",
    "training.workers=0",
]
"""What makes the recipe text_small smaller still."""

WORDS = (
    ((10, 12, 70, 12, 70, 32, 10, 32), "WORD"),
    ((90, 50, 150, 56, 148, 76, 88, 70), "a, b"),
    ((20, 90, 60, 90, 60, 100, 20, 100), "###"),
)
"""Corners and transcriptions on pictures of 160 x 120 pixels: two legible words and one that is not."""


def small_config(*settings: str) -> Config:
    """text_small with SETTINGS, and then `settings`."""
    return recipe("text_small").override([*SETTINGS, *settings])


def small_model(config: Config, seed: int = 0) -> MaskRCNN:
    """A network with random weights, which finds something everywhere."""
    torch.manual_seed(seed)
    return MaskRCNN(config.model)


def save_small_weights(path: Path, *settings: str, seed: int = 0) -> Path:
    """Random weights of `small_config`, which draw and submit whatever scores 0.2."""
    config = small_config(*settings)
    config = replace(config, text=replace(config.text, score_threshold=0.2))
    save_weights(path, small_model(config, seed).state_dict(), config)
    return path


def picture(seed: int, words: Sequence[tuple[tuple[int, ...], str]] = WORDS) -> np.ndarray:
    """(120, 160, 3) uint8: dark noise, with a bright shape for each word."""
    random = np.random.default_rng(seed)
    image = Image.fromarray(random.integers(0, 80, (120, 160, 3), dtype=np.uint8))
    for corners, text in words:
        ImageDraw.Draw(image).polygon(corners, fill=(130, 120, 110) if text == "###" else (250, 240, 230))
    return np.array(image)


def annotation(words: Sequence[tuple[tuple[int, ...], str]] = WORDS) -> str:
    """The lines of an annotation file."""
    return "".join(",".join(map(str, corners)) + f",{text}\r\n" for corners, text in words)


def write_icdar2015(root: Path, training: int = 3, test: int = 2) -> Path:
    """A data set of `picture`s in the official layout."""
    for pictures, texts, count in (
        ("ch4_training_images", "ch4_training_localization_transcription_gt", training),
        ("ch4_test_images", "Challenge4_Test_Task1_GT", test),
    ):
        (root / pictures).mkdir(parents=True)
        (root / texts).mkdir()
        for number in range(1, count + 1):
            Image.fromarray(picture(number)).save(root / pictures / f"img_{number}.jpg", quality=95)
            (root / texts / f"gt_img_{number}.txt").write_text("\ufeff" + annotation(), "utf-8")
    return root


def run(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """What a command that has to succeed prints to standard output."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return printed.out


def mistake(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """The one line that a command says when it is refused; it starts with the command, and the exit code is 2."""
    capsys.readouterr()
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as left:  # argparse
        code = left.code
    said = capsys.readouterr().err.splitlines()
    assert code == MISTAKE and len(said) == 1, said
    assert said[0].startswith(f"maskrcnn {arguments[0]}: "), said
    return said[0].split(": ", 1)[1]
