"""Diagrams: how the training went, what the score threshold trades, what the anchors reach."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from maskrcnn.evaluation.text_scores import TextScores, best_of
from maskrcnn.visualize.canvas import BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILLION

_STYLES = (
    ("#000000", "-"),
    (BLUE, "-"),
    (VERMILLION, "--"),
    (GREEN, "-."),
    (ORANGE, ":"),
    (PURPLE, (0, (6, 1.5, 1.5, 1.5))),
    (SKY_BLUE, (0, (3, 1))),
)
_NOT_LOSSES = ("step", "seconds", "learning_rate", "images_per_second")


def training_curves(log: str | Path, picture: str | Path) -> None:
    """Reads a training log (CSV, one row a step) and draws every loss, and the learning rate below them.

    The columns are step, seconds, learning_rate, images_per_second and one for each loss, `total` among them. Raw
    values are faint; the line is their mean over the last 5 % of the steps. The loss axis is logarithmic: losses
    differ by factors, and what happens late is as visible as the first steps.

    Raises ValueError, with the file's name and line, if the log cannot be read as that.
    """
    columns = _read_log(Path(log))
    losses = [name for name in columns if name not in _NOT_LOSSES]
    steps = columns["step"]
    window = max(1, len(steps) // 20)
    figure = Figure(figsize=(8, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    lowest = math.inf
    for index, name in enumerate(sorted(losses, key=lambda name: name != "total")):
        colour, dashes = _STYLES[index % len(_STYLES)]
        values, smooth = columns[name], _running_mean(columns[name], window)
        lowest = min(lowest, smooth[smooth > 0].min(initial=math.inf))
        marker = "o" if len(steps) < 5 else None
        if window > 1:
            upper.plot(steps, values, color=colour, linewidth=0.6, alpha=0.25)
        label = name.replace("_", " ")
        width = 2.2 if name == "total" else 1.6
        upper.plot(steps, smooth, color=colour, linestyle=dashes, linewidth=width, marker=marker, label=label)
    if len(steps) and any((columns[name] > 0).any() for name in losses):
        upper.set_yscale("log", nonpositive="mask")
        upper.set_ylim(bottom=lowest / 2)  # single steps may be far below what the lines show
        upper.yaxis.set_major_formatter("{x:g}")
    else:
        upper.text(0.5, 0.5, "no steps yet", ha="center", va="center", transform=upper.transAxes)
    upper.set_ylabel("loss")
    if losses:
        figure.legend(loc="outside upper left", ncols=4, frameon=False)
    lower.plot(steps, columns["learning_rate"], color="#444444", linewidth=1.6)
    lower.set_ylabel("learning rate")
    lower.set_ylim(bottom=0)
    lower.set_xlabel("step")
    lower.xaxis.get_major_locator().set_params(integer=True)
    upper.set_title(_pace(columns), loc="left", fontsize=10)
    _save(figure, picture)


def precision_recall(scores: Sequence[TextScores], picture: str | Path) -> None:
    """Draws recall, precision and hmean against the score threshold, and marks the lowest with the best hmean.

    scores: those of one set of images at rising thresholds (`score_at_thresholds`). Raises ValueError without any.
    """
    if not scores:
        raise ValueError("found no scores, expected those of at least one threshold")
    thresholds = [score.threshold for score in scores]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    styles = {"recall": (BLUE, "--", "s"), "precision": (VERMILLION, ":", "^"), "hmean": ("#000000", "-", "o")}
    for name, (colour, dashes, marker) in styles.items():
        values = [getattr(score, name) for score in scores]
        axes.plot(thresholds, values, color=colour, linestyle=dashes, marker=marker, linewidth=2, label=name)
    best = best_of(scores)
    axes.axvline(best.threshold, color="#888888", linewidth=1, zorder=0)
    axes.annotate(
        f"best hmean {best.hmean:.3f} at {best.threshold:g}",
        (best.threshold, 0.02),
        xytext=(6 if best.threshold <= np.mean(thresholds) else -6, 0),
        textcoords="offset points",
        ha="left" if best.threshold <= np.mean(thresholds) else "right",
    )
    axes.set_xlabel("score threshold: what scores less is not counted")
    axes.set_ylim(0, 1.02)
    axes.legend(loc="best", framealpha=0.85)
    _save(figure, picture)


def coverage_by_size(buckets: Sequence[tuple[str, int, int, int]], noun: str, picture: str | Path) -> None:
    """Draws, for each range of object sizes, the share of objects that some anchor overlaps well.

    buckets: name of the range, number of objects, of those with a best IoU of 0.5 or more, and of 0.7 or more, as
    `maskrcnn.anchor_coverage` counts them; noun: what the objects are called.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(buckets))
    counts = np.array([bucket[1:] for bucket in buckets], dtype=float).reshape(-1, 3)
    shares = counts[:, 1:] / np.maximum(counts[:, :1], 1)
    axes.bar(places - 0.2, shares[:, 0], 0.4, color=SKY_BLUE, edgecolor="black", label="best anchor's IoU 0.5 or more")
    axes.bar(
        places + 0.2, shares[:, 1], 0.4, color=BLUE, edgecolor="black", hatch="//", label="0.7 or more: a good example"
    )
    for place, share in zip((places[:, None] + [-0.2, 0.2]).ravel(), shares.ravel(), strict=True):
        axes.annotate(f"{share:.0%}", (place, share), (0, 2), textcoords="offset points", ha="center", fontsize=9)
    axes.set_xticks(places, [f"{bucket[0]}\n{bucket[1]:,} {noun}" for bucket in buckets])
    axes.set_xlabel("size: square root of the box's area, in pixels of the network's input")
    axes.set_ylabel("share that the anchors reach")
    axes.set_ylim(0, 1.1)
    axes.set_yticks(np.linspace(0, 1, 6))
    if buckets:
        figure.legend(loc="outside upper left", ncols=2, frameon=False)
    else:
        axes.text(0.5, 0.5, "no objects to measure", ha="center", va="center", transform=axes.transAxes)
    _save(figure, picture)


def _read_log(log: Path) -> dict[str, np.ndarray]:
    with log.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        # A run that was stopped before its first step leaves an empty file.
        names = next(reader, ["step", "learning_rate"])
        if "step" not in names or "learning_rate" not in names:
            raise ValueError(f"{log}:1: found columns {names}, expected step, learning_rate and losses")
        rows = []
        for row in reader:
            try:
                values = [float(value) for value in row]
            except ValueError as error:
                raise ValueError(f"{log}:{reader.line_num}: {error}") from error
            if len(values) != len(names):
                raise ValueError(f"{log}:{reader.line_num}: found {len(values)} numbers, expected {len(names)}")
            rows.append(values)
    table = np.array(rows).reshape(-1, len(names))
    return {name: table[:, index] for index, name in enumerate(names)}


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of the last `window` values (fewer at the start), of those that are numbers."""
    finite = np.isfinite(values)
    sums = np.cumsum(np.where(finite, values, 0.0))
    counts = np.cumsum(finite)
    earlier = np.maximum(np.arange(len(values)) - window, -1)
    total = sums - np.where(earlier >= 0, sums[earlier], 0.0)
    count = counts - np.where(earlier >= 0, counts[earlier], 0)
    return np.where(count > 0, total / np.maximum(count, 1), math.nan)


def _pace(columns: dict[str, np.ndarray]) -> str:
    if not len(columns["step"]):
        return "training"
    text = f"training: {int(columns['step'][-1]):,} steps"
    if "seconds" in columns:
        seconds = columns["seconds"][-1]
        text += f", {seconds:.0f} s" if seconds < 600 else f", {seconds / 60:.0f} min"
    return text


def _save(figure: Figure, picture: str | Path) -> None:
    for axes in figure.axes:
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, format="png", dpi=110)
