"""`python -m maskrcnn train RECIPE --data DIR --out DIR`."""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from pathlib import Path

import torch

from maskrcnn.cli.arguments import add_data, add_settings, all_settings
from maskrcnn.cli.numbers import duration
from maskrcnn.config import Config, TrainingConfig
from maskrcnn.data.sources import RENDERED, open_data, training_stream
from maskrcnn.detector import available_device, find_weights
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.recipes import RECIPES, recipe
from maskrcnn.settings import ConfigurationError
from maskrcnn.training.checkpoint import load_weights, save_weights
from maskrcnn.training.distributed import Ranks, joined
from maskrcnn.training.loop import CHECKPOINT_NAME, LOG_NAME, WEIGHTS_NAME, TrainingSummary, begins_anew, train
from maskrcnn.training.published import start_from
from maskrcnn.training.schedule import learning_rate
from maskrcnn.visualize import training_curves

try:
    import resource
except ImportError:  # Windows
    resource = None

CURVES_NAME = "curves.png"

HELP = "train a detector by a named recipe"
DETAILS = f"""
recipes: {", ".join(RECIPES)} (maskrcnn/recipes.py)

What is left in the folder, all of it up to date at every checkpoint (training.checkpoint_every):
  {WEIGHTS_NAME}  the weights, for `predict`, `evaluate` and --init
  {CURVES_NAME}         each loss against the steps
  {LOG_NAME}            the same as numbers, a line for each step
  {CHECKPOINT_NAME}      what --resume needs

Ctrl-C saves and stops. The same command with --resume goes on and ends, on a processor, with the same weights to the
last bit; a run that was killed before its first checkpoint begins anew. A GPU is used if there is one.

Several processes, each with a GPU of its own or with some of the processor's cores, share the pictures of each step:
training.batch_size is that of all together, and the weights are those of one process, up to rounding (and up to norms
of kind "batch", whose statistics are of each process's own pictures). A run may be resumed by another number of them.
If one fails, all end; what was wrong stands above the report of torchrun.

examples:
  python -m maskrcnn train coco_small --data data/coco --out runs/objects
  python -m maskrcnn train text_small --data rendered --out runs/rendered --set training.steps=2000
  python -m maskrcnn train text_small --data data/icdar2015 --split img_1..img_900 --out runs/first \\
      --init runs/rendered/{WEIGHTS_NAME} --set training.seed=1 training.batch_size=4
  torchrun --nproc-per-node 8 -m maskrcnn train coco --data data/coco --init resnet50.safetensors --out runs/coco
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `train`."""
    parser.add_argument("recipe", metavar="RECIPE", help=f"one of: {', '.join(RECIPES)}")
    add_data(parser, split="train")
    parser.add_argument("--out", required=True, metavar="DIR", help="where checkpoint, log, curves and weights go")
    parser.add_argument("--resume", action="store_true", help="go on where the run in --out stopped")
    parser.add_argument(
        "--init",
        metavar="WEIGHTS",
        help="start from these weights: a file or a shipped name; an imported ResNet becomes the backbone, and if the "
        "classes are others, what has an output for each of them starts anew",
    )
    add_settings(parser)
    parser.add_argument(
        "--compile", action="store_true", help="run the network through torch.compile: slow to start, then faster"
    )
    parser.add_argument("--minutes", type=duration, default=math.inf, metavar="M", help="save and stop after this long")


def run(arguments: argparse.Namespace) -> None:
    """Trains, and leaves weights and curves in the output folder, up to date at every checkpoint."""
    config = recipe(arguments.recipe).override(all_settings(arguments))
    with joined() as ranks:
        _train(arguments, config, ranks)


def _train(arguments: argparse.Namespace, config: Config, ranks: Ranks) -> None:
    out = Path(arguments.out)
    with ranks.heard_once():
        _warn_of_fixed_norms(config, arguments)
        for steps in ("steps", "warmup_steps"):
            epochs = getattr(config.training, steps.replace("steps", "epochs"))
            if arguments.data == RENDERED and epochs:
                found = f"found {epochs:g} epochs with --data {RENDERED}, which has no end"
                raise ConfigurationError(f"training.{steps}: {found}; expected training.{steps}=N")
        samples = open_data(arguments.data, arguments.split, config, for_training=True)
        config = config.for_classes(samples.class_names).for_pictures(len(samples))
        if config.model.keypoint_head.enabled:
            config = config.for_keypoints(samples.keypoint_names, samples.skeleton)
        batches = training_stream(samples, config, ranks.rank, ranks.count)
        torch.manual_seed(config.training.seed)
        model = MaskRCNN(config.model)
        starts = not arguments.resume or begins_anew(out)
        anew = start_from(model, find_weights(arguments.init)) if arguments.init and starts else ()
        model.to(available_device())

    # Beside the weights, so that a run cannot go on with other pictures than it began with, unnoticed.
    origin = {"data": arguments.data, "split": arguments.split, "pictures": str(len(samples))}
    category_ids = getattr(samples, "category_ids", None)  # what result files of COCO call the classes
    if category_ids:
        origin["category_ids"] = ",".join(map(str, category_ids))
    ranks.from_first(lambda: _check_origin(out / WEIGHTS_NAME, origin, arguments.resume))

    def keep(step: int, weights: dict[str, torch.Tensor]) -> None:
        """What is left in the folder at a checkpoint, beside the checkpoint itself and the log."""
        save_weights(out / WEIGHTS_NAME, weights, config, extra={"steps": str(step), **origin})
        training_curves(out / LOG_NAME, out / CURVES_NAME)

    if ranks.is_first:
        _announce(config.training, len(samples))
        if anew:
            print(f"other classes than in {arguments.init}: {', '.join(anew)} begin with random weights")
    summary = train(
        model,
        batches,
        config,
        out,
        resume=arguments.resume,
        on_checkpoint=keep,
        stop_after_seconds=60 * arguments.minutes,
        ranks=ranks,
        compile=arguments.compile,
    )
    if ranks.is_first:
        _tell(summary, config.training.steps, out)


def _warn_of_fixed_norms(config: Config, arguments: argparse.Namespace) -> None:
    norm = config.model.backbone.norm
    if norm in ("batch_eval", "batch_frozen") and not arguments.init and not arguments.resume:
        warnings.warn(
            f"{config.name} keeps the statistics of its norms (model.backbone.norm={norm}) and so learns little from "
            "random weights; it is meant for a network that knows ImageNet (--init)",
            stacklevel=2,
        )


def _announce(training: TrainingConfig, pictures: int) -> None:
    passes = training.steps * training.batch_size / pictures
    print(f"{training.steps:,} steps of {training.batch_size} pictures: {passes:.3g} times all {pictures:,}")
    highest = max(learning_rate(step, training) for step in range(min(training.steps, training.warmup_steps + 1)))
    warmup = f"after {training.warmup_steps:,} steps of warm-up"
    if training.steps <= training.warmup_steps:
        warmup = f"at the end; the warm-up to {training.learning_rate:g} would take {training.warmup_steps:,} steps"
    print(f"learning rate {highest:g} {warmup}")


def _tell(summary: TrainingSummary, steps: int, out: Path) -> None:
    if summary.steps == 0:
        print(f"stopped by {summary.stopped_by} before the first step; nothing was saved")
        return
    if summary.stopped_early:
        print(f"stopped by {summary.stopped_by} after {summary.steps} of {steps} steps; --resume goes on")
    step_seconds = summary.train_seconds / summary.steps
    print(f"{summary.train_seconds:.0f} s, {step_seconds:.2f} s a step{_peak_memory()}")
    print(f"weights: {out / WEIGHTS_NAME}; curves: {out / CURVES_NAME}")


def _check_origin(weights: Path, origin: dict[str, str], resume: bool) -> None:
    """Raises ValueError if the weights that a run has left are in the way, or are of other pictures."""
    if not weights.exists():
        return
    if not resume:
        raise ValueError(f"{weights.parent} already holds a training run: resume it (--resume) or use another folder")
    try:
        saved = load_weights(weights)[2]
    except ValueError:  # Damaged, perhaps by what interrupted the run: it is written anew from the checkpoint.
        return
    for name in ("split", "pictures"):  # The data itself may have moved.
        if saved.get(name, origin[name]) != origin[name]:
            raise ValueError(f"{weights}: that run's {name} was {saved[name]}, now {origin[name]}")


def _peak_memory() -> str:
    """The most memory that this process has had at once, as text; empty where the system does not say (Windows).

    On a GPU it is the GPU's. Processes that prepare pictures have memory of their own.
    """
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated()
    elif resource is not None:
        # Linux counts in KiB, macOS in bytes.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    else:
        return ""
    return f", at most {peak / 2**30:.2f} GiB of memory at once"
