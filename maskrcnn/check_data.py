"""What to know about a data set before training on it: counts, sizes, what is wrong with it, what the anchors reach."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from PIL import Image

from maskrcnn.anchor_coverage import STRIDES, Coverage, measure_coverage
from maskrcnn.config import AnchorConfig, ImageConfig
from maskrcnn.data.loader import DataSet
from maskrcnn.sample import Sample
from maskrcnn.visualize import contact_sheet, coverage_by_size, draw_sample
from maskrcnn.wording import counted

EXAMPLES = 9
"""Pictures that are drawn with their objects."""
PERCENTILES = (0, 5, 25, 50, 75, 95, 100)

_LISTED = 20


@dataclass(frozen=True)
class DataCheck:
    """The findings. `text()` says them in words."""

    noun: str
    """What the objects are called: "words" in a data set of text, otherwise "objects"."""
    images: int
    objects: int
    """All regions, don't-care ones among them."""
    ignored: int
    """Don't-care regions."""
    classes: dict[str, int]
    """How many objects to be found each class has, the most frequent first."""
    only_ignored: tuple[str, ...]
    """Names of the images that have nothing but don't-care regions."""
    empty: tuple[str, ...]
    """Names of the images without any region."""
    picture_sizes: dict[tuple[int, int], int]
    """How many pictures have each (height, width)."""
    heights: np.ndarray
    """(N,) short side, in pixels, of the minimum-area rectangle of each object to be found: the height of a word."""
    widths: np.ndarray
    """(N,) its long side."""
    outside: int
    """Regions of which a corner lies outside the picture."""
    unreadable: tuple[str, ...]
    """One message for each picture that cannot be read: a training stops when it comes to one."""
    problems: tuple[str, ...]
    """What the data set's reader reported, as file:line: what. It stops nobody."""
    skipped: int
    """How many of the problems left something out."""
    coverage: Coverage
    anchors: AnchorConfig
    image: ImageConfig
    examples: tuple[int, ...]
    """Indices of pictures worth drawing: they have objects to be found and are spread evenly over the data set."""

    def text(self) -> str:
        """The findings for a terminal, at most 120 columns wide."""
        return "\n".join([*self._counts(), "", *self._sizes(), *self._problem_lines(), "", *self._coverage_lines()])

    def _counts(self) -> list[str]:
        objects = counted(self.objects, self.noun)
        lines = [f"{counted(self.images, 'images')}, {objects}, {self.ignored:,} of them don't care"]
        if self.only_ignored:
            lines.append(f"  {_named(self.only_ignored)} only don't-care {self.noun}")
        if self.empty:
            lines.append(f"  {_named(self.empty)} no {self.noun} at all")
        if self.objects == self.ignored:
            lines.append(f"  nothing to learn from: not one of the {self.noun} is to be found")
        lines += self._class_lines()
        sizes = sorted(self.picture_sizes.items(), key=lambda item: -item[1])
        listed = ", ".join(f"{width} x {height} ({count:,})" for (height, width), count in sizes[:5])
        more = f" and {counted(len(sizes) - 5, 'more sizes')}" if len(sizes) > 5 else ""
        return [*lines, f"width x height: {listed}{more}"]

    def _class_lines(self) -> list[str]:
        if len(self.classes) < 2:
            return []
        shown = [f"{name} {count:,}" for name, count in self.classes.items() if count]
        lines = _wrapped(f"{len(self.classes)} classes, {self.noun} to be found of {len(shown)}: ", shown)
        missing = [name for name, count in self.classes.items() if not count]
        return lines + _wrapped("  nothing to learn from: ", missing) if missing else lines

    def _sizes(self) -> list[str]:
        if not len(self.heights):
            return []
        legible = f"{counted(len(self.heights), self.noun)} to be found, in pixels of the pictures"
        header = "".join(f"{title:>10}" for title in ("smallest", "5 %", "25 %", "median", "75 %", "95 %", "largest"))
        rows = [f"{legible}:", " " * 16 + header]
        ratios = self.widths / np.maximum(self.heights, 1e-9)
        for title, values in (("height", self.heights), ("width", self.widths), ("width / height", ratios)):
            rows.append(f"  {title:<14}" + "".join(f"{value:10.1f}" for value in np.percentile(values, PERCENTILES)))
        rows.append("  (short and long side of the smallest rectangle around each, however it is turned)")
        return rows

    def _problem_lines(self) -> list[str]:
        lines = [f"{counted(self.outside, self.noun)} not wholly inside the picture"] if self.outside else []
        if self.unreadable:
            lines += _list(f"{counted(len(self.unreadable), 'pictures')} at which training stops:", self.unreadable)
        if self.problems:
            lines += _list(f"{counted(len(self.problems), 'problems')}, {self.skipped:,} skipped:", self.problems)
        if not self.unreadable and not self.problems:
            lines.append("nothing skipped, nothing degenerate")
        return ["", *lines]

    def _coverage_lines(self) -> list[str]:
        coverage = self.coverage
        if not coverage.objects:
            return ["anchor coverage: nothing to measure"]
        sizes, ratios = (
            ", ".join(f"{number:g}" for number in numbers) for numbers in (self.anchors.sizes, self.anchors.ratios)
        )
        lines = [
            f"anchors of sizes {sizes} and height / width {ratios};",
            f"pictures scaled until the short side is {self.image.short_side} or the long side {self.image.long_side}:",
            f"  size in pixels{self.noun:>12}   best IoU >= 0.5   >= 0.7",
        ]
        for bucket in coverage.buckets:
            if bucket.objects:
                shares = f"{bucket.fair / bucket.objects:17.1%} {bucket.good / bucket.objects:8.1%}"
            else:
                shares = f"{'-':>17} {'-':>8}"
            lines.append(f"  {bucket.name:<14}{bucket.objects:12,} {shares}")
        lines.append(f"  {'all':<14}{coverage.objects:12,} {coverage.fair:17.1%} {coverage.good:8.1%}")
        lines += [
            "  (size: square root of the box's area in the network's input. From IoU 0.7 on, an anchor is an example",
            "  of the object; where none reaches that, the best one is taken, a poor start below 0.5)",
        ]
        missed = coverage.wrong_size + coverage.wrong_ratio + coverage.off_grid
        if missed:
            lines.append(
                f"  {counted(missed, self.noun)} below 0.5: {coverage.wrong_size:,} of a size that no anchor has, "
                f"{coverage.wrong_ratio:,} of proportions that none has, {coverage.off_grid:,} between anchors"
            )
        if coverage.alternatives:
            lines.append("what would reach more of them:")
            lines.append(f"  {'':46}best IoU >= 0.5   >= 0.7")
        for alternative in coverage.alternatives:
            lines.append(f"  {alternative.what:<46}{alternative.fair:15.1%} {alternative.good:8.1%}")
            lines += [f"      --set '{setting}'" for setting in alternative.settings]
        return lines


def check(
    dataset: DataSet, anchors: AnchorConfig, image: ImageConfig, strides: Sequence[int] = STRIDES
) -> DataCheck:
    """Looks through a whole data set. All the rest is of the model that is to be trained on it; strides: see
    `measure_coverage`.

    Pictures are not decoded where a data set knows its samples without them: `annotated(index)`, and
    `check_picture(index)`, which raises ValueError if that is not a picture of their size (`maskrcnn.data.coco`). What
    its reader found odd a data set may have as `problems`. A picture that cannot be read is noted and passed over, so
    that one run finds all of them. Raises ValueError if there is not one anchor size for each level.
    """
    sizes: Counter[tuple[int, int]] = Counter()
    polygons, polygon_sizes, only_ignored, empty, with_objects, unreadable = [], [], [], [], [], []
    classes: Counter[int] = Counter()
    objects = outside = 0
    for index, name in enumerate(dataset.names):
        try:
            sample = _read(dataset, index)
        except ValueError as error:
            unreadable.append(str(error))
            continue
        size, found = sample.image.shape[:2], [np.concatenate(parts) for parts in sample.parts]
        sizes[size] += 1
        objects += len(found)
        outside += sum(bool((corners < 0).any() or (corners > size[::-1]).any()) for corners in found)
        legible = [corners for corners, ignored in zip(found, sample.ignore, strict=True) if not ignored]
        classes.update(sample.labels[~sample.ignore].tolist())
        polygons += legible
        polygon_sizes += [size] * len(legible)
        if legible:
            with_objects.append(index)
        else:
            (only_ignored if len(found) else empty).append(name)
    reported = getattr(dataset, "problems", ())
    heights, widths = _rectangle_sides(polygons)
    return DataCheck(
        noun="words" if tuple(dataset.class_names) == ("text",) else "objects",
        images=len(dataset),
        objects=objects,
        ignored=objects - len(polygons),
        classes=_by_frequency(dataset.class_names, classes),
        only_ignored=tuple(only_ignored),
        empty=tuple(empty),
        picture_sizes=dict(sizes),
        heights=heights,
        widths=widths,
        outside=outside,
        unreadable=tuple(unreadable),
        problems=tuple(str(problem) for problem in reported),
        skipped=sum(bool(getattr(problem, "skipped", True)) for problem in reported),
        coverage=measure_coverage(_bounds(polygons), np.array(polygon_sizes).reshape(-1, 2), anchors, image, strides),
        anchors=anchors,
        image=image,
        examples=tuple(with_objects[:: max(1, -(-len(with_objects) // EXAMPLES))]),
    )


def draw_examples(dataset: DataSet, found: DataCheck) -> Image.Image:
    """A sheet of some of the pictures with their objects; one that cannot be read is grey and its caption says why."""
    pictures, captions = [], []
    for index in found.examples:
        try:
            sample = dataset[index]
        except ValueError as error:
            pictures.append(Image.new("RGB", (640, 360), "#BBBBBB"))
            captions.append(str(error))
            continue
        pictures.append(draw_sample(sample, dataset.class_names if len(dataset.class_names) > 1 else ()))
        ignored = f", {sample.ignore.sum()} don't care" if sample.ignore.any() else ""
        captions.append(f"{sample.name}: {counted(len(sample.labels), found.noun)}{ignored}")
    return contact_sheet(pictures, columns=3, captions=captions, cell=640)


def write_pictures(dataset: DataSet, found: DataCheck, folder: str | Path) -> tuple[Path, Path]:
    """Writes the sheet of examples and the diagram of the anchors' coverage into `folder`; returns where they are."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    examples, coverage = folder / "examples.jpg", folder / "anchor_coverage.png"
    draw_examples(dataset, found).save(examples, quality=90)
    buckets = [(bucket.name, bucket.objects, bucket.fair, bucket.good) for bucket in found.coverage.buckets]
    coverage_by_size(buckets, found.noun, coverage)
    return examples, coverage


def _read(dataset: DataSet, index: int) -> Sample:
    if not hasattr(dataset, "annotated"):
        return dataset[index]
    dataset.check_picture(index)
    return dataset.annotated(index)


def _by_frequency(names: Sequence[str], counts: Counter[int]) -> dict[str, int]:
    labels = sorted(range(1, len(names) + 1), key=lambda label: -counts[label])
    return {names[label - 1]: counts[label] for label in labels}


def _rectangle_sides(polygons: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) short and (N,) long sides of the minimum-area rectangle around each of N polygons (P, 2)."""
    if not polygons:
        return np.zeros(0), np.zeros(0)
    owner = np.repeat(np.arange(len(polygons)), [len(corners) for corners in polygons])
    rectangles = shapely.oriented_envelope(shapely.multipoints(np.concatenate(polygons), indices=owner))
    sides = np.zeros((len(polygons), 2))
    for index, rectangle in enumerate(rectangles):
        # Points on one line have a line for a rectangle, and no short side.
        edges = np.hypot(*np.diff(shapely.get_coordinates(rectangle), axis=0).T)[:2]
        sides[index, : len(edges)] = edges
    return sides.min(axis=1), sides.max(axis=1)


def _bounds(polygons: Sequence[np.ndarray]) -> np.ndarray:
    boxes = [np.concatenate([corners.min(axis=0), corners.max(axis=0)]) for corners in polygons]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _wrapped(start: str, entries: Sequence[str]) -> list[str]:
    """Lines of entries with commas between them, at most 116 columns wide."""
    return textwrap.wrap(start + ", ".join(entries), 116, subsequent_indent="  ", drop_whitespace=True)


def _list(title: str, entries: Sequence[str]) -> list[str]:
    """A title with the first few entries below it."""
    more = [f"  ... and {len(entries) - _LISTED:,} more"] if len(entries) > _LISTED else []
    return [title, *(f"  {entry}" for entry in entries[:_LISTED]), *more]


def _named(names: Sequence[str]) -> str:
    """`1 image (img_3.jpg) has` or `12 images (img_3.jpg, img_7.jpg, img_9.jpg, ...) have`."""
    listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{counted(len(names), 'images')} ({listed}) {'has' if len(names) == 1 else 'have'}"
