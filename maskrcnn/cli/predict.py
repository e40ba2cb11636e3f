"""`python -m maskrcnn predict WEIGHTS IMAGE... --out DIR`."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from maskrcnn.data.icdar import picture_number
from maskrcnn.detector import Detector, load
from maskrcnn.evaluation.result_files import write_submission
from maskrcnn.visualize import draw_detections

HELP = "find text in pictures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `predict`."""
    parser.add_argument("weights", metavar="WEIGHTS", help="a file, or the name of shipped weights")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="picture files")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the drawn pictures and results go")
    parser.add_argument("--json", action="store_true", help="also print what was found as JSON")
    parser.add_argument("--submission", action="store_true", help="also write submission.zip as ICDAR2015 wants it")
    parser.add_argument("--threshold", type=float, metavar="T", help="lowest score (default: that of the weights)")


def run(arguments: argparse.Namespace) -> None:
    """Writes, for each picture, NAME.png with outlines and NAME.json with polygons and scores.

    Raises ValueError before any work if two pictures would write the same files, or if a submission is wanted of
    pictures without a number in their names.
    """
    paths = [Path(image) for image in arguments.images]
    outputs = [path.stem for path in paths]
    twice = sorted({stem for stem in outputs if outputs.count(stem) > 1})
    if twice:
        raise ValueError(f"several pictures are called {twice[0]}, which would write the same files")
    if arguments.submission:
        for path in paths:
            picture_number(path.name)
    detector = load(arguments.weights)
    if arguments.submission:
        text = replace(detector.config.text, shape="quadrilateral")
        detector = Detector(detector.model, replace(detector.config, text=text))

    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    results = {}
    for path in paths:
        found = detector(path, arguments.threshold)
        results[path.name] = found.texts
        draw_detections(found.image, found.texts).save(out / f"{path.stem}.png")
        texts = [{"polygon": text.polygon.round(2).tolist(), "score": round(text.score, 4)} for text in found.texts]
        record = {"image": str(path), "texts": texts}
        (out / f"{path.stem}.json").write_text(json.dumps(record, indent=2) + "\n")
        if arguments.json:
            print(json.dumps(record))
        else:
            print(f"{path}: {len(texts)} texts: {out / path.stem}.png")
    if arguments.submission:
        written = write_submission(out / "submission.zip", results)
        for message in written.dropped:
            print(message)
        print(f"{out / 'submission.zip'}: {written.quadrilaterals} texts in {written.files} files")
