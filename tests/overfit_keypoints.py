"""Can a small network learn the people of four real pictures by heart? `python tests/overfit_keypoints.py DIR`.

As `overfit_coco.py`, for keypoints: a left hand that is called a right one, a heat map with x for y, half a cell lost
between targets and decoding: none of it could be learnt. DIR holds COCO's val2017; what is learnt and found goes to
--out.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from maskrcnn.cli import main as run_command

SETTINGS = (
    "model.class_names='person',",
    "model.box_head.samples=64",
    "model.mask_head.enabled=False",
    "model.keypoint_head.enabled=True",
    "model.keypoint_head.convolutions=3",
    "model.keypoint_head.channels=64",
    "data.short_sides=(320,)",
    "data.flip_probability=0",
    "data.colour_probability=0",
    "training.checkpoint_every=100",
)
"""Learning by heart: the same pictures over and over. Keypoints need no more than a narrow head for that."""


def first_pictures(data: Path, out: Path, count: int, least: int = 10, most: int = 6) -> Path:
    """Writes, below `out`, a data set of the first pictures with `least` labelled keypoints on 1 to `most` people."""
    content = json.loads((data / "annotations" / "person_keypoints_val2017.json").read_text())
    of_image: dict[int, list[dict]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        of_image[annotation["image_id"]].append(annotation)

    def fits(people: list[dict]) -> bool:
        crowd = any(person["iscrowd"] for person in people)
        return not crowd and len(people) <= most and sum(person["num_keypoints"] for person in people) >= least

    chosen = [image for image in content["images"] if fits(of_image[image["id"]])][:count]
    annotations = [annotation for image in chosen for annotation in of_image[image["id"]]]
    file = out / "annotations" / "person_keypoints_train2017.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content | {"images": chosen, "annotations": annotations}))
    pictures = out / "train2017"
    if not pictures.exists():
        os.symlink((data / "val2017").resolve(), pictures)
    return out


def main() -> None:
    """Trains on the pictures, and scores what is found in the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DIR", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/overfit_keypoints"))
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--set", nargs="+", action="extend", default=[], dest="settings")
    arguments = parser.parse_args()
    data, run = first_pictures(arguments.data, arguments.out / "data", arguments.pictures), arguments.out / "run"
    settings = [*SETTINGS, f"training.steps={arguments.steps}", *arguments.settings]
    code = run_command(["train", "coco_small", "--data", str(data), "--out", str(run), "--set", *settings])
    if code == 0:
        weights = run / "model.safetensors"
        evaluate = ["evaluate", str(weights), "--data", str(data), "--split", "train", "--out", str(run / "evaluation")]
        code = run_command(evaluate)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
