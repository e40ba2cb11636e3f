"""`python -m maskrcnn score` for the text benchmarks."""

from __future__ import annotations

import argparse
import json
from functools import partial

from maskrcnn.cli.evaluate import in_words, score_table
from maskrcnn.data.icdar2017 import parse_icdar2017
from maskrcnn.evaluation.own_text_scores import pascal_scores, text_average_precision
from maskrcnn.evaluation.protocols import PROTOCOLS
from maskrcnn.evaluation.result_files import read_image_texts
from maskrcnn.evaluation.text_scores import ImageTexts, best_of, score_at_thresholds, score_texts, without_ignoring


def score_benchmark(arguments: argparse.Namespace) -> None:
    """Prints recall, precision and hmean: the official rules, unless others are asked for."""
    protocol = PROTOCOLS[arguments.protocol]
    if arguments.script:
        protocol = protocol._replace(parse=partial(parse_icdar2017, script=arguments.script))
    images = read_image_texts(arguments.ground_truth, arguments.results, protocol)
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


def _all_scored(images: list[ImageTexts]) -> bool:
    return all(image.scores is not None for image in images)
