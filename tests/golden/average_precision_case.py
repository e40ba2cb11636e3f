"""Random annotations and results that hold everything that makes average precision hard.

Crowds; equal scores and equal overlaps; areas of 0 and exactly on the borders between sizes; a picture with far more
detections than count, one without ground truth, one without detections and one without either; a class without ground
truth and one without detections; objects without a labelled keypoint.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from maskrcnn.ops import run_length

CATEGORIES = (1, 3, 7, 12, 90)
CROWDED = {"bbox": 110, "segm": 110, "keypoints": 30}
"""Detections of one class in one picture, of which 100, or of keypoints 20, count."""
HEIGHT, WIDTH = 120, 160
BORDERS = (0, 1024, 9216)
EXACTLY = (0.0, 0.0, 1.0, 3.0, 8.0)
"""How far a detection is from its object, in pixels; equal overlaps come from the first two."""


def draw(seed: int, kind: str, keypoints: int = 17) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Annotations and results as their JSON files hold them; all ids of annotations are above 0."""
    random = np.random.default_rng(seed)
    image_ids = random.permutation(np.arange(1, 60))[:9].tolist()
    objects = []
    for image_id in image_ids[:7]:
        for _ in range(int(random.integers(1, 9))):
            crowd = len(objects) % 5 == 1
            objects.append(_object(random, kind, image_id, int(random.choice(CATEGORIES[:4])), keypoints, crowd))
    ids = random.permutation(np.arange(1, len(objects) + 40))[: len(objects)]
    for one, number in zip(objects, ids.tolist(), strict=True):
        one["id"] = number
    results = []
    for one in objects:
        if one["image_id"] != image_ids[6] and one["category_id"] != CATEGORIES[3]:
            results += [_near(random, kind, one) for _ in range(int(random.integers(0, 4)))]
    crowded = objects[0]
    results += [_near(random, kind, crowded) for _ in range(CROWDED[kind])]
    for image_id in (*image_ids[:6], image_ids[7]):
        for category_id in (*CATEGORIES[:3], CATEGORIES[4]):
            unrelated = _object(random, kind, image_id, category_id, keypoints)
            results.append(_near(random, kind, unrelated))
    if kind == "keypoints" and seed % 2 == 1:
        for one in results:
            one["bbox"] = random.integers(0, 90, 4).tolist()
    names = [f"point {index}" for index in range(keypoints)] if kind == "keypoints" else []
    annotations = {
        "images": [{"id": one, "file_name": f"{one}.jpg", "height": HEIGHT, "width": WIDTH} for one in image_ids],
        "categories": [
            {"id": one, "name": f"class {one}"} | ({"keypoints": names} if names else {}) for one in CATEGORIES
        ],
        "annotations": objects,
    }
    return annotations, [results[index] for index in random.permutation(len(results))]


def _object(
    random: np.random.Generator, kind: str, image_id: int, category_id: int, keypoints: int, crowd: bool = False
) -> dict[str, Any]:
    width, height = (int(random.choice([0, 1, 8, 20, 40, 90], p=[0.05, 0.05, 0.2, 0.3, 0.2, 0.2])) for _ in range(2))
    x, y = int(random.integers(0, WIDTH - width)), int(random.integers(0, HEIGHT - height))
    area = int(random.choice(BORDERS)) if random.random() < 0.2 else round(0.7 * width * height, 1)
    one = {"image_id": image_id, "category_id": category_id, "bbox": [x, y, width, height], "area": area}
    one["iscrowd"] = int(crowd)
    if kind == "segm":
        outline = [x, y, x + width, y, x + width, y + height, x, y + height]
        if one["iscrowd"]:
            mask = run_length.merge(run_length.from_polygons([outline, [0, 0, 9, 0, 9, 9]], HEIGHT, WIDTH))
            one["segmentation"] = {"size": [HEIGHT, WIDTH], "counts": mask.counts.tolist()}
        else:
            triangle = random.integers(-5, 40, 6).tolist()
            one["segmentation"] = [outline, triangle] if random.random() < 0.3 else [outline]
    elif kind == "keypoints":
        points = np.stack(
            [random.integers(x, x + width + 1, keypoints), random.integers(y, y + height + 1, keypoints),
             random.choice(3, keypoints, p=[0.4, 0.2, 0.4])], axis=1
        )  # fmt: skip
        points[:, 2] *= random.random() > 0.2
        points[points[:, 2] == 0] = 0
        one["keypoints"] = points.ravel().tolist()
        one["num_keypoints"] = int((points[:, 2] > 0).sum())
    return one


def _near(random: np.random.Generator, kind: str, one: dict[str, Any]) -> dict[str, Any]:
    """A detection that lies about where an object is, some of another class."""
    category_id = one["category_id"] if random.random() < 0.85 else int(random.choice(CATEGORIES[:3]))
    found = {"image_id": one["image_id"], "category_id": category_id, "score": round(float(random.random()), 1)}
    shift = np.rint(float(random.choice(EXACTLY)) * random.normal(size=4)).astype(int)
    if kind == "bbox":
        found["bbox"] = np.maximum(np.array(one["bbox"]) + shift, [-20, -20, 0, 0]).tolist()
    elif kind == "segm":
        x, y, width, height = (np.array(one["bbox"]) + shift).tolist()
        outline = [x, y, x + width, y, x + width, y + height, x, y + height]
        (mask,) = run_length.from_polygons([outline], HEIGHT, WIDTH)
        found["segmentation"] = {"size": [HEIGHT, WIDTH], "counts": run_length.to_string(mask)}
    else:
        points = np.array(one["keypoints"]).reshape(-1, 3)
        points[:, :2] += np.rint(shift[0] * random.normal(size=(len(points), 2))).astype(int)
        found["keypoints"] = points.ravel().tolist()
    return found
