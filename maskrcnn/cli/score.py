"""`python -m maskrcnn score PROTOCOL GT PRED`."""

from __future__ import annotations

import argparse
import json

from maskrcnn.cli.arguments import fraction
from maskrcnn.cli.coco_scores import COCO_PROTOCOLS, score_coco
from maskrcnn.cli.evaluate import in_words, score_table
from maskrcnn.evaluation.result_files import read_image_texts
from maskrcnn.evaluation.text_scores import best_of, score_at_thresholds, score_texts

HELP = "score result files against ground truth"
DETAILS = """
icdar2015: by default the official rules of the Robust Reading Competition: every result counts, whatever its score. A
line of results is x1,y1,x2,y2,x3,y3,x4,y4, clockwise integers; for --threshold and --sweep it ends with ,score. A
picture without a result file has all of its words missed; a result file without ground truth is an error.
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
  python -m maskrcnn score coco-segm instances_val2017.json results.json --out runs/score
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `score`."""
    protocols = ("icdar2015", *COCO_PROTOCOLS)
    parser.add_argument(
        "protocol", metavar="PROTOCOL", choices=protocols, help=f"whose rules and files: {', '.join(protocols)}"
    )
    parser.add_argument("ground_truth", metavar="GT", help="folder or zip of gt_img_N.txt; of COCO a JSON file")
    parser.add_argument("results", metavar="PRED", help="folder or zip of res_img_N.txt; of COCO a JSON file")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--threshold", type=fraction, metavar="T", help="icdar2015: the lowest score that counts")
    choice.add_argument("--sweep", action="store_true", help="icdar2015: MMOCR's rules, the best threshold")
    parser.add_argument(
        "--sigmas", nargs="+", type=float, metavar="S", help="coco-keypoints: of each keypoint (default: COCO's 17)"
    )
    parser.add_argument("--out", metavar="DIR", help="COCO: where tables and diagrams go")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> None:
    """Prints what the protocol reports.

    Raises ValueError for what is wrong with the files, and for options of another protocol.
    """
    is_coco = arguments.protocol in COCO_PROTOCOLS
    foreign = {"--threshold": arguments.threshold is not None, "--sweep": arguments.sweep} if is_coco else {
        "--out": arguments.out is not None
    }  # fmt: skip
    foreign["--sigmas"] = arguments.sigmas is not None and arguments.protocol != "coco-keypoints"
    for option, given in foreign.items():
        if given:
            raise ValueError(f"{option} is not for {arguments.protocol}")
    if is_coco:
        score_coco(arguments)
        return
    images = read_image_texts(arguments.ground_truth, arguments.results)
    if arguments.sweep:
        sweep = score_at_thresholds(images)
        best = best_of(sweep)
        if not arguments.json:
            print(score_table(sweep, best))
    else:
        best = score_texts(images, "official", arguments.threshold)
    print(json.dumps(best.as_dict()) if arguments.json else in_words(best))
