"""Running a text detector over a data set and scoring what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from maskrcnn.data.loader import Samples
from maskrcnn.detector import Detector
from maskrcnn.evaluation.text_scores import (
    FINE_THRESHOLDS,
    ImageTexts,
    TextScores,
    best_of,
    match_image,
    score_at_thresholds,
    without_ignoring,
)
from maskrcnn.training.distributed import ALONE, Ranks

LOWEST_SCORE = 0.05
"""What scores less is never looked at again, whichever threshold is chosen later."""


@dataclass(frozen=True)
class Evaluation:
    """What a detector found in a data set, and how well that scores."""

    images: tuple[ImageTexts, ...]
    """Ground truths and detections of each picture, in the order of the data set."""
    sweep_ignores: bool = True
    """Whether the sweep ignores don't-care regions (see `maskrcnn.evaluation.protocols`)."""
    unreadable: Mapping[int, str] = field(default_factory=dict)
    """What is wrong with the pictures that could not be read, by their number. Nothing was found in them, so all their
    words are missed: a broken picture cannot raise a score."""

    def at(self, threshold: float) -> TextScores:
        """The official score of the detections with a score of at least `threshold`."""
        return self.curve((threshold,))[0]

    def curve(self, thresholds: Sequence[float] = FINE_THRESHOLDS) -> tuple[TextScores, ...]:
        """The official score at each threshold, for corners in whole pixels, as they are submitted."""
        return score_at_thresholds(map(in_whole_pixels, self.images), thresholds, "official")

    def best_threshold(self) -> float:
        """The threshold with the best official hmean (the lowest of equals), to be used on other pictures."""
        return best_of(self.curve()).threshold

    def sweep(self) -> tuple[TextScores, ...]:
        """MMOCR's seven thresholds by MMOCR's rules; the number that papers quote is the best of them."""
        return score_at_thresholds(self.images if self.sweep_ignores else map(without_ignoring, self.images))

    def ranked(self, threshold: float) -> list[int]:
        """Numbers of the pictures, those with the worst hmean first, among pictures that could be read and have
        something to find."""
        hmeans = {}
        for index, image in enumerate(self.images):
            if index not in self.unreadable and not np.all(image.ignore):
                hmeans[index] = match_image(image.ground_truths, image.ignore, above(image, threshold)).hmean
        return sorted(hmeans, key=hmeans.get)


def in_whole_pixels(image: ImageTexts) -> ImageTexts:
    """The polygons as a result file and an annotation file have them: corners rounded to integers.

    The official rules cut fractions off, which would move everything by half a pixel, up and to the left.
    """
    ground_truths, detections = ([np.rint(p) for p in part] for part in (image.ground_truths, image.detections))
    return replace(image, ground_truths=ground_truths, detections=detections)


def above(image: ImageTexts, threshold: float) -> list[np.ndarray]:
    """The detected polygons of a picture with a score of at least `threshold`, best first."""
    order = np.argsort(-image.scores, kind="stable")
    return [image.detections[index] for index in order if image.scores[index] >= threshold]


def evaluate_texts(
    detector: Detector,
    samples: Samples,
    progress: Callable[[int, int], None] = lambda done, total: None,
    sweep_ignores: bool = True,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """Runs the detector over every picture of a data set; `progress` is told how many are done, and of how many.

    A picture that cannot be read is noted and passed over, if the data set knows its words without it:
    `annotations(index)`, as those of files do. Of several ranks each looks at its share of the pictures; the first
    returns an evaluation of all, the others of none.
    """
    shares = []
    for index in range(ranks.rank, len(samples), ranks.count):
        shares.append(_evaluate_picture(detector, samples, index))
        progress(min(index + ranks.count, len(samples)), len(samples))
    gathered = ranks.gathered(shares)
    unreadable = {index: wrong for index, (_, wrong) in enumerate(gathered) if wrong}
    return Evaluation(tuple(image for image, _ in gathered), sweep_ignores, unreadable)


def _evaluate_picture(detector: Detector, samples: Samples, index: int) -> tuple[ImageTexts, str]:
    """What there is to be found in a picture and what was found, and, if it could not be read, why."""
    try:
        sample = samples[index]
    except ValueError as error:
        if not hasattr(samples, "annotations"):
            raise
        words = samples.annotations(index)
        return ImageTexts(samples.names[index], words.polygons, words.ignore, [], np.zeros(0)), str(error)
    if len(sample.polygons) != len(sample.labels):
        raise ValueError(f"{sample.name}: found a text of several polygons, expected one each")
    found = detector(sample.image, LOWEST_SCORE)
    polygons = [text.polygon for text in found.texts]
    scores = np.array([text.score for text in found.texts])
    return ImageTexts(sample.name, sample.polygons, sample.ignore, polygons, scores), ""
