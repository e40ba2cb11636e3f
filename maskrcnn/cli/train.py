"""`python -m maskrcnn train RECIPE --data DIR --out DIR`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from maskrcnn.data.augmentation import augmentation
from maskrcnn.data.loader import TrainingBatches, training_loader
from maskrcnn.data.sources import open_data
from maskrcnn.detector import find_weights
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.recipes import RECIPES, recipe
from maskrcnn.training.checkpoint import load_into, load_weights, save_weights
from maskrcnn.training.loop import LOG_NAME, TrainingSummary, train
from maskrcnn.visualize import training_curves

HELP = "train a detector by a named recipe"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `train`."""
    parser.add_argument("recipe", metavar="RECIPE", help=f"one of: {', '.join(RECIPES)}")
    parser.add_argument("--data", required=True, metavar="DIR", help='folder of ICDAR2015, or the word "rendered"')
    parser.add_argument("--out", required=True, metavar="DIR", help="where checkpoint, log, curves and weights go")
    parser.add_argument("--split", default="train", help="train, test, or a range such as img_1..img_900")
    parser.add_argument("--resume", action="store_true", help="go on where the run in --out stopped")
    parser.add_argument("--init", metavar="WEIGHTS", help="start from these weights (a file or a shipped name)")
    parser.add_argument(
        "--set", action="append", default=[], dest="settings", metavar="section.key=value", help="change a setting"
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="save and stop after this long")


def run(arguments: argparse.Namespace) -> None:
    """Trains, and leaves weights and curves in the output folder, up to date at every checkpoint."""
    config = recipe(arguments.recipe).override(arguments.settings)
    samples = open_data(arguments.data, arguments.split, config)
    for problem in getattr(samples, "problems", ()):
        print(f"skipped {problem}")
    torch.manual_seed(config.training.seed)
    model = MaskRCNN(config.model)
    if arguments.init:
        path = find_weights(arguments.init)
        load_into(model, load_weights(path)[0], str(path))
    model.to("cuda" if torch.cuda.is_available() else "cpu")

    out = Path(arguments.out)
    batches = TrainingBatches(
        samples,
        augmentation(config.data),
        config.model.image,
        batch_size=config.training.batch_size,
        seed=config.training.seed,
        ignored=config.data.ignored,
    )

    def keep(step: int, weights: dict[str, torch.Tensor]) -> None:
        save_weights(out / "model.safetensors", weights, config, extra={"steps": str(step)})
        training_curves(out / LOG_NAME, out / "curves.png")

    summary: TrainingSummary = train(
        model,
        lambda start: training_loader(
            batches, steps=config.training.steps, start=start, workers=config.training.workers
        ),
        config,
        out,
        resume=arguments.resume,
        on_checkpoint=keep,
        stop_after_seconds=60 * arguments.minutes,
    )
    if summary.stopped_early:
        print(f"stopped by {summary.stopped_by} after {summary.steps} steps; add --resume to go on")
    print(f"{summary.train_seconds:.0f} s; weights: {out / 'model.safetensors'}; curves: {out / 'curves.png'}")
