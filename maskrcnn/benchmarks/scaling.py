"""How the time of a picture grows with its size, with the batch, with proposals and objects: figures and a picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from maskrcnn.benchmarks.measure import median_seconds
from maskrcnn.benchmarks.network_speed import BASELINE, PEER, Kind, Load, candidates, prepare
from maskrcnn.config import Config
from maskrcnn.visualize.canvas import BLUE, ORANGE, VERMILLION

AXES: dict[str, Sequence[int]] = {
    "size": (256, 384, 512, 640, 800),
    "batch": (1, 2, 4),
    "proposals": (100, 300, 1000, 2000),
    "objects": (1, 10, 50, 200),
}
"""What grows: the short side in pixels (the long one is a third longer), pictures of a batch, proposals of a picture,
and objects of a picture, which matter only in training."""
LABELS = {
    "size": "short side of the picture in pixels",
    "batch": "pictures in a batch",
    "proposals": "proposals of a picture",
    "objects": "objects in a picture",
}
BASE = {"size": 512, "batch": 1, "proposals": 0, "objects": 20}
"""Of what does not grow; proposals 0 are as many as the recipe says."""
COLOURS = {PEER: ORANGE, "float32": BLUE, "bfloat16": VERMILLION}


@dataclass(frozen=True)
class ScalingFigure:
    """What a picture takes at one place of an axis."""

    axis: str
    value: int
    name: str
    """Of the candidate."""
    milliseconds: float


def measure_scaling(kind: Kind, config: Config, device: str, rounds: int) -> Iterator[ScalingFigure]:
    """Along each of AXES, the others as in BASE: torchvision in float32 where it can, and ours in both precisions."""
    chosen = [one for one in candidates(config) if one.library != PEER or one == BASELINE]
    for axis, values in AXES.items():
        if axis == "objects" and kind == "infer":
            continue
        for value in values:
            load = _load(**(BASE | {axis: value}))
            runs = {one.name: prepare(kind, one, config, load, device) for one in chosen}
            for name, seconds in median_seconds(runs, device, rounds).items():
                yield ScalingFigure(axis, value, name, 1e3 * seconds / load.batch)


def _load(size: int, batch: int, proposals: int, objects: int) -> Load:
    return Load(size, -(-size * 4 // 3 // 32) * 32, batch, objects, proposals)


def draw_scaling(figures: Iterable[ScalingFigure], kind: Kind, path: Path) -> None:
    """A panel for each axis, a line for each candidate; straight lines through 0 would be time in proportion."""
    figures = list(figures)
    axes = list(dict.fromkeys(figure.axis for figure in figures))
    picture = Figure(figsize=(4.2 * len(axes), 3.8), layout="constrained")
    for panel, axis in zip(picture.subplots(1, len(axes), squeeze=False)[0], axes, strict=True):
        of_axis = [figure for figure in figures if figure.axis == axis]
        for name in dict.fromkeys(figure.name for figure in of_axis):
            points = [(figure.value, figure.milliseconds) for figure in of_axis if figure.name == name]
            library, _, precision = name.partition(", ")
            colour = COLOURS[library if library == PEER else precision]
            panel.plot(*zip(*points, strict=True), color=colour, marker="o", label=name)
        panel.set_xlabel(LABELS[axis])
        panel.set_xlim(left=0)
        panel.set_ylim(bottom=0)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", alpha=0.3)
        if axis == axes[0]:
            what = "inference" if kind == "infer" else "a training step"
            panel.set_ylabel(f"milliseconds of {what}, for a picture")
            panel.legend(frameon=False, loc="upper left")
    picture.savefig(path, dpi=100)
