"""`score coco-...`: what it prints, leaves and refuses, and the diagrams, as far as they can be measured."""

import json

import numpy as np
import pytest
from golden.average_precision_case import draw
from matplotlib.figure import Figure
from PIL import Image
from small_text import mistake, run

from maskrcnn.evaluation.average_precision import AREAS, AveragePrecision
from maskrcnn.evaluation.detection_errors import KINDS, DetectionErrors
from maskrcnn.visualize import class_scores, error_breakdown, precision_recall_of_classes

TWELVE = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
TEN = ["AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl"]


@pytest.fixture
def files(tmp_path):
    """Writes annotations and results, by default a random case, and returns their paths."""

    def write(kind="bbox", annotations=None, results=None):
        drawn = draw(11, kind)
        paths = tmp_path / "annotations.json", tmp_path / "results.json"
        for path, content, default in zip(paths, (annotations, results), drawn, strict=True):
            path.write_text(json.dumps(default if content is None else content))
        return paths

    return write


@pytest.mark.parametrize("kind, keys", [("bbox", TWELVE), ("segm", TWELVE), ("keypoints", TEN)])
def test_json_and_text_say_the_same(capsys, files, kind, keys):
    paths = files(kind)
    numbers = json.loads(run(capsys, "score", f"coco-{kind}", *paths, "--json"))
    assert list(numbers) == keys and 0.02 < numbers["AP"] < 0.98
    said = run(capsys, "score", f"coco-{kind}", *paths)
    assert said.startswith("9 pictures, ") and " of them counted, " in said
    for name, value in numbers.items():
        assert f"{name:5s}  {value:.4f}  (" in said
    assert ("similarity" in said) == (kind == "keypoints")


def one_object(area):
    annotations = {
        "images": [{"id": 1, "file_name": "1.jpg", "height": 100, "width": 100}],
        "categories": [{"id": 1, "name": "cup"}],
        "annotations": [{"id": 0, "image_id": 1, "category_id": 1, "bbox": [0, 0, 50, 40], "area": area}],
    }
    return annotations, [{"image_id": 1, "category_id": 1, "score": 0.9, "bbox": [0, 0, 50, 40]}]


def test_a_number_that_does_not_exist_says_why(capsys, files):
    paths = files("bbox", *one_object(2000))
    numbers = json.loads(run(capsys, "score", "coco-bbox", *paths, "--json"))
    assert {name for name, value in numbers.items() if value is None} == {"APs", "APl", "ARs", "ARl"}
    assert numbers["AP"] == numbers["APm"] == 1
    said = run(capsys, "score", "coco-bbox", *paths)
    assert "APs    no small ground truth (area from 0 to 1024 square pixels)  (small)" in said
    assert "ARl    no large ground truth (area of 9216 or more square pixels)  (recall, large)" in said


def test_detections_beyond_those_that_count_are_told(capsys, files):
    annotations, results = one_object(2000)
    assert "beyond" not in run(capsys, "score", "coco-bbox", *files("bbox", annotations, 100 * results))
    said = run(capsys, "score", "coco-bbox", *files("bbox", annotations, 103 * results))
    assert said.startswith("1 picture, 1 object, 1 of them counted, 103 detections\n")
    assert "not counted: 3 detections beyond the best 100 of a class in a picture" in said


def test_tables_and_diagrams(capsys, files, tmp_path):
    paths, out = files("bbox"), tmp_path / "new" / "folder"
    printed = run(capsys, "score", "coco-bbox", *paths, "--out", out, "--json")
    written = json.loads((out / "scores.json").read_text())
    assert json.loads(printed) == written["numbers"], "and nothing but JSON is printed"
    assert list(written["classes"]) == ["class 1", "class 3", "class 7", "class 12", "class 90"]
    there = [values["AP"] for values in written["classes"].values() if values["AP"] is not None]
    assert np.mean(there) == pytest.approx(written["numbers"]["AP"], abs=1e-12) and len(there) == 4
    assert set(written["errors"]["ap50_gained_without"]) == {*KINDS, "missed"}
    assert run(capsys, "score", "coco-bbox", *paths, "--out", out).count(str(out)) == 4
    for name in ("classes.png", "precision_recall.png", "errors.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 200


def test_without_ground_truth_there_are_diagrams_that_say_so(capsys, files, tmp_path):
    annotations, _ = one_object(5)
    paths = files("bbox", annotations | {"annotations": []}, [])
    numbers = json.loads(run(capsys, "score", "coco-bbox", *paths, "--json", "--out", tmp_path / "out"))
    assert set(numbers.values()) == {None}
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == ["classes.png", "precision_recall.png", "scores.json"]
    assert "AP     no ground truth that counts" in run(capsys, "score", "coco-bbox", *paths)


def test_sigmas_of_another_skeleton(capsys, files):
    paths = files("keypoints", *draw(0, "keypoints", 4))
    assert mistake(capsys, "score", "coco-keypoints", *paths).endswith(
        "annotations.json: found 4 keypoints and 17 sigmas, expected as many (--sigmas)"
    )
    sigmas = ["--sigmas", 0.05, 0.1, 0.02, 0.08]
    assert json.loads(run(capsys, "score", "coco-keypoints", *paths, "--json", *sigmas))["AP"] > 0


@pytest.mark.parametrize(
    "protocol, options, said",
    [
        ("coco-bbox", ["--threshold", "0.5"], "--threshold: found coco-bbox, expected icdar2015"),
        ("coco-segm", ["--sweep"], "--sweep: found coco-segm, expected icdar2015"),
        ("coco-bbox", ["--sigmas", "0.1"], "--sigmas: found coco-bbox, expected coco-keypoints"),
        ("icdar2015", ["--out", "x"], "--out: found icdar2015, expected coco-bbox"),
        ("icdar2015", ["--sigmas", "1"], "--sigmas: found icdar2015, expected coco-keypoints"),
    ],
)
def test_options_of_another_protocol(capsys, files, protocol, options, said):
    assert mistake(capsys, "score", protocol, *files(), *options).startswith(said)


def test_a_mistake_in_one_result_and_nothing_is_scored(capsys, files):
    annotations, results = draw(11, "bbox")
    results[40]["image_id"] = 77
    paths = files("bbox", annotations, results)
    said = mistake(capsys, "score", "coco-bbox", *paths, "--json")
    assert said == f"{paths[1]}: result[40]: found image_id 77, expected the id of one of the 9 image entries"


# The diagrams.


def saved_figure(monkeypatch, draw_it, *arguments):
    """The figure instead of a file."""
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    draw_it(*arguments)
    return figures[0]


def result_of(at_50, at_90, ground_truths):
    """Classes whose precision is the same at every recall."""
    precision = np.full((4, 10, 101, len(at_50)), np.nan)
    precision[0] = np.linspace(at_50, at_90, 9).repeat([1] * 8 + [2], axis=0)[:, None]
    counts = np.zeros((4, len(at_50)), int)
    counts[0] = ground_truths
    return AveragePrecision("bbox", tuple(AREAS), precision, precision[:, :, 0], {}, counts, counts[0])


def test_the_classes_are_drawn_best_first(monkeypatch):
    result = result_of([0.5, 0.9, np.nan], [0.5, 0.1, np.nan], [7, 2000, 0])
    figure = saved_figure(monkeypatch, class_scores, result, ["cup", "$a$ dog", "cat"], "x.png")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cup (7)", r"\$a\$ dog (2,000)"]
    assert [round(bar.get_width(), 3) for bar in axes.patches] == [0.5, 0.46]
    assert axes.lines[0].get_xdata().tolist() == pytest.approx([0.5, 0.9])
    assert axes.get_title(loc="left").endswith("; 1 more have none")


def test_precision_against_recall(monkeypatch):
    result = result_of([0.5, 0.9, np.nan], [0.5, 0.1, np.nan], [7, 2000, 0])
    figure = saved_figure(monkeypatch, precision_recall_of_classes, result, ["cup", "dog", "cat"], "x.png")
    left, right = figure.axes
    assert left.get_title(loc="left") == "Mean of 2 classes"
    assert [line.get_ydata()[0] for line in left.lines] == pytest.approx([0.7, 0.45, 0.3])
    assert [line.get_label() for line in right.lines] == ["dog: AP50 0.900", "cup: AP50 0.500"], "the frequent first"
    assert len({line.get_linestyle() for line in left.lines}) == 3, "not told apart by colour alone"
    single = saved_figure(monkeypatch, precision_recall_of_classes, result_of([0.5], [0.5], [7]), ["cup"], "x.png")
    assert len(single.axes) == 1 and single.axes[0].get_title(loc="left") == "cup"


def test_mistakes_are_drawn_with_their_number_and_cost(monkeypatch):
    names = ("right", *KINDS)
    best = {name: np.array([index, 10]) for index, name in enumerate(names)}
    costs = {name: index / 10 for index, name in enumerate((*KINDS, "missed"))}
    figure = saved_figure(monkeypatch, error_breakdown, DetectionErrors(best, np.array([3, 4]), costs), 0.5, "x.png")
    left, right = figure.axes
    assert [bar.get_width() for bar in left.patches] == [10, 11, 12, 13, 14]
    assert [text.get_text() for text in right.texts] == ["+0.000", "+0.100", "+0.200", "+0.300", "+0.400"]
    assert right.get_yticklabels()[-1].get_text() == "missed: 7 objects not found"
    assert left.get_title(loc="left") == "What the 60 best detections are"
    hatches = [bar.get_hatch() for bar in left.patches]
    assert len(set(hatches)) >= 4, "not told apart by colour alone"
