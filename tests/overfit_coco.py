"""Can the small network learn eight real pictures by heart? `python tests/overfit_coco.py DIR [--steps N]`.

Where something between files and gradients is wrong (a mask beside its box, classes off by one, a picture mirrored
without its objects), a network cannot: the check that nothing is, on real data, in minutes. DIR holds COCO's
train2017; what is learnt and found goes to --out. With the first 32 pictures of the shared data, 600 steps reach mask
AP50 0.94 and box AP50 0.95.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from maskrcnn.cli import main as run_command

SETTINGS = (
    "data.short_sides=(320,)",
    "data.flip_probability=0",
    "data.colour_probability=0",
    "training.checkpoint_every=0",
)
"""Learning by heart: the same pictures over and over."""


def first_pictures(data: Path, out: Path, count: int, most: int = 12) -> Path:
    """Writes, below `out`, a data set of the first pictures with 1 to `most` objects, none of them a crowd."""
    content = json.loads((data / "annotations" / "instances_train2017.json").read_text())
    of_image: dict[int, list[dict]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        of_image[annotation["image_id"]].append(annotation)
    chosen = [
        image
        for image in content["images"]
        if 0 < len(of_image[image["id"]]) <= most and not any(found["iscrowd"] for found in of_image[image["id"]])
    ][:count]
    annotations = [annotation for image in chosen for annotation in of_image[image["id"]]]
    file = out / "annotations" / "instances_train2017.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content | {"images": chosen, "annotations": annotations}))
    pictures = out / "train2017"
    if not pictures.exists():
        os.symlink((data / "train2017").resolve(), pictures)
    return out


def main() -> None:
    """Trains on eight pictures and evaluates on the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DIR", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/overfit"))
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--set", nargs="+", action="extend", default=[], dest="settings")
    arguments = parser.parse_args()
    data = first_pictures(arguments.data, arguments.out / "data", arguments.pictures)
    settings = [*SETTINGS, f"training.steps={arguments.steps}", *arguments.settings]
    run = arguments.out / "run"
    code = run_command(["train", "coco_small", "--data", str(data), "--out", str(run), "--set", *settings])
    if code == 0:
        weights = run / "model.safetensors"
        evaluate = ["evaluate", str(weights), "--data", str(data), "--split", "train", "--out", str(run / "evaluation")]
        code = run_command(evaluate)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
