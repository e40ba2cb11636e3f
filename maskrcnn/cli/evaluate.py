"""`python -m maskrcnn evaluate WEIGHTS --data DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from maskrcnn.cli.arguments import add_compile, add_data, add_precision, add_settings, all_settings
from maskrcnn.cli.benchmark_scores import in_words, score_table
from maskrcnn.data.coco import COCO
from maskrcnn.data.loader import Samples
from maskrcnn.data.sources import RENDERED, open_data
from maskrcnn.detector import Detector, available_device, load
from maskrcnn.evaluate import Evaluation, above, evaluate_texts
from maskrcnn.evaluate_objects import (
    FoundInAll,
    category_ids,
    check_keypoints,
    find_objects,
    result_kinds,
    score_results,
    write_results,
)
from maskrcnn.evaluation.coco_overlaps import PERSON_SIGMAS
from maskrcnn.evaluation.protocols import PROTOCOLS
from maskrcnn.evaluation.text_scores import best_of, match_image
from maskrcnn.files import write_json
from maskrcnn.objects import WORTH_SHOWING
from maskrcnn.training.distributed import Ranks, joined
from maskrcnn.visualize import contact_sheet, draw_matches, draw_objects, draw_sample, precision_recall
from maskrcnn.wording import counted

HELP = "score a detector on a data set, and draw its best and worst pictures"
DETAILS = """
Of a text detector, prints MMOCR's sweep (the best of its thresholds is what papers quote; on CTW1500 it ignores
nothing) and the official score at the threshold of the weights. What is left in the folder:
  worst.png, best.png  pictures with what was found, missed and false
  thresholds.png       recall and precision at each score threshold

Of a detector of objects, prints COCO's numbers for boxes, and for masks and keypoints if it finds them. What is left:
  bbox.json, segm.json, keypoints.json  what was found, as COCO's result files
  examples.jpg                          what there is to be found, and beside it what was found

A picture that cannot be read counts as one in which nothing was found: its words or objects are missed, so that it
cannot raise a score. All of them are listed after the scores, and the exit code is 2.

Started by torchrun, each process looks at its share of the pictures; the numbers are those of one.

examples:
  python -m maskrcnn evaluate text_small --data data/icdar2015 --split img_901..img_1000 --json score.json
  python -m maskrcnn evaluate runs/objects/model.safetensors --data data/coco --split val2017
"""
DRAWN = 6
"""Pictures on each of the two sheets."""
COUNTS = "counted as pictures in which nothing was found"
"""What becomes of those that cannot be read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `evaluate`."""
    parser.add_argument("weights", metavar="WEIGHTS", help="a file, or the name of shipped weights")
    add_data(parser, split="test")
    parser.add_argument(
        "--out", default="runs/evaluate", metavar="DIR", help="where the pictures go (default: runs/evaluate)"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write the numbers to this file (of text, the best score of the sweep)"
    )
    add_compile(parser)
    add_precision(parser)
    add_settings(parser)


def run(arguments: argparse.Namespace) -> None:
    """Prints the scores of a data set: of texts, recall, precision and hmean; of objects, average precision.

    Raises ValueError in the end if pictures could not be read.
    """
    with joined() as ranks:
        pictures, unreadable = _evaluate(arguments, ranks)
    # Not before the processes have parted: the others would wait for the first.
    if unreadable:
        wrong = list(unreadable.values())
        for message in wrong:
            print(message)
        share = f"{len(wrong):,} of {counted(pictures, 'pictures')} cannot be read and {COUNTS}"
        more = f"; and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
        raise ValueError(f"{share}: {wrong[0]}{more}")


def _evaluate(arguments: argparse.Namespace, ranks: Ranks) -> tuple[int, Mapping[int, str]]:
    """How many pictures there are; and, in the first process, what is wrong with those that could not be read."""
    with ranks.heard_once():
        detector = load(
            arguments.weights, available_device(), all_settings(arguments), arguments.compile, arguments.precision
        )
        if not arguments.compile:
            detector = detector.folded()
        samples = open_data(arguments.data, arguments.split, detector.config)
    # Before the work, not after it: a folder may be impossible to make.
    out = Path(arguments.out)
    for folder in (out, *([Path(arguments.json).parent] if arguments.json else [])):
        folder.mkdir(parents=True, exist_ok=True)
    json_file = Path(arguments.json) if arguments.json else None
    progress = show_progress if ranks.is_first else lambda done, total: None
    if detector.config.finds_text:
        protocol = PROTOCOLS.get(detector.config.data.format)
        sweep_ignores = protocol is None or protocol.sweep_ignores or arguments.data == RENDERED
        evaluation = evaluate_texts(detector, samples, progress, sweep_ignores, ranks)
        if ranks.is_first:
            _tell_of_texts(evaluation, detector, samples, out, json_file)
        return len(samples), evaluation.unreadable
    if not isinstance(samples, COCO):
        raise ValueError("--data: these weights find objects, expected a data set in the layout of COCO")
    ids = category_ids(detector.config.model.class_names, samples)
    check_keypoints(detector.config.model, samples)
    found = find_objects(detector, samples, progress, ranks)
    if ranks.is_first:
        _tell_of_objects(found, detector, samples, ids, out, json_file)
    return len(samples), found.unreadable


def _tell_of_texts(
    evaluation: Evaluation, detector: Detector, samples: Samples, out: Path, json_file: Path | None
) -> None:
    sweep = evaluation.sweep()
    best = best_of(sweep)
    own = evaluation.at(detector.config.text.score_threshold)
    print(score_table(sweep, best))
    print(f"official rules at the weights' own threshold, {own.threshold:.2f}: {in_words(own)}")
    if json_file:
        write_json(json_file, best.as_dict())
    precision_recall(evaluation.curve(), out / "thresholds.png")
    drawn = draw_evaluation(evaluation, samples, best.threshold, out)
    print(f"pictures: {', '.join(str(path) for path in (*drawn, out / 'thresholds.png'))}")


def _tell_of_objects(
    found: FoundInAll,
    detector: Detector,
    data: COCO,
    ids: Sequence[int],
    out: Path,
    json_file: Path | None,
) -> None:
    paths = write_results(found.objects, data, ids, result_kinds(detector.config.model), out)
    scores = {}
    for kind, path in paths.items():
        if kind == "keypoints" and len(data.keypoint_names) != len(PERSON_SIGMAS):
            how = f"score coco-keypoints {data.file.path} {path} --sigmas ..."
            print(f"keypoints: not those of a person, so how far apart is near must be said: {how}")
            continue
        scores[kind] = score_results(path, data, kind).numbers()
        print(f"{kind}: {', '.join(f'{name} {_in_digits(number)}' for name, number in scores[kind].items())}")
    if json_file:
        write_json(json_file, scores)
    draw_examples(found, data, out / "examples.jpg")
    print(f"results: {', '.join(map(str, paths.values()))}; pictures: {out / 'examples.jpg'}")


def _in_digits(number: float | None) -> str:
    return "none" if number is None else f"{number:.3f}"


def draw_examples(found: FoundInAll, data: COCO, path: Path) -> None:
    """Writes a sheet of DRAWN pictures, spread over those that could be read: what there is in them, and what was
    found."""
    pictures, captions = [], []
    readable = [index for index in range(len(data)) if index not in found.unreadable]
    for index in readable[:: max(1, -(-len(readable) // DRAWN))]:
        sample = data[index]
        shown = [one for one in found.objects[index] if one.score >= WORTH_SHOWING]
        pictures.append(draw_sample(sample, data.class_names, skeleton=data.skeleton))
        pictures.append(draw_objects(sample.image, shown, data.keypoint_names, data.skeleton))
        captions += [f"{sample.name}: {len(sample.labels)} objects", f"{len(shown)} found"]
    contact_sheet(pictures, columns=2, captions=captions, cell=700).save(path, quality=90)


def draw_evaluation(evaluation: Evaluation, samples: Samples, threshold: float, out: Path) -> list[Path]:
    """Writes worst.png and best.png: what was found, missed and false at `threshold` in DRAWN pictures each.

    Returns where they are; none if there was nothing to find in any picture.
    """
    ranked = evaluation.ranked(threshold)
    if not ranked:
        return []
    paths = []
    for name, chosen in (("worst.png", ranked[:DRAWN]), ("best.png", ranked[::-1][:DRAWN])):
        pictures, captions = [], []
        for index in chosen:
            image, detections = evaluation.images[index], above(evaluation.images[index], threshold)
            matches = match_image(image.ground_truths, image.ignore, detections)
            pictures.append(draw_matches(samples[index].image, image.ground_truths, detections, matches))
            captions.append(f"{image.name}: hmean {matches.hmean:.2f}")
        contact_sheet(pictures, columns=2, captions=captions, cell=900).save(out / name)
        paths.append(out / name)
    return paths


def show_progress(done: int, total: int) -> None:
    """Counts on standard error: in one line on a terminal, every hundred pictures elsewhere."""
    if sys.stderr.isatty():
        print(f"\r{done}/{total} pictures", end="\n" if done == total else "", file=sys.stderr, flush=True)
    elif done == total or done % 100 == 0:
        print(f"{done}/{total} pictures", file=sys.stderr, flush=True)
