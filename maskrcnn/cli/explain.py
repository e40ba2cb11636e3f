"""`python -m maskrcnn explain IMAGE --out explain.html`."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from maskrcnn.cli.arguments import add_format, add_precision, add_settings, all_settings, output_file
from maskrcnn.cli.numbers import fraction
from maskrcnn.data.sources import FORMATS
from maskrcnn.detector import available_device, load
from maskrcnn.explain import explain, write_page
from maskrcnn.explain.targets import read_targets
from maskrcnn.wording import counted

HELP = "one picture through every stage of the network, on one page"
DETAILS = """
The page shows the input, the maps of backbone and pyramid, anchors, objectness, proposals before and after NMS with
thresholds to move, RoIAlign bin by bin, box head, mask head and the result, each with its tensors, its module and its
chapter. It is one file without any connection to a network: any browser opens it, from a disk or from a mail.

With --targets it also shows what training would make of the picture: matches, samples, mask targets and losses.

examples:
  python -m maskrcnn explain photo.jpg --out explain.html
  python -m maskrcnn explain img_1.jpg --targets gt_img_1.txt --out explain.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `explain`."""
    parser.add_argument("image", metavar="IMAGE", help="a picture file")
    parser.add_argument("--out", required=True, metavar="FILE.html", help="the page; one that is there is replaced")
    parser.add_argument(
        "--weights", default="text_small", metavar="W", help="a file, or the name of shipped ones (default: text_small)"
    )
    parser.add_argument("--targets", metavar="FILE", help="the picture's ground truth, in the format of --format")
    add_format(parser, f"in which the ground truth is: {', '.join(FORMATS)}")
    parser.add_argument(
        "--threshold",
        type=fraction,
        metavar="T",
        help="lowest score of the result, 0 to 1 (default: the one chosen for the weights; of objects, 0.5)",
    )
    add_precision(parser)
    add_settings(parser)


def run(arguments: argparse.Namespace) -> None:
    """Writes the page. Raises ValueError for a picture, weights or ground truth that are not what they should be."""
    out, picture = output_file(arguments.out, ".html"), Path(arguments.image)
    try:  # before the work, not after it
        out.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"{out}: found a file in its way, expected a folder to write into") from None
    detector = load(
        arguments.weights, available_device(), all_settings(arguments), precision=arguments.precision
    )
    ground_truth = None
    if arguments.targets is not None:
        ground_truth = partial(read_targets, arguments.targets, name=picture.name, config=detector.config)
    explanation = explain(detector, picture, Path(arguments.weights).name, arguments.threshold, ground_truth)
    write_page(out, explanation)
    found = explanation.found
    what = counted(len(found.texts), "texts") if detector.config.finds_text else counted(len(found.objects), "objects")
    print(f"{picture}: {what}: {out}")
