"""What `python -m maskrcnn score` does with the text benchmarks, and how their scores are said."""

from __future__ import annotations

import argparse
import json
import warnings
from functools import partial

from maskrcnn.data.icdar2017 import parse_icdar2017
from maskrcnn.evaluation.own_text_scores import pascal_scores, text_average_precision
from maskrcnn.evaluation.protocols import PROTOCOLS
from maskrcnn.evaluation.result_files import read_image_texts
from maskrcnn.evaluation.text_scores import (
    ImageTexts,
    TextScores,
    best_of,
    score_at_thresholds,
    score_texts,
    without_ignoring,
)
from maskrcnn.wording import counted


def score_benchmark(arguments: argparse.Namespace) -> None:
    """Prints recall, precision and hmean: the official rules, unless others are asked for."""
    protocol = PROTOCOLS[arguments.protocol]
    if arguments.script:
        protocol = protocol._replace(parse=partial(parse_icdar2017, script=arguments.script))
    images = read_image_texts(arguments.ground_truth, arguments.results, protocol)
    if not any(image.detections for image in images):
        pictures = f"any picture of {arguments.ground_truth}"
        warnings.warn(f"{arguments.results}: found no result for {pictures}; is it the right path?", stacklevel=2)
    more = {}
    if arguments.sweep:
        sweep = score_at_thresholds(images if protocol.sweep_ignores else map(without_ignoring, images))
        best = best_of(sweep)
        if not arguments.json:
            print(score_table(sweep, best))
    elif arguments.pascal:
        best = pascal_scores(images)
    else:
        best = score_texts(images, "official", arguments.threshold)
        if arguments.protocol == "icdar2017" and arguments.threshold is None and _all_scored(images):
            more = {"average_precision": text_average_precision(images)}
    if arguments.json:
        print(json.dumps(best.as_dict() | more))
    else:
        print(in_words(best) + "".join(f", {name.replace('_', ' ')} {value:.6f}" for name, value in more.items()))


def score_table(sweep: tuple[TextScores, ...], best: TextScores) -> str:
    """Lines of threshold, recall, precision and hmean, the best one marked."""
    rows = ["threshold   recall  precision    hmean"]
    for score in sweep:
        mark = "  <- best" if score is best else ""
        rows.append(
            f"{score.threshold:9.2f}  {score.recall:7.4f}  {score.precision:9.4f}  {score.hmean:7.4f}{mark}"
        )
    return "\n".join(rows)


def in_words(score: TextScores) -> str:
    """A score and what it was counted from, in one line."""
    return (
        f"recall {score.recall:.6f}, precision {score.precision:.6f}, hmean {score.hmean:.6f} "
        f"({score.matched:,} matched of {counted(score.ground_truths, 'ground truths')} "
        f"and {counted(score.detections, 'detections')})"
    )


def _all_scored(images: list[ImageTexts]) -> bool:
    return all(image.scores is not None for image in images)
