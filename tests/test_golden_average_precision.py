"""The 12 and the 10 numbers against pycocotools, to 1e-12.

Inputs and numbers in tests/golden/average_precision.json are stored (tests/golden/make_golden_average_precision.py).
Where pycocotools is installed, the last tests ask it again, and about the real files, too.
"""

import copy
import importlib.util
import json
import pathlib

import numpy as np
import pytest
from golden.average_precision_case import draw

from maskrcnn.data.coco_annotations import read_annotations, run_lengths
from maskrcnn.evaluation.average_precision import average_precision
from maskrcnn.evaluation.coco_results import coco_task, read_results
from maskrcnn.ops import run_length

FILE = pathlib.Path(__file__).parent / "golden" / "average_precision.json"
KINDS = ("bbox", "segm", "keypoints")


@pytest.fixture(scope="module")
def golden():
    return json.loads(FILE.read_text())


def numbers_of(folder, annotations, results, kind, sigmas=None):
    """Ours, by way of files; -1 where there is no ground truth, as pycocotools has it."""
    paths = folder / "annotations.json", folder / "results.json"
    for path, content in zip(paths, (annotations, results), strict=True):
        path.write_text(json.dumps(content))
    truth = read_annotations(paths[0])
    task = coco_task(truth, read_results(paths[1], truth, kind), sigmas)
    result, _ = average_precision(task.truths, task.detections, task.overlap, kind, len(task.class_names))
    return [-1.0 if value is None else value for value in result.numbers().values()]


def test_the_file_says_what_made_it(golden):
    assert golden["versions"]["pycocotools"].startswith("2.") and golden["versions"]["numpy"]
    assert FILE.stat().st_size < 200 * 1024


def test_stored_cases(golden, tmp_path):
    for case, expected in zip(golden["inputs"], golden["outputs"], strict=True):
        ours = numbers_of(tmp_path, **case)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)
        assert len(set(np.round(expected, 3))) > 5, "a case that tells numbers apart"


def test_the_cases_hold_what_makes_scoring_hard(golden):
    cases = golden["inputs"]
    areas = [one["area"] for case in cases for one in case["annotations"]["annotations"]]
    assert {case["kind"] for case in cases} == set(KINDS) and all(areas.count(area) > 2 for area in (0, 1024, 9216))
    for case in cases:
        objects, results = case["annotations"]["annotations"], case["results"]
        assert any(one["iscrowd"] for one in objects)
        with_objects, with_results = ({one["image_id"] for one in part} for part in (objects, results))
        images = {image["id"] for image in case["annotations"]["images"]}
        assert with_objects - with_results and with_results - with_objects and images - with_objects - with_results
        scores = [one["score"] for one in results]
        assert len(set(scores)) < len(scores) / 4
        of_one = [(one["image_id"], one["category_id"]) for one in results]
        assert max(map(of_one.count, of_one)) > (20 if case["kind"] == "keypoints" else 100) * 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_ids_from_0_or_below_are_ids_like_any_other(golden, kind, tmp_path):
    """They break pycocotools, where a match with id 0 is none."""
    case = copy.deepcopy(next(case for case in golden["inputs"] if case["kind"] == kind))
    expected = numbers_of(tmp_path, **case)
    lowest = min(one["id"] for one in case["annotations"]["annotations"])
    for one in case["annotations"]["annotations"]:
        one["id"] -= lowest
    assert numbers_of(tmp_path, **case) == expected
    for one in case["annotations"]["annotations"]:
        one["id"] -= 1000
    assert numbers_of(tmp_path, **case) == expected


def test_masks_are_sized_by_their_pixels_also_where_results_carry_boxes(golden, tmp_path):
    case = copy.deepcopy(next(case for case in golden["inputs"] if case["kind"] == "segm"))
    expected = numbers_of(tmp_path, **case)
    for one in case["results"]:
        one["bbox"] = [0, 0, 1, 1]
    assert numbers_of(tmp_path, **case) == expected


def from_real(annotations, kind, seed):
    """Detections made of the objects of a real file: moved, doubled, left out, with scores that are often equal."""
    random = np.random.default_rng(seed)
    sizes = {image.id: (image.height, image.width) for image in annotations.images}
    results = []
    for one in annotations.objects:
        for _ in range(random.integers(0, 4)):
            by = float(random.choice([0, 2, 10]))
            found = {"image_id": one.image_id, "category_id": one.category_id, "score": round(random.random(), 2)}
            if kind == "bbox":
                found["bbox"] = np.maximum(np.array(one.box) + by * random.normal(size=4), 0).tolist()
            elif kind == "segm":
                mask = run_length.decode(run_lengths([one.segmentation], *sizes[one.image_id]))
                (code,) = run_length.encode(np.roll(mask, random.integers(-by, by + 1, 2), (1, 2)))
                found["segmentation"] = {"size": [code.height, code.width], "counts": run_length.to_string(code)}
            else:
                found["keypoints"] = (one.keypoints + by * random.normal(size=(17, 1)) * [1, 1, 0]).ravel().tolist()
            results.append(found)
    return results


if importlib.util.find_spec("pycocotools"):
    from golden.make_golden_average_precision import SIGMAS, ask_pycocotools, draw_inputs

    def test_pycocotools_still_says_the_same(golden):
        assert draw_inputs() == golden["inputs"]
        assert [ask_pycocotools(**case) for case in golden["inputs"]] == golden["outputs"]

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", KINDS)
    def test_random_cases(kind, tmp_path):
        for seed in range(100, 115):
            sigmas = SIGMAS if kind == "keypoints" and seed % 3 == 0 else None
            case = draw(seed, kind, *([len(sigmas)] if sigmas else []))
            expected = ask_pycocotools(*case, kind, sigmas)
            np.testing.assert_allclose(numbers_of(tmp_path, *case, kind, sigmas), expected, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_real_files(kind, shared_data, tmp_path):
        name = "person_keypoints" if kind == "keypoints" else "instances"
        path = shared_data / "coco" / "annotations" / f"{name}_val2017.json"
        content = json.loads(path.read_text())
        for seed in range(2):
            results = from_real(read_annotations(path), kind, seed)
            expected = ask_pycocotools(content, results, kind)
            np.testing.assert_allclose(numbers_of(tmp_path, content, results, kind), expected, rtol=0, atol=1e-12)
            assert 0.2 < expected[0] < 0.9
