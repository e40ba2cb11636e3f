"""Diagrams of average precision: precision against recall, the classes, and what the mistakes cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maskrcnn.evaluation.average_precision import RECALLS, THRESHOLDS, AveragePrecision
from maskrcnn.evaluation.detection_errors import KINDS, DetectionErrors
from maskrcnn.visualize.canvas import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY_BLUE, VERMILLION, printable

_CURVES = ((0.5, BLUE, "-"), (0.75, VERMILLION, "--"), (0.9, GREEN, ":"))
_LARGEST_CLASSES = 4
_CLASS_STYLES = ((BLUE, "-"), (VERMILLION, "--"), (GREEN, "-."), (PURPLE, (0, (6, 1.5, 1.5, 1.5))))
_NAMES = {
    "right": "right",
    "localisation": "localisation: beside the object",
    "class": "class: on an object of another one",
    "duplicate": "duplicate: object taken already",
    "background": "background: anything else",
}


def precision_recall_of_classes(result: AveragePrecision, names: Sequence[str], picture: str | Path) -> None:
    """Draws precision against recall: the mean of all classes at three thresholds, and the classes at the lowest.

    names: of the K classes. Those with the most ground truths are named, the others are thin and grey.
    """
    there = np.flatnonzero(result.ground_truths[0])
    several = len(there) > 1
    figure = Figure(figsize=(11, 5) if several else (6.5, 5), layout="constrained")
    panels = figure.subplots(1, 2 if several else 1, sharey=True, squeeze=False)[0]
    what = "similarity" if result.kind == "keypoints" else "IoU"
    for threshold, colour, dashes in _CURVES:
        precision = result.precision[0, int(np.abs(THRESHOLDS - threshold).argmin())][:, there]
        if len(there):
            label = f"{what} {threshold:g} or more: AP {precision.mean():.3f}"
            panels[0].plot(RECALLS, precision.mean(axis=1), color=colour, linestyle=dashes, linewidth=2, label=label)
    title = f"Mean of {len(there)} classes" if several else ", ".join(_plain(names[index]) for index in there)
    panels[0].set_title(title, loc="left", fontsize=11)
    panels[0].set_ylabel("precision: share of the detections that is right")
    if several:
        _draw_classes(panels[1], result, names, f"Classes at {what} 0.5")
    for axes in panels:
        axes.set_xlabel("recall: share of the objects that is found")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        _finish(axes, empty=not len(there))
        if len(there):
            axes.legend(loc="best", framealpha=0.9, fontsize=9)
    figure.savefig(picture, format="png", dpi=110)


def _draw_classes(axes: Axes, result: AveragePrecision, names: Sequence[str], title: str) -> None:
    """Precision of each class at the lowest threshold."""
    there = np.flatnonzero(result.ground_truths[0])
    largest = there[np.argsort(-result.ground_truths[0][there], kind="stable")][:_LARGEST_CLASSES]
    for index in there:
        if index not in largest:
            axes.plot(RECALLS, result.precision[0, 0, :, index], color=GREY, linewidth=0.7)
    for index, (colour, dashes) in zip(largest, _CLASS_STYLES, strict=False):
        precision = result.precision[0, 0, :, index]
        label = f"{_plain(names[index])}: AP50 {precision.mean():.3f}"
        axes.plot(RECALLS, precision, color=colour, linestyle=dashes, linewidth=2, label=label)
    others = f"; {len(there) - len(largest)} others grey" if len(there) > len(largest) else ""
    axes.set_title(f"{title}: the most frequent{others}", loc="left", fontsize=11)


def class_scores(result: AveragePrecision, names: Sequence[str], picture: str | Path) -> None:
    """Draws AP and AP50 of each class that has ground truth, best first, with how many there are."""
    there = np.flatnonzero(result.ground_truths[0])
    mean = result.precision[0].mean(axis=(0, 1))
    at_50 = result.precision[0, 0].mean(axis=0)
    order = there[np.argsort(-mean[there], kind="stable")]
    rows = max(len(order), 3)
    figure = Figure(figsize=(8, 1.8 + 0.24 * rows), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(order))
    axes.barh(places, mean[order], 0.65, color=SKY_BLUE, edgecolor="black", linewidth=0.6, label="AP")
    marks = {"color": VERMILLION, "markeredgecolor": "black", "markersize": 5, "clip_on": False}
    axes.plot(at_50[order], places, "D", label="AP50", **marks)
    # In columns beside the bars, where no mark hides them.
    for column, title, values in ((1.04, "AP", mean), (1.12, "AP50", at_50)):
        axes.text(column, -1, title, ha="center", va="center", fontsize=8)
        for place, index in zip(places, order, strict=True):
            axes.text(column, place, f"{values[index]:.2f}", ha="center", va="center", fontsize=8)
    labels = [f"{_plain(names[index])} ({result.ground_truths[0, index]:,})" for index in order]
    axes.set_yticks(places, labels, fontsize=8)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel("average precision")
    absent = result.ground_truths.shape[1] - len(order)
    without = f"; {absent} more have none" if absent else ""
    axes.set_title(f"Classes, best first, with the number of their objects{without}", loc="left", fontsize=11, pad=24)
    _finish(axes, empty=not len(there))
    if len(there):
        handles, texts = axes.get_legend_handles_labels()
        order_of_legend = np.argsort(texts)
        axes.legend(
            [handles[index] for index in order_of_legend], [texts[index] for index in order_of_legend],
            loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderaxespad=0.1,
        )  # fmt: skip
    figure.savefig(picture, format="png", dpi=110)


def error_breakdown(errors: DetectionErrors, ap50: float, picture: str | Path) -> None:
    """Draws what the best detections are, and by how much AP50 would rise if a kind of mistake were mended."""
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    colours = dict(zip(("right", *KINDS, "missed"), (SKY_BLUE, ORANGE, PURPLE, GREEN, GREY, VERMILLION), strict=True))
    hatches = dict(zip(("right", *KINDS, "missed"), ("", "//", "\\\\", "xx", "", ".."), strict=True))
    names = _NAMES | {"missed": f"missed: {errors.missed.sum():,} objects not found"}
    total = sum(int(counts.sum()) for counts in errors.best.values())
    counts = {name: int(values.sum()) for name, values in errors.best.items()}
    values = ((left, counts, "{:,.0f}"), (right, {name: errors.costs[name] for name in (*KINDS, "missed")}, "{:+.3f}"))
    for axes, bars, form in values:
        places = np.arange(len(bars))
        for place, (name, value) in zip(places, bars.items(), strict=True):
            axes.barh(place, value, 0.7, color=colours[name], hatch=hatches[name], edgecolor="black", linewidth=0.6)
            axes.annotate(
                form.format(value), (max(value, 0), place), (4, 0), textcoords="offset points", va="center", fontsize=9
            )
        axes.set_yticks(places, [names[name] for name in bars])
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.margins(x=0.15)
        _finish(axes, empty=False)
    left.set_title(f"What the {total:,} best detections are", loc="left", fontsize=11)
    left.set_xlabel("detections: of each class as many as it has objects")
    right.set_title("What mending each kind adds to AP50", loc="left", fontsize=11)
    right.set_xlabel(f"rise of AP50 from {ap50:.3f}; they do not add up")
    right.set_xlim(left=min(0.0, *errors.costs.values()))
    figure.savefig(picture, format="png", dpi=110)


def _plain(name: str) -> str:
    """A class's name as it stands: between dollar signs, matplotlib would read mathematics."""
    return printable(name).replace("$", r"\$")


def _finish(axes: Axes, empty: bool) -> None:
    if empty:
        axes.text(0.5, 0.5, "no ground truth", ha="center", va="center", transform=axes.transAxes)
    axes.grid(axis="both" if axes.lines else "x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
