"""`python -m maskrcnn score PROTOCOL GT PRED`."""

from __future__ import annotations

import argparse
import json

from maskrcnn.cli.arguments import fraction
from maskrcnn.cli.evaluate import in_words, score_table
from maskrcnn.evaluation.result_files import read_image_texts
from maskrcnn.evaluation.text_scores import best_of, score_at_thresholds, score_texts

HELP = "score result files against ground truth"
DETAILS = """
By default the official rules of the Robust Reading Competition: every result counts, whatever its score. A line of
results is x1,y1,x2,y2,x3,y3,x4,y4, clockwise integers; for --threshold and --sweep it ends with ,score. A picture
without a result file has all of its words missed; a result file without ground truth is an error.
--json prints {"recall", "precision", "hmean", "threshold", "matched", "ground_truths", "detections"}.

examples:
  python -m maskrcnn score icdar2015 Challenge4_Test_Task1_GT.zip submission.zip
  python -m maskrcnn score icdar2015 Challenge4_Test_Task1_GT.zip results_with_scores.zip --sweep --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `score`."""
    parser.add_argument("protocol", metavar="PROTOCOL", choices=("icdar2015",), help="whose rules and files: icdar2015")
    parser.add_argument("ground_truth", metavar="GT", help="folder or zip of gt_img_N.txt")
    parser.add_argument("results", metavar="PRED", help="folder or zip of res_img_N.txt")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--threshold", type=fraction, metavar="T", help="only results with at least this score")
    choice.add_argument("--sweep", action="store_true", help="MMOCR's rules: the best of thresholds 0.3 to 0.9")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> None:
    """Prints recall, precision and hmean: the official rules, unless --sweep asks for MMOCR's."""
    images = read_image_texts(arguments.ground_truth, arguments.results)
    if arguments.sweep:
        sweep = score_at_thresholds(images)
        best = best_of(sweep)
        if not arguments.json:
            print(score_table(sweep, best))
    else:
        best = score_texts(images, "official", arguments.threshold)
    print(json.dumps(best.as_dict()) if arguments.json else in_words(best))
