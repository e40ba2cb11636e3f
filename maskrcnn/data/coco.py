"""COCO, and what else is annotated in its format: objects of many classes, as polygons or bitmaps; keypoints of people.

What the annotation file may contain is in `coco_annotations.py`, where it and the pictures may lie in `coco_files.py`.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskrcnn.data.bitmap_outlines import bitmap_outlines
from maskrcnn.data.coco_annotations import CocoAnnotations, CocoObject, read_annotations
from maskrcnn.data.coco_files import find_annotations, find_pictures
from maskrcnn.data.images import EncodedPicture
from maskrcnn.data.undecoded import UndecodedSample, black
from maskrcnn.ops import run_length
from maskrcnn.ops.run_length import RunLengths
from maskrcnn.sample import Sample

SMALLEST_SIDE = 1.0
"""Pixels. Objects with a box shorter or narrower are left out, as in MMDetection: nothing of them can be seen."""
LABELLED_KEYPOINTS = 10
"""So many keypoints a picture must show in all to teach where they are (torchvision), or all J of one object."""
_BOX_TOLERANCE = 2.0
_CORNERS = np.array([[1.0, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]])
"""x, y, width, height @ _CORNERS = x1, y1, x2, y2."""


@dataclass(frozen=True)
class Problem:
    """Something odd in the data that does not stop anybody, and what was done about it."""

    file: str
    annotation: int | None
    """The id of the annotation; None means the whole file."""
    what: str
    skipped: bool
    """Whether the object was left out."""

    def __str__(self) -> str:
        place = "" if self.annotation is None else f"annotation {self.annotation}: "
        return f"{self.file}: {place}{self.what}"


class COCO:
    """The data set: the annotation file is read and checked at once, a picture when its sample is asked for.

    Labels are 1 to K in the order of the category ids, whatever the gaps between them. Crowds are don't-care regions.
    The box of an object is that of its outline, which every transform moves exactly, not the `bbox` of the file,
    which says the same, rounded; where the two differ by more than 2 pixels, that is one of the `problems`. A mask
    that is given as pixels becomes an outline that draws the very same pixels; an object without a mask has its box
    for one, as people may who are there for their keypoints.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        split: str = "train",
        *,
        keypoints: bool = False,
        for_training: bool = False,
        pictures: bool = True,
    ) -> None:
        """Reads the annotations below `root`, or in the file of that name; warns once if something is left out.

        keypoints: read those of people, from a file of its own (`person_keypoints_...`).
        for_training: leave out the pictures without any object to be found, or, with keypoints, without enough of
        them; torchvision and MMDetection do so, too.
        pictures: look for them; without, there is only what is `annotated`.
        Raises ValueError, naming the annotation, for a file that is not what it should be, and for missing pictures.
        """
        path = find_annotations(root, split, keypoints)
        self.file = read_annotations(path)
        """What stands in the annotation file, all of it."""
        names = [image.file_name for image in self.file.images]
        self._folder = find_pictures(path, root, names) if pictures else path.parent
        self.class_names = _class_names(self.file)
        self.category_ids = tuple(category.id for category in self.file.categories)
        """The id of each class in the file: that of label i + 1 is category_ids[i]."""
        self.keypoint_names = _keypoint_names(self.file) if keypoints else ()
        """Of the J keypoints of each object, none unless asked for."""
        self.skeleton = _skeleton(self.file) if keypoints else ()
        """Pairs of those names that pictures join by a line."""
        self._label_of = {category_id: index + 1 for index, category_id in enumerate(self.category_ids)}

        self.problems: tuple[Problem, ...] = tuple(_problems(self.file))
        """Everything odd that does not stop anybody."""
        skipped = {problem.annotation for problem in self.problems if problem.skipped}
        self._objects: dict[int, list[CocoObject]] = {image.id: [] for image in self.file.images}
        for found in self.file.objects:
            if found.id not in skipped:
                self._objects[found.image_id].append(found)
        self._images = [
            image for image in self.file.images if not for_training or self._teaches(self._objects[image.id])
        ]
        self.names: list[str] = [image.file_name for image in self._images]
        self.image_ids = tuple(image.id for image in self._images)
        """The id of each picture in the file."""
        self._warn(path, len(skipped), len(self.file.images) - len(self._images))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """The sample, with its picture freshly read.

        Raises ValueError for a picture that cannot be read, or is not of the size that the annotations are for.
        """
        return self.undecoded(index).decoded()

    def picture_size(self, index: int) -> tuple[int, int]:
        """Height and width for which a picture is annotated."""
        return self._images[index].height, self._images[index].width

    def undecoded(self, index: int) -> UndecodedSample:
        """The sample, of whose picture only the header is read. Raises ValueError as for the sample itself, but for
        pixels that are damaged."""
        return UndecodedSample(self.annotated(index), self._picture(index))

    def annotated(self, index: int) -> Sample:
        """The sample without its picture, which is `black`."""
        image = self._images[index]
        objects = self._objects[image.id]
        outlines = [_outlines(found) for found in objects]
        return Sample(
            name=image.file_name,
            image=black(image.height, image.width),
            polygons=tuple(polygon for parts in outlines for polygon in parts),
            labels=np.array([self._label_of[found.category_id] for found in objects], dtype=np.int64),
            ignore=np.array([found.crowd for found in objects], dtype=bool),
            part_of=np.repeat(np.arange(len(objects)), [len(parts) for parts in outlines]),
            keypoints=self._keypoints(objects) if self.keypoint_names else None,
            keypoint_names=self.keypoint_names,
        )

    def check_picture(self, index: int) -> None:
        """Raises ValueError for a picture that is missing or of another size than the annotations say.

        Only the beginning of the file is looked at, in which its size stands.
        """
        self._picture(index)

    def _picture(self, index: int) -> EncodedPicture:
        image, name = self._images[index], self.names[index]
        picture = EncodedPicture(self._folder / name, name)
        picture.check_size(image.height, image.width, f"image {image.id} of {self.file.path.name}")
        return picture

    def _keypoints(self, objects: Sequence[CocoObject]) -> np.ndarray:
        """(G, J, 3), zeros where nothing is labelled."""
        keypoints = np.zeros((len(objects), len(self.keypoint_names), 3))
        for index, found in enumerate(objects):
            if found.keypoints is not None and len(found.keypoints) == keypoints.shape[1]:
                labelled = found.keypoints[:, 2:] > 0
                keypoints[index] = np.where(labelled, found.keypoints, 0.0)
        return keypoints

    def _teaches(self, objects: Sequence[CocoObject]) -> bool:
        wanted = [found for found in objects if not found.crowd]
        if not self.keypoint_names:
            return bool(wanted)
        return sum(found.keypoint_count for found in wanted) >= min(LABELLED_KEYPOINTS, len(self.keypoint_names))

    def _warn(self, path: Path, objects: int, pictures: int) -> None:
        left_out = []
        if pictures:
            lacking = "enough keypoints" if self.keypoint_names else "an object to be found"
            left_out.append(f"{pictures} of {len(self.file.images)} pictures without {lacking}")
        if objects:
            first = next(problem for problem in self.problems if problem.skipped)
            left_out.append(f"{objects} of {len(self.file.objects)} objects ({first})")
        if left_out:
            warnings.warn(f"{path}: left out {' and '.join(left_out)}", stacklevel=3)


def _class_names(file: CocoAnnotations) -> tuple[str, ...]:
    names = tuple(category.name for category in file.categories)
    if not names:
        raise ValueError(f"{file.path}: found no categories, expected at least one class of objects")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        ids = ", ".join(str(category.id) for category in file.categories if category.name == twice[0])
        raise ValueError(f"{file.path}: found categories {ids} all called {twice[0]!r}, expected different names")
    return names


def _keypoint_names(file: CocoAnnotations) -> tuple[str, ...]:
    found = {category.keypoint_names for category in file.categories if category.keypoint_names}
    if not found:
        raise ValueError(f"{file.path}: found no category with keypoints, expected their names in one")
    if len(found) > 1:
        counts = " and ".join(sorted({str(len(names)) for names in found}))
        raise ValueError(f"{file.path}: found categories with different keypoints ({counts}), expected the same in all")
    (names,) = found
    return names


def _skeleton(file: CocoAnnotations) -> tuple[tuple[str, str], ...]:
    category = next(category for category in file.categories if category.keypoint_names)
    names = category.keypoint_names
    return tuple((names[start], names[end]) for start, end in category.skeleton)


def _outlines(found: CocoObject) -> Sequence[np.ndarray]:
    """The polygons (P, 2) of an object, at least one."""
    if isinstance(found.segmentation, RunLengths):
        return _drawn_again(found.segmentation)
    if found.segmentation:
        return found.segmentation
    x, y, width, height = found.box
    return [np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])]


def _drawn_again(code: RunLengths) -> list[np.ndarray]:
    x1, y1, x2, y2 = run_length.box([code])[0].astype(int)
    outlines = bitmap_outlines(run_length.decode([code])[0][y1:y2, x1:x2])
    corner = np.array([x1, y1])
    return [corner + outline for outline in outlines]


def _problems(file: CocoAnnotations) -> list[Problem]:
    """What cannot be learnt, and what looks wrong, in the order of the annotations; what concerns all of them last."""
    problems, name, objects = [], file.path.name, file.objects
    boxes = np.array([found.box for found in objects]).reshape(-1, 4)
    too_small = boxes[:, 2:].min(axis=1, initial=np.inf) < SMALLEST_SIDE
    mask_boxes = _mask_boxes(objects)  # NaN without a mask
    empty = (np.array([found.area for found in objects]) <= 0) | (mask_boxes[:, 2:] <= mask_boxes[:, :2]).any(axis=1)
    apart = np.abs(mask_boxes - boxes @ _CORNERS).max(axis=1, initial=0) > _BOX_TOLERANCE
    for index in np.flatnonzero(too_small | empty | apart).tolist():
        x, y, width, height = boxes[index].tolist()
        skipped = True
        if too_small[index]:
            what = f"found a box of {width:g} x {height:g} pixels, too small to be seen; skipped"
        elif empty[index]:
            what = "found a mask without area; skipped"
        else:
            own = (mask_boxes[index] @ np.linalg.inv(_CORNERS)).round(2).tolist()
            what = f"found bbox {[x, y, width, height]}, but its mask reaches over {own}, which is taken"
            skipped = False
        problems.append(Problem(name, objects[index].id, what, skipped))
    without = [found.id for found in objects if found.segmentation is None]
    if without:
        what = f"found {len(without)} objects without a mask, the first of them annotation {without[0]}: boxes instead"
        problems.append(Problem(name, None, what, False))
    return problems


def _mask_boxes(objects: Sequence[CocoObject]) -> np.ndarray:
    """(N, 4) x1, y1, x2, y2 of the mask of each of N objects, NaN where there is none; of all points at once."""
    boxes = np.full((len(objects), 4), np.nan)
    codes = [index for index, found in enumerate(objects) if isinstance(found.segmentation, RunLengths)]
    boxes[codes] = run_length.box([objects[index].segmentation for index in codes])
    drawn = [index for index, found in enumerate(objects) if isinstance(found.segmentation, tuple)]
    if drawn:
        points = [np.concatenate(objects[index].segmentation) for index in drawn]
        starts = np.cumsum([0, *map(len, points[:-1])])
        boxes[drawn, :2] = np.minimum.reduceat(np.concatenate(points), starts)
        boxes[drawn, 2:] = np.maximum.reduceat(np.concatenate(points), starts)
    return boxes
