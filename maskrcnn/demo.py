"""The demo: a text detector trained from nothing, its threshold chosen, then scored on pictures it never saw."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import maskrcnn
from maskrcnn.config import Config
from maskrcnn.data.loader import Remembered, Samples
from maskrcnn.data.rendered_text import DEMO, RenderedText
from maskrcnn.data.sources import training_stream
from maskrcnn.detector import Detector
from maskrcnn.evaluate import evaluate_texts
from maskrcnn.evaluation.text_scores import TextScores
from maskrcnn.files import write_json
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.ops import paste_masks
from maskrcnn.recipes import recipe
from maskrcnn.report import Number, Picture, score_numbers, write_report
from maskrcnn.training.checkpoint import load_weights, save_weights
from maskrcnn.training.loop import CHECKPOINT_NAME, LOG_NAME, WEIGHTS_NAME, train
from maskrcnn.visualize import contact_sheet, draw_detections, precision_recall, training_curves

HELD_OUT = 200
CHOOSING = 100
"""Pictures on which the score threshold is chosen; none of them is held out or trained on."""
ON_THE_SHEET = 12
TRAINING_PICTURES = replace(DEMO, height=(256, 256), width=(256, 256), texts=(3, 10), ignored=(0, 2))
"""Of one size, so that a batch is padded by nothing; fuller than what the demo is scored on: each step sees more."""
PICTURES = ("curves.png", "thresholds.png", "held_out.png")
LEFT = (CHECKPOINT_NAME, LOG_NAME, WEIGHTS_NAME, *PICTURES, "metrics.json", "report.html")
"""All files of a demo."""
LOOKS = 3
"""How often training looks at each picture. Only the first time it has to be drawn; each time it has other colours."""


def held_out_pictures(seed: int) -> RenderedText:
    """The 200 pictures that the demo is scored on; they depend on nothing but the seed."""
    return RenderedText(HELD_OUT, _stream(seed, 2), DEMO)


def run_demo(out: Path, seed: int = 0) -> dict[str, float | int]:
    """Trains, scores and draws; everything goes to the folder `out`, replacing an earlier demo.

    Raises ValueError if the folder holds something else that training has left: that may be a night's work.

    Returns what metrics.json holds: recall, precision, hmean (ICDAR rules, on the held-out pictures), threshold,
    images, train_seconds.
    """
    config = recipe("demo").override([f"training.seed={seed}"])
    out.mkdir(parents=True, exist_ok=True)
    _make_room(out)

    count = max(1, config.training.steps * config.training.batch_size // LOOKS)
    pictures = RenderedText(count, _stream(seed, 0), TRAINING_PICTURES)
    print(f"training {config.training.steps:,} steps on {count} pictures of rendered text")
    model, seconds = _train(config, Remembered(pictures), out)
    training_curves(out / LOG_NAME, out / "curves.png")

    print(f"choosing the score threshold on {CHOOSING} other pictures, then scoring {HELD_OUT} held-out ones")
    detector = Detector(model, config)
    threshold = evaluate_texts(detector, RenderedText(CHOOSING, _stream(seed, 1), DEMO)).best_threshold()
    config = replace(config, text=replace(config.text, score_threshold=threshold))
    detector = Detector(model, config)
    held_out = held_out_pictures(seed)
    evaluation = evaluate_texts(detector, held_out)
    score = evaluation.at(threshold)

    save_weights(out / WEIGHTS_NAME, model.state_dict(), config, extra={"steps": str(config.training.steps)})
    precision_recall(evaluation.curve(), out / "thresholds.png")
    sheet = draw_sheet(detector, held_out, ON_THE_SHEET)
    sheet.save(out / "held_out.png")
    metrics = {
        "recall": score.recall,
        "precision": score.precision,
        "hmean": score.hmean,
        "threshold": threshold,
        "images": HELD_OUT,
        "train_seconds": round(seconds, 1),
    }
    write_json(out / "metrics.json", metrics)
    _write_page(out, config, score, seconds, sheet, seed)
    print(f"recall {score.recall:.3f}, precision {score.precision:.3f}, hmean {score.hmean:.3f}")
    print(f"look at {out / 'report.html'}")
    return metrics


def draw_sheet(detector: Detector, samples: Samples, count: int) -> Image.Image:
    """The first `count` pictures with what the detector finds: polygons outlined, masks tinted."""
    pictures, captions = [], []
    for index in range(count):
        sample = samples[index]
        found = detector(sample.image)
        height, width = found.image.shape[:2]
        shown = found.detections.scores[0] >= detector.config.text.score_threshold
        masks = paste_masks(
            found.detections.masks[0][shown],
            found.detections.boxes[0][shown],
            height=height,
            width=width,
            convention=detector.config.model.mask_head.paste,
        )
        # Outlines and masks are not one to one (an outline may have been suppressed), so all masks are tinted as one.
        tint = np.zeros((len(found.texts), height, width), bool)
        tint[:1] = masks.any(dim=0).numpy()
        pictures.append(draw_detections(found.image, found.texts, tint))
        captions.append(f"{sample.name}: {len(found.texts)} texts")
    return contact_sheet(pictures, columns=4, captions=captions)


def _make_room(out: Path) -> None:
    """Removes what an earlier demo has left in a folder."""
    for name in (CHECKPOINT_NAME, WEIGHTS_NAME):
        if (out / name).exists():
            left_by = load_weights(out / name)[1].name
            if left_by != "demo":
                raise ValueError(f"{out} holds {name} of a training of {left_by}; choose another folder (--out)")
    for name in LEFT:
        (out / name).unlink(missing_ok=True)


def _train(config: Config, pictures: Samples, out: Path) -> tuple[MaskRCNN, float]:
    """The trained network (its averaged weights) and the seconds from the first to the last step."""
    torch.manual_seed(config.training.seed)
    model = MaskRCNN(config.model)
    summary = train(model, training_stream(pictures, config), config, out)
    if summary.stopped_early:
        raise ValueError(f"stopped by {summary.stopped_by} after {summary.steps} of {config.training.steps} steps")
    model.load_state_dict(summary.weights)
    return model, summary.train_seconds


def _stream(seed: int, part: int) -> int:
    """A seed of its own for training (0), choosing (1) and held-out pictures (2)."""
    return 3 * seed + part


def _write_page(out: Path, config: Config, score: TextScores, seconds: float, sheet: Image.Image, seed: int) -> None:
    numbers = [
        *score_numbers(score),
        Number("training", f"{seconds:.0f} s", "From the first to the last step, drawing the pictures included."),
    ]
    pictures = [
        Picture("What it finds", sheet, "Held-out pictures with outlines, scores and masks."),
        Picture("How it learned", out / "curves.png", "Each loss against the training steps."),
        Picture("Where to cut", out / "thresholds.png", "Recall and precision for each score threshold, held-out."),
    ]
    write_report(
        out / "report.html",
        title="A text detector, trained from nothing",
        summary=f"Mask R-CNN learned to find text in {config.training.steps:,} steps and was then scored on {HELD_OUT} "
        "rendered pictures that it had never seen, by the rules of the ICDAR competitions.",
        numbers=numbers,
        pictures=pictures,
        command=f"python -m maskrcnn demo --out {out} --seed {seed}",
        versions={
            "maskrcnn": maskrcnn.__version__,
            "torch": torch.__version__,
            "Python": platform.python_version(),
        },
        settings=config.to_dict(),
    )
