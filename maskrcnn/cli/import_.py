"""`python -m maskrcnn import FILE --from FAMILY --out WEIGHTS`."""

from __future__ import annotations

import argparse
from pathlib import Path

from maskrcnn.cli.arguments import add_settings, output_file
from maskrcnn.training.checkpoint import save_weights
from maskrcnn.training.published import FAMILIES, PART, import_weights

HELP = "turn weights of another library into a weights file of this one"
DETAILS = """
torchvision  Mask R-CNN of version 1, old names and new, and its ResNets 18 to 101 for `train --init`
mmdetection  Mask R-CNN of MMDetection 2 and 3 and of MMOCR 0 and 1, ResNet-50 and 101 of style pytorch
detectron2   Mask R-CNN with a pyramid, ResNet-50 and 101, .pkl of the zoo or .pth of a training

Nothing in the file is executed. What is written carries the conventions that its weights need (pixels, anchors,
RoIAlign, order of the classes ...), so that `evaluate` and `predict` are right without further settings; --set changes
what the file itself cannot say, such as the size of pictures.

examples:
  python -m maskrcnn import mask_rcnn_r50_fpn_160e_icdar2015_20210219-8eb340a3.pth --from mmdetection \\
      --out mmocr.safetensors
  python -m maskrcnn import model_final.pth --from detectron2 --out cells.safetensors --classes cell nucleus
  python -m maskrcnn import resnet50-0676ba61.pth --from torchvision --out resnet50.safetensors
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `import`."""
    parser.add_argument("file", metavar="FILE", help="a .pth or .pkl")
    parser.add_argument("--from", required=True, choices=FAMILIES, dest="family", help="the library that wrote it")
    parser.add_argument("--out", required=True, metavar="WEIGHTS", help="the file to write, NAME.safetensors")
    parser.add_argument(
        "--classes", nargs="+", default=[], metavar="NAME", help="its classes in order, if they are not COCO's or text"
    )
    parser.add_argument(
        "--partial", action="store_true", help="import what fits; what is missing keeps random values, and is listed"
    )
    add_settings(parser)


def run(arguments: argparse.Namespace) -> None:
    """Writes a weights file and says what was decided on the way. Raises ValueError before anything is written."""
    out = output_file(arguments.out, ".safetensors")
    imported = import_weights(
        Path(arguments.file), arguments.family, arguments.classes, arguments.settings, arguments.partial
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    save_weights(out, imported.state, imported.config, extra=imported.extra)
    for note in imported.notes:
        print(note)
    what = "a backbone" if PART in imported.extra else f"{len(imported.config.model.class_names)} classes"
    print(f"{out}: {len(imported.state)} tensors, {what}")
