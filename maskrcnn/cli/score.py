"""`python -m maskrcnn score PROTOCOL GT PRED`."""

from __future__ import annotations

import argparse

from maskrcnn.cli.benchmark_scores import score_benchmark
from maskrcnn.cli.numbers import fraction
from maskrcnn.data.icdar2017 import SCRIPTS
from maskrcnn.evaluation.protocols import PROTOCOLS

HELP = "score result files against ground truth"
DETAILS = """
icdar2015, icdar2017, ctw1500, totaltext: by default the official rules of the Robust Reading Competition, for all four:
every result counts, whatever its score, and don't-care regions are ignored. Files are paired by the number of the
picture in their names. A line of results is x1,y1,x2,y2,... : for icdar2015 and icdar2017 clockwise integers of four
corners, for ctw1500 and totaltext any polygon; for --threshold and --sweep it ends with ,score. A picture without a
result file has all of its words missed; a result file without ground truth is an error. --sweep reports MMOCR's number;
on ctw1500, MMOCR ignores nothing. --pascal are the rules of CTW1500's own script. For icdar2017, results with scores
also have an average precision.
--json prints {"recall", "precision", "hmean", "threshold", "matched", "ground_truths", "detections"}.

coco-bbox, coco-segm, coco-keypoints: COCO's average precision and recall, the numbers of pycocotools. GT is a file of
annotations, PRED a list of results; one mistake in either and nothing is scored. A number that does not exist says why.
--json prints {"AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"}, of keypoints
{"AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl"}; null for a number that does not exist.
What --out leaves in the folder:
  scores.json           the numbers, those of each class, and the mistakes
  classes.png           AP and AP50 of each class
  precision_recall.png  precision against recall
  errors.png            how often detections are beside the object, of a wrong class ..., and what that costs

examples:
  python -m maskrcnn score icdar2015 Challenge4_Test_Task1_GT.zip submission.zip
  python -m maskrcnn score icdar2015 Challenge4_Test_Task1_GT.zip results_with_scores.zip --sweep --json
  python -m maskrcnn score icdar2017 ch8_validation_localization_transcription_gt_v2.zip results.zip --script Korean
  python -m maskrcnn score ctw1500 gt_ctw1500.zip results.zip
  python -m maskrcnn score coco-segm instances_val2017.json results.json --out runs/score
"""
COCO_PROTOCOLS = {"coco-bbox": "bbox", "coco-segm": "segm", "coco-keypoints": "keypoints"}
"""What kind of results each of them scores."""
OPTIONS = {
    "threshold": tuple(PROTOCOLS),
    "sweep": tuple(PROTOCOLS),
    "pascal": ("ctw1500",),
    "script": ("icdar2017",),
    "sigmas": ("coco-keypoints",),
    "out": tuple(COCO_PROTOCOLS),
}
"""The protocols that each option is for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `score`."""
    protocols = (*PROTOCOLS, *COCO_PROTOCOLS)
    parser.add_argument(
        "protocol", metavar="PROTOCOL", choices=protocols, help=f"whose rules and files: {', '.join(protocols)}"
    )
    parser.add_argument("ground_truth", metavar="GT", help="folder or zip of text files; of COCO a JSON file")
    parser.add_argument("results", metavar="PRED", help="the same for the results")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--threshold", type=fraction, metavar="T", help="text: only results with at least this score")
    choice.add_argument("--sweep", action="store_true", help="text: MMOCR's rules, the best of thresholds 0.3 to 0.9")
    choice.add_argument("--pascal", action="store_true", help="ctw1500: the rules of CTW1500's own script")
    parser.add_argument("--script", choices=SCRIPTS, metavar="S", help="icdar2017: other scripts are don't-care")
    parser.add_argument(
        "--sigmas", nargs="+", type=float, metavar="S", help="coco-keypoints: of each keypoint (default: COCO's 17)"
    )
    parser.add_argument("--out", metavar="DIR", help="COCO: where tables and diagrams go")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> None:
    """Prints what the protocol reports.

    Raises ValueError for what is wrong with the files, and for options of another protocol.
    """
    for option, protocols in OPTIONS.items():
        given = getattr(arguments, option) not in (None, False)
        if given and arguments.protocol not in protocols:
            raise ValueError(f"--{option}: found {arguments.protocol}, expected {' or '.join(protocols)}")
    if arguments.protocol in PROTOCOLS:
        score_benchmark(arguments)
        return
    # Not at the top: masks and diagrams need PyTorch and matplotlib, which take longer to import than texts to score.
    from maskrcnn.cli.coco_scores import score_coco

    score_coco(arguments, COCO_PROTOCOLS[arguments.protocol])
