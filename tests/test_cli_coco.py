<<<<<<< HEAD
"""Commands on data in COCO's format: what they print, what they leave, and what they refuse."""
=======
"""`score coco-...`: what it prints, leaves and refuses, and the diagrams, as far as they can be measured."""
>>>>>>> d74611c (score coco-bbox, coco-segm, coco-keypoints: numbers, classes, curves, and what the mistakes cost)

import json

import numpy as np
import pytest
<<<<<<< HEAD
from PIL import Image
from small_coco import small_coco, write_coco
from small_text import SETTINGS, mistake, run, save_small_weights, write_icdar2015

from maskrcnn.cli import main
from maskrcnn.data.coco import COCO
from maskrcnn.detector import load
from maskrcnn.ops import run_length
from maskrcnn.training.checkpoint import load_weights

SMALL = [setting for setting in SETTINGS if not setting.startswith(("data.crop", "text."))]
SMALL += ["data.short_sides=(64,96)", "training.steps=2", "model.box_head.score_threshold=0.01"]
"""What makes the recipe coco_small smaller still; random weights are sure of nothing."""

pytestmark = pytest.mark.filterwarnings("ignore:.*left out 1 of 3 pictures")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data set with pictures for training, and the same for validation."""
    root = tmp_path_factory.mktemp("coco")
    for split in ("train2017", "val2017"):
        write_coco(root, None, f"annotations/instances_{split}.json", split)
    return root


@pytest.fixture(scope="module")
def weights(root, tmp_path_factory):
    """What two steps of training leave."""
    out = tmp_path_factory.mktemp("run") / "objects"
    assert main(["train", "coco_small", "--data", str(root), "--out", str(out), "--set", *SMALL]) == 0
    return out / "model.safetensors"


def test_the_classes_of_the_network_are_those_of_the_data(weights):
    _, config, metadata = load_weights(weights)
    assert config.model.class_names == ("dog", "cat") and config.name == "coco_small"
    assert metadata["category_ids"] == "3,7" and metadata["pictures"] == "2"


def test_evaluation_prints_and_writes_average_precision(capsys, root, weights, tmp_path):
    said = run(capsys, "evaluate", weights, "--data", root, "--out", tmp_path, "--json", tmp_path / "scores.json")
    lines = said.splitlines()
    assert lines[0].startswith("bbox: AP 0.") and lines[1].startswith("segm: AP 0.") and "APl none" in lines[1]
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert list(scores) == ["bbox", "segm"] and len(scores["segm"]) == 12 and scores["segm"]["APl"] is None
    # The split is "test" unless said otherwise, for which COCO has its validation pictures.
    data, detector = COCO(root, "val"), load(weights)
    masks = json.loads((tmp_path / "segm.json").read_text())
    expected = [detector(data[index].image, 0.0).objects for index in range(3)]
    assert len(masks) == sum(map(len, expected)) > 0
    first = next(objects[0] for objects in expected if objects)
    assert masks[0]["score"] == first.score and masks[0]["category_id"] == data.category_ids[first.label - 1]
    assert Image.open(tmp_path / "examples.jpg").width > 1400


def test_predictions_are_drawn_and_written(capsys, root, weights, tmp_path):
    picture = root / "val2017" / "b.png"
    said = run(capsys, "predict", weights, picture, "--out", tmp_path, "--threshold", 0.01)
    objects = load(weights)(picture, 0.01).objects
    assert said == f"{picture}: {len(objects)} objects: {tmp_path / 'b.png'}\n" and len(objects) > 0
    record = json.loads((tmp_path / "b.json").read_text())
    assert record["image"] == str(picture) and len(record["objects"]) == len(objects)
    for written, found in zip(record["objects"], objects, strict=True):
        assert written["class"] == found.name and written["score"] == round(found.score, 4)
        np.testing.assert_allclose(written["box"], found.box, atol=0.006)
        assert run_length.from_string(written["mask"]["counts"], *written["mask"]["size"]) == found.mask
    assert (np.asarray(Image.open(tmp_path / "b.png")) != 0).any()


def test_objects_below_a_half_are_not_shown_unless_asked_for(root, weights):
    objects = load(weights)(root / "val2017" / "b.png").objects
    assert all(found.score >= 0.5 for found in objects)


def test_a_check_counts_classes(capsys, root, tmp_path):
    said = run(capsys, "check", "coco", root, "--split", "val2017", "--out", tmp_path, "--recipe", "coco_small")
    assert said.startswith("3 images, 4 objects, 1 of them don't care\n  1 image (c.png) has no objects at all\n")
    assert "2 classes, objects to be found of 2: cat 2, dog 1" in said and "nothing skipped, nothing degenerate" in said
    assert "anchors of sizes 16, 32, 64, 128, 256" in said


def test_a_check_has_the_anchors_of_its_own_recipe(capsys, root, tmp_path):
    assert "anchors of sizes 32, 64, 128, 256, 512" in run(capsys, "check", "coco", root, "--out", tmp_path)


def test_weights_of_other_classes_are_refused(capsys, root, weights, tmp_path):
    content = small_coco()
    content["categories"][0]["name"] = "horse"
    other = write_coco(tmp_path / "other", content)
    said = mistake(capsys, "evaluate", weights, "--data", other, "--split", "train", "--out", tmp_path)
    assert said.endswith("found no category for 1 of the 2 classes of the weights: cat")


def test_weights_of_objects_are_not_for_text_and_weights_of_text_not_for_objects(capsys, root, weights, tmp_path):
    texts = write_icdar2015(tmp_path / "texts")
    said = mistake(capsys, "evaluate", weights, "--data", texts, "--out", tmp_path)
    assert said == "--data: these weights find objects, expected a data set in the layout of COCO"
    said = mistake(capsys, "predict", weights, root / "val2017" / "b.png", "--out", tmp_path / "o", "--submission")
    assert "no number" in said  # the name of the picture; with one:
    numbered = tmp_path / "img_1.png"
    Image.new("RGB", (60, 40)).save(numbered)
    said = mistake(capsys, "predict", weights, numbered, "--out", tmp_path / "o", "--submission")
    assert said == f"--submission: {weights} finds objects, expected weights that find text"
    of_text = save_small_weights(tmp_path / "text.safetensors")
    said = mistake(capsys, "evaluate", of_text, "--data", root, "--out", tmp_path)
    assert said == "b.png: found a text of several polygons, expected one each"


def test_a_run_goes_on_with_the_same_classes_only(capsys, root, weights, tmp_path):
    run(capsys, "train", "coco_small", "--data", root, "--out", weights.parent, "--resume", "--set", *SMALL)
    content = small_coco()
    content["categories"][0]["name"] = "horse"
    other = write_coco(tmp_path / "other", content)
    said = mistake(capsys, "train", "coco_small", "--data", other, "--out", weights.parent, "--resume", "--set", *SMALL)
    assert "model.class_names was ('dog', 'cat'), now ('dog', 'horse')" in said


def test_what_is_wrong_with_a_file_is_one_line(capsys, tmp_path):
    content = small_coco()
    content["annotations"][0]["image_id"] = 31
    data = write_coco(tmp_path / "data", content)
    for command in (["train", "coco_small", "--data", data], ["check", "coco", data]):
        said = mistake(capsys, *command, "--out", tmp_path / "out")
        assert "annotation 1: found image_id 31, expected the id of one of the 3 image entries" in said


@pytest.mark.slow
def test_a_detector_of_objects_learns_and_scores(capsys, shared_data, tmp_path):
    """The loss of a few steps on real pictures falls, and the result can be scored; overfit_coco.py goes on to 0.8."""
    settings = ["training.steps=12", "training.warmup_steps=1", "data.short_sides=(160,)", "training.workers=0"]
    data = shared_data / "coco"
    run(capsys, "train", "coco_small", "--data", data, "--out", tmp_path / "run", "--set", *settings)
    rows = [line.split(",") for line in (tmp_path / "run" / "log.csv").read_text().splitlines()]
    total = [float(row[rows[0].index("total")]) for row in rows[1:]]
    assert len(total) == 12 and sum(total[-3:]) < 0.8 * sum(total[:3])
    said = run(capsys, "evaluate", tmp_path / "run" / "model.safetensors", "--data", data, "--split", "train",
               "--out", tmp_path / "evaluation")  # fmt: skip
    assert said.startswith("bbox: AP 0.0")
=======
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
    assert said.startswith("9 pictures, ") and "count" in said
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
    assert "3 detections beyond the best 100 of a class in a picture do not count" in said


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
        ("coco-bbox", ["--threshold", "0.5"], "--threshold is not for coco-bbox"),
        ("coco-segm", ["--sweep"], "--sweep is not for coco-segm"),
        ("coco-bbox", ["--sigmas", "0.1"], "--sigmas is not for coco-bbox"),
        ("icdar2015", ["--out", "x"], "--out is not for icdar2015"),
        ("icdar2015", ["--sigmas", "1"], "--sigmas is not for icdar2015"),
    ],
)
def test_options_of_another_protocol(capsys, files, protocol, options, said):
    assert mistake(capsys, "score", protocol, *files(), *options) == said


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
>>>>>>> d74611c (score coco-bbox, coco-segm, coco-keypoints: numbers, classes, curves, and what the mistakes cost)
