"""Pictures with what is in them, what was found in them, and what the score made of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from maskrcnn.evaluation.text_scores import ImageMatches
from maskrcnn.objects import FoundObject, mask_of
from maskrcnn.sample import Sample
from maskrcnn.visualize.canvas import (
    BLUE,
    DASHED,
    DOTTED,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    VERMILLION,
    YELLOW,
    Canvas,
    Stroke,
    printable,
    typeface,
)
from maskrcnn.visualize.skeletons import CONFIDENT_SCORE, draw_figures

Skeleton = Sequence[tuple[str, str]]
"""Pairs of keypoint names that a line joins."""

_CLASS_COLOURS = (YELLOW, SKY_BLUE, ORANGE, PURPLE, GREEN, VERMILLION, BLUE)
_DONT_CARE = Stroke(GREY, DASHED, 0.8)
_FOUND, _MISSED, _FALSE = Stroke(SKY_BLUE), Stroke(YELLOW, DASHED, 1.2), Stroke(VERMILLION, DOTTED, 1.5)


def draw_sample(
    sample: Sample,
    class_names: Sequence[str] = (),
    transcriptions: bool = False,
    skeleton: Skeleton = (),
) -> Image.Image:
    """The picture with its ground truth: objects solid in the colour of their class, don't-care dashed and hatched.

    `class_names` writes what they are beside the objects, `transcriptions` the text beside legible words; keypoints
    are drawn where there are any, joined by `skeleton`, pairs of their names.
    """
    canvas, parts = Canvas(sample.image), sample.parts
    for index in np.flatnonzero(sample.ignore):
        for polygon in parts[index]:
            _draw_dont_care(canvas, polygon)
    legible = np.flatnonzero(~sample.ignore)
    colours = [_class_colour(int(label)) for label in sample.labels]
    for index in legible:
        for polygon in parts[index]:
            canvas.outline(polygon, Stroke(colours[index]))
    if sample.keypoints is not None:
        draw_figures(canvas, sample.keypoints, sample.keypoint_names, skeleton)
    texts = [class_names[label - 1] for label in sample.labels] if class_names else ()
    for index in legible if texts or (transcriptions and sample.transcriptions) else ():
        text = texts[index] if texts else sample.transcriptions[index]
        canvas.label(text, np.concatenate(parts[index]), colours[index])
    return canvas.picture


def draw_detections(
    image: np.ndarray,
    shapes: Sequence[tuple[np.ndarray, float]],
    masks: Sequence[np.ndarray] | None = None,
    labels: Sequence[int] | None = None,
    class_names: Sequence[str] = (),
) -> Image.Image:
    """The picture with each detection's outline, tinted inside, and its score.

    image (H, W, 3) uint8; shapes: N outlines (P, 2) in pixels, with their scores; masks: N arrays (H, W) bool, tinted
    instead of the outlines' insides; labels: N classes, 1 is the first, each in its own colour; with `class_names`
    the name stands before the score.
    """
    canvas = Canvas(image)
    classes = [1] * len(shapes) if labels is None else [int(label) for label in labels]
    colours = [_class_colour(label) for label in classes]
    for index, (polygon, _) in enumerate(shapes):
        if masks is None:
            canvas.fill(polygon, colours[index], opacity=0.25)
        else:
            canvas.tint(masks[index], colours[index], opacity=0.35)
    for (polygon, _), colour in zip(shapes, colours, strict=True):
        canvas.outline(polygon, Stroke(colour))
    # The best scores first: they get their places before the crowd does.
    for index in sorted(range(len(shapes)), key=lambda index: -shapes[index][1]):
        polygon, score = shapes[index]
        name = f"{class_names[classes[index] - 1]} " if class_names else ""
        canvas.label(f"{name}{score:.2f}", polygon, colours[index])
    return canvas.picture


def draw_objects(
    image: np.ndarray, objects: Sequence[FoundObject], keypoint_names: Sequence[str] = (), skeleton: Skeleton = ()
) -> Image.Image:
    """The picture with objects that were found: box, class and score, the mask tinted, keypoints as a figure.

    image (H, W, 3) uint8; objects best first; keypoint_names of J points, and the pairs of them that are joined.
    """
    canvas = Canvas(image)
    colours = [_class_colour(one.label) for one in objects]
    boxes = [one.box[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2) for one in objects]
    for one, colour in zip(objects, colours, strict=True):
        if one.mask is not None:
            canvas.tint(mask_of(one), colour, opacity=0.35)
    for box, colour in zip(boxes, colours, strict=True):
        canvas.outline(box, Stroke(colour))
    figures = [one.keypoints for one in objects if one.keypoints is not None]
    if figures:
        draw_figures(canvas, np.stack(figures), keypoint_names, skeleton, CONFIDENT_SCORE)
    for one, box, colour in zip(objects, boxes, colours, strict=True):
        canvas.label(f"{one.name} {one.score:.2f}", box, colour)
    return canvas.picture


def draw_matches(
    image: np.ndarray, ground_truths: Sequence[np.ndarray], detections: Sequence[np.ndarray], matches: ImageMatches
) -> Image.Image:
    """The picture as the score sees it, with a legend that counts: found, missed, false, don't care.

    image (H, W, 3) uint8; ground_truths: G outlines (P, 2), don't-care ones among them; detections: D outlines (P, 2);
    matches: what `maskrcnn.evaluation.text_scores.match_image` says about these. A word that was found is drawn as the
    detection has it. Detections inside don't-care regions, which count neither way, are thin and grey.
    Raises ValueError if `matches` is about another number of outlines.
    """
    shapes = len(matches.matched_detection), len(matches.matched_ground_truth)
    if shapes != (len(ground_truths), len(detections)):
        raise ValueError(
            f"found {len(ground_truths)} ground truths and {len(detections)} detections, matches of {shapes}"
        )
    canvas = Canvas(image)
    found = matches.matched_ground_truth >= 0
    missed = (matches.matched_detection < 0) & ~matches.ignore
    false = ~found & ~matches.ignored
    for index in np.flatnonzero(matches.ignore):
        _draw_dont_care(canvas, ground_truths[index])
    for index in np.flatnonzero(matches.ignored):
        canvas.outline(detections[index], Stroke(GREY, width=0.6))
    for polygons, chosen, stroke in (
        (detections, found, _FOUND),
        (ground_truths, missed, _MISSED),
        (detections, false, _FALSE),
    ):
        for index in np.flatnonzero(chosen):
            canvas.outline(polygons[index], stroke)
    entries = [
        (_FOUND, f"{found.sum()} found"),
        (_MISSED, f"{missed.sum()} missed"),
        (_FALSE, f"{false.sum()} false"),
        (_DONT_CARE, f"{matches.ignore.sum()} don't care"),
    ]
    return canvas.with_legend(entries)


def contact_sheet(
    images: Sequence[Image.Image | np.ndarray], columns: int = 4, captions: Sequence[str] = (), cell: int = 400
) -> Image.Image:
    """Many pictures on one white sheet, row by row, each within `cell` x `cell` pixels, its caption below it.

    Raises ValueError when there are captions for another number of pictures.
    """
    if captions and len(captions) != len(images):
        raise ValueError(f"{len(images)} pictures but {len(captions)} captions")
    font = typeface(max(14, cell // 28))
    gap, line = 12, round(font.size * 1.8) if captions else 0
    scaled = [_within(picture, cell) for picture in images]
    rows = [scaled[start : start + columns] for start in range(0, len(scaled), columns)]
    heights = [max(picture.height for picture in row) for row in rows]
    width = gap + (cell + gap) * min(columns, max(len(images), 1))
    sheet = Image.new("RGB", (width, gap + sum(height + line + gap for height in heights)), "white")
    draw = ImageDraw.Draw(sheet)
    y = gap
    for row_index, (row, height) in enumerate(zip(rows, heights, strict=True)):
        for column, picture in enumerate(row):
            x = gap + column * (cell + gap)
            sheet.paste(picture, (x, y))
            if captions:
                caption = printable(captions[row_index * columns + column])
                draw.text((x, y + picture.height + line / 2), caption, "#333333", font, anchor="lm")
        y += height + line + gap
    return sheet


def _draw_dont_care(canvas: Canvas, polygon: np.ndarray) -> None:
    canvas.fill(polygon, "white", opacity=0.5, hatched=True)
    canvas.outline(polygon, _DONT_CARE)


def _class_colour(label: int) -> str:
    return _CLASS_COLOURS[(label - 1) % len(_CLASS_COLOURS)]


def _within(picture: Image.Image | np.ndarray, side: int) -> Image.Image:
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    scale = side / max(picture.size)
    size = tuple(max(1, round(length * scale)) for length in picture.size)
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
