"""`python -m maskrcnn evaluate WEIGHTS --data DIR`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from maskrcnn.data.loader import Samples
from maskrcnn.data.sources import open_data
from maskrcnn.detector import Detector, load
from maskrcnn.evaluate import Evaluation, above, evaluate_texts
from maskrcnn.evaluation.text_scores import TextScores, match_image
from maskrcnn.visualize import contact_sheet, draw_matches, precision_recall

HELP = "score a detector on a data set, and draw its best and worst pictures"
DRAWN = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `evaluate`."""
    parser.add_argument("weights", metavar="WEIGHTS", help="a file, or the name of shipped weights")
    parser.add_argument("--data", required=True, metavar="DIR", help='folder of ICDAR2015, or the word "rendered"')
    parser.add_argument("--split", default="test", help="train, test (default), or a range such as img_901..img_1000")
    parser.add_argument("--out", default="runs/evaluate", metavar="DIR", help="where the pictures go")
    parser.add_argument("--json", metavar="FILE", help="write the best score of the sweep to this file")
    parser.add_argument(
        "--set", action="append", default=[], dest="settings", metavar="section.key=value", help="change a setting"
    )


def run(arguments: argparse.Namespace) -> None:
    """Prints recall, precision and hmean at each threshold of the sweep."""
    detector = load(arguments.weights)
    detector = Detector(detector.model, detector.config.override(arguments.settings))
    samples = open_data(arguments.data, arguments.split, detector.config)
    evaluation = evaluate_texts(detector, samples, show_progress)
    sweep = evaluation.sweep()
    best = max(sweep, key=lambda score: score.hmean)
    print(score_table(sweep, best))

    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    draw_evaluation(evaluation, samples, best.threshold, out)
    precision_recall([score.as_dict() for score in evaluation.curve()], out / "thresholds.png")
    print(f"pictures: {out / 'worst.png'}, {out / 'best.png'}, {out / 'thresholds.png'}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(best.as_dict(), indent=2) + "\n")


def score_table(sweep: tuple[TextScores, ...], best: TextScores) -> str:
    """Lines of threshold, recall, precision and hmean, the best one marked."""
    rows = ["threshold   recall  precision    hmean"]
    for score in sweep:
        mark = "  <- best" if score is best else ""
        rows.append(
            f"{score.threshold:9.2f}  {score.recall:7.4f}  {score.precision:9.4f}  {score.hmean:7.4f}{mark}"
        )
    return "\n".join(rows)


def draw_evaluation(evaluation: Evaluation, samples: Samples, threshold: float, out: Path) -> None:
    """Writes worst.png and best.png: what was found, missed and wrong at `threshold` in DRAWN pictures each."""
    ranked = evaluation.ranked(threshold)
    for name, chosen in (("worst.png", ranked[:DRAWN]), ("best.png", ranked[::-1][:DRAWN])):
        pictures, captions = [], []
        for index in chosen:
            image, detections = evaluation.images[index], above(evaluation.images[index], threshold)
            matches = match_image(image.ground_truths, image.ignore, detections)
            pairs = [(truth, found) for found, truth in enumerate(matches.matched_ground_truth) if truth >= 0]
            ignored = matches.ignored.nonzero()[0].tolist()
            pictures.append(
                draw_matches(samples[index].image, image.ground_truths, image.ignore, detections, pairs, ignored)
            )
            captions.append(f"{image.name}: hmean {matches.hmean:.2f}")
        if pictures:
            contact_sheet(pictures, columns=2, captions=captions, cell=900).save(out / name)


def show_progress(done: int, total: int) -> None:
    """One line on the terminal that counts."""
    if sys.stderr.isatty() or done == total:
        print(f"\r{done}/{total} pictures", end="\n" if done == total else "", file=sys.stderr, flush=True)
