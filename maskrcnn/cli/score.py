"""`python -m maskrcnn score PROTOCOL GT PRED`."""

from __future__ import annotations

import argparse
import json

from maskrcnn.cli.evaluate import score_table
from maskrcnn.evaluation.result_files import read_image_texts
from maskrcnn.evaluation.text_scores import score_at_thresholds, score_texts

HELP = "score result files against ground truth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `score`."""
    parser.add_argument("protocol", choices=("icdar2015",), help="whose rules and files")
    parser.add_argument("ground_truth", metavar="GT", help="folder or zip of gt_img_N.txt")
    parser.add_argument("results", metavar="PRED", help="folder or zip of res_img_N.txt")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--threshold", type=float, metavar="T", help="only results with at least this score")
    choice.add_argument("--sweep", action="store_true", help="MMOCR's rules: the best of thresholds 0.3 to 0.9")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> None:
    """Prints recall, precision and hmean: the official rules, unless --sweep asks for MMOCR's."""
    images = read_image_texts(arguments.ground_truth, arguments.results)
    if arguments.sweep:
        scores = score_at_thresholds(images)
        best = max(scores, key=lambda score: score.hmean)
        if not arguments.json:
            print(score_table(scores, best))
    else:
        best = score_texts(images, "official", arguments.threshold)
    if arguments.json:
        print(json.dumps(best.as_dict()))
    else:
        print(f"recall {best.recall:.6f}, precision {best.precision:.6f}, hmean {best.hmean:.6f}")
        print(f"{best.matched} matched of {best.ground_truths} ground truths and {best.detections} detections")
