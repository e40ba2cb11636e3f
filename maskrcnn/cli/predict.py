"""`python -m maskrcnn predict WEIGHTS IMAGE... --out DIR`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from maskrcnn.cli.arguments import add_compile, add_format, add_precision, add_settings, all_settings
from maskrcnn.cli.numbers import fraction
from maskrcnn.data.images import read_image
from maskrcnn.data.numbered_pictures import picture_number
from maskrcnn.detector import available_device, load
from maskrcnn.evaluation.protocols import PROTOCOLS
from maskrcnn.evaluation.submission_files import write_submission
from maskrcnn.files import write_json
from maskrcnn.objects import FoundObject
from maskrcnn.ops import run_length
from maskrcnn.text import TextShape
from maskrcnn.visualize import draw_detections, draw_objects
from maskrcnn.wording import counted

HELP = "find text or objects in pictures"
DETAILS = """
What is left in the folder:
  NAME.png        the picture with outlines, classes and scores
  NAME.json       {"image": ..., "texts": [{"polygon": [[x, y], ...], "score": ...}, ...]}, best first, in pixels;
                  from a detector of objects {"image": ..., "objects": [{"class": ..., "score": ...,
                  "box": [x1, y1, x2, y2], "mask": {"size": [height, width], "counts": ...}}, ...]}, the mask as a
                  run-length code of COCO; a detector of keypoints adds "keypoints": [[x, y, score], ...]
  submission.zip  with --submission: what the benchmark takes that the weights were trained for, or --format says

A picture that cannot be read is reported after the others are done, and the exit code is 2. A submission is of all of
them: it names its files by the numbers in theirs, and one that is not there is reported before any work.

examples:
  python -m maskrcnn predict text_small photo.jpg --out found
  python -m maskrcnn predict runs/first/model.safetensors data/icdar2015/ch4_test_images/*.jpg --out found --submission
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `predict`."""
    parser.add_argument("weights", metavar="WEIGHTS", help="a file, or the name of shipped weights")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="picture files")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the drawn pictures and results go")
    parser.add_argument("--json", action="store_true", help="print the JSON, one line a picture, instead of a summary")
    parser.add_argument("--submission", action="store_true", help="also write submission.zip")
    add_format(parser, f"of which benchmark submission.zip is: {', '.join(PROTOCOLS)}")
    parser.add_argument(
        "--scores",
        action="store_true",
        help="with --submission: a score on each line, which `score --sweep` needs and the competition refuses",
    )
    parser.add_argument(
        "--threshold",
        type=fraction,
        metavar="T",
        help="lowest score, 0 to 1 (default: the one chosen for the weights; of objects, 0.5)",
    )
    add_compile(parser)
    add_precision(parser)
    add_settings(parser)


def run(arguments: argparse.Namespace) -> None:
    """Writes, for each picture, NAME.png with outlines and NAME.json with polygons and scores.

    Raises ValueError before any work if two pictures would write the same files, if one would be overwritten, or if a
    submission is wanted of pictures that are not there or have no number of their own; and in the end if pictures could
    not be read.
    """
    paths, out = [Path(image) for image in arguments.images], Path(arguments.out)
    _check_names(paths, out, arguments.submission)
    detector = load(
        arguments.weights, available_device(), all_settings(arguments), arguments.compile, arguments.precision
    )
    if not arguments.compile:
        detector = detector.folded()
    protocol = PROTOCOLS.get(detector.config.data.format)
    if arguments.submission:
        if not detector.config.finds_text:
            raise ValueError(f"--submission: {arguments.weights} finds objects, expected weights that find text")
        if protocol is None:
            found = f"{detector.config.data.format}, which is no benchmark"
            raise ValueError(f"--submission: found {found}, expected --format with one of: {', '.join(PROTOCOLS)}")
        if protocol.quadrilaterals:
            detector.config = detector.config.override(["text.shape=quadrilateral"])

    out.mkdir(parents=True, exist_ok=True)
    results, unreadable = {}, []
    for path in paths:
        try:
            image = read_image(path)
        except ValueError as error:
            unreadable.append(str(error))
            continue
        found = detector(image, arguments.threshold)
        results[path.name] = found.texts
        if detector.config.finds_text:
            noun, drawn, records = "texts", draw_detections(image, found.texts), list(map(_text_record, found.texts))
        else:
            head = detector.config.model.keypoint_head
            drawn = draw_objects(image, found.objects, head.names, head.skeleton)
            noun, records = "objects", list(map(_record, found.objects))
        drawn.save(out / f"{path.stem}.png")
        record = {"image": str(path), noun: records}
        write_json(out / f"{path.stem}.json", record)
        if arguments.json:
            print(json.dumps(record))
        else:
            print(f"{path}: {counted(len(records), noun)}: {out / path.stem}.png")
    if unreadable:
        lost = "; submission.zip was not written" if arguments.submission else ""
        share = f"{len(unreadable)} of {counted(len(paths), 'pictures')}"
        raise ValueError(f"{share} cannot be read: {'; '.join(unreadable)}{lost}")
    if arguments.submission:
        written = write_submission(out / "submission.zip", results, arguments.scores, protocol)
        stream = sys.stderr if arguments.json else sys.stdout  # standard output is a line a picture then
        for message in written.dropped:
            print(message, file=stream)
        contents = f"{counted(written.texts, 'texts')} in {counted(written.files, 'files')}"
        print(f"{out / 'submission.zip'}: {contents}", file=stream)


def _text_record(found: TextShape) -> dict[str, Any]:
    return {"polygon": found.polygon.round(2).tolist(), "score": round(found.score, 4)}


def _record(found: FoundObject) -> dict[str, Any]:
    record = {"class": found.name, "score": round(found.score, 4), "box": found.box.round(2).tolist()}
    if found.mask is not None:
        size = [found.mask.height, found.mask.width]
        record["mask"] = {"size": size, "counts": run_length.to_string(found.mask)}
    if found.keypoints is not None:
        record["keypoints"] = found.keypoints.round(2).tolist()
    return record


def _check_names(paths: list[Path], out: Path, submission: bool) -> None:
    stems = [path.stem for path in paths]
    twice = [stem for stem in stems if stems.count(stem) > 1]
    if twice:
        raise ValueError(f"several pictures are called {twice[0]}, which would write the same files")
    for path in paths:
        # Its neighbours there may have the names of what would be written.
        if out.exists() and path.parent.exists() and path.parent.samefile(out):
            raise ValueError(f"{path}: is in {out} itself; choose a folder without the pictures for --out")
    if submission:
        numbers = list(map(_submitted_number, paths))
        twice = [number for number in numbers if numbers.count(number) > 1]
        if twice:
            raise ValueError(f"several pictures have the number {twice[0]}, by which a submission names its files")


def _submitted_number(path: Path) -> int:
    if not path.is_file():
        raise ValueError(f"{path}: found {'a folder' if path.is_dir() else 'no such file'}, expected a picture")
    try:
        return picture_number(path.name)
    except ValueError as error:
        raise ValueError(f"{error}: --submission names its files by the numbers of the pictures") from None
