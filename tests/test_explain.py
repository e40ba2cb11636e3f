"""The explanation of one picture: its data are what the network computed, and its page is safe to open and to share."""

import base64
import hashlib
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_model import SMALL, WITH_KEYPOINTS
from small_text import picture as text_picture
from small_text import save_small_weights
from small_variants import VARIANTS

from maskrcnn import boxes as box_functions
from maskrcnn.cli import MISTAKE, main
from maskrcnn.config import Config, TextConfig
from maskrcnn.data.collate import inference_batch
from maskrcnn.detector import Detector, load
from maskrcnn.explain import explain, write_page
from maskrcnn.explain.encoding import reduced, sheet
from maskrcnn.explain.page import page
from maskrcnn.explain.targets import read_targets
from maskrcnn.model.mask_rcnn import MaskRCNN


def floats(text: str, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), "<f4").copy()).reshape(shape or (-1,))


def whole(text: str) -> list[int]:
    return np.frombuffer(base64.b64decode(text), "<i4").tolist()


def pixels(source: str) -> np.ndarray:
    kind, _, content = source.partition(",")
    assert kind in ("data:image/png;base64", "data:image/jpeg;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def values(found: dict) -> np.ndarray:
    """The maps of a sheet, (count, rows, columns), as a page reads them."""
    grey = pixels(found["src"]).astype(np.float64) / 255 * (found["high"] - found["low"]) + found["low"]
    across, rows, columns = found["across"], found["rows"], found["columns"]
    tiles = grey.reshape(-1, rows, across, columns).swapaxes(1, 2).reshape(-1, rows, columns)
    return tiles[: found["count"]]


def detector_of(model_config) -> Detector:
    torch.manual_seed(0)
    outlines = "planes" if model_config.mask_head.targets == "pyramid" else "contour"
    return Detector(MaskRCNN(model_config), Config(model=model_config, text=TextConfig(outlines=outlines)))


@pytest.fixture(scope="module")
def photograph(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "photo.png"
    Image.fromarray(text_picture(0)).save(path)
    return path


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Detector:
    return load(save_small_weights(tmp_path_factory.mktemp("weights") / "small.safetensors"))


@pytest.fixture(scope="module")
def explained(detector, photograph) -> dict:
    return explain(detector, photograph, "small", score_threshold=0.0).data


# --- Encoding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 5, 7), (6, 4, 4), (7, 2, 9), (3, 1, 1)])
def test_a_sheet_gives_its_maps_back_to_a_step_in_255(shape):
    maps = torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 7 - 3
    found = sheet(maps)
    assert (found["count"], found["rows"], found["columns"]) == shape
    assert np.abs(values(found) - maps.numpy()).max() <= (found["high"] - found["low"]) / 255 / 2 + 1e-6


def test_a_sheet_of_one_value_or_of_none_is_no_error():
    assert values(sheet(torch.full((2, 3, 3), 5.0))).min() == 5.0
    assert sheet(torch.zeros(0, 28, 28))["src"] == ""
    assert values(sheet(torch.tensor([[[0.0, float("nan")], [255.0, 51.0]]]))).tolist() == [[[0, 0], [255, 51]]]


def test_channels_are_averaged_only_where_there_are_too_many():
    small = torch.rand(4, 10, 10)
    channels, factor = reduced(small)
    assert factor == 1 and torch.equal(channels, small)
    channels, factor = reduced(torch.arange(4.0).view(4, 1, 1).expand(4, 700, 900))
    assert channels.shape == (4, 234, 300) and factor == 3 and torch.equal(channels[:, 0, 0], torch.arange(4.0))


# --- What the data say ------------------------------------------------------------------------------------------------


def test_the_result_is_what_the_detector_finds(detector, photograph, explained):
    found = detector(photograph, 0.0)
    shown = [detection for detection in explained["detections"] if detection["shown"]]
    assert len(shown) == len(found.texts) > 0
    scale = np.array(explained["picture"]["original"]) / (explained["picture"]["width"], explained["picture"]["height"])
    for detection, text in zip(shown, found.texts, strict=True):
        assert detection["score"] == pytest.approx(text.score, abs=1e-6)
        np.testing.assert_allclose(np.array(detection["polygon"]) * scale, text.polygon, atol=0.01 * scale.max())


def test_nms_of_the_boxes_on_the_page_gives_the_boxes_that_were_kept(explained):
    from maskrcnn import ops

    for section, groups in (("proposals", "levels"), ("candidates", "labels")):
        data = explained[section]
        boxes, scores = floats(data["boxes"], -1, 4), floats(data["scores"])
        read = np.frombuffer(base64.b64decode(data[groups]), "u1" if groups == "levels" else "<i4")
        kept = ops.nms(
            boxes, scores, torch.from_numpy(read.astype(np.int64)),
            iou_threshold=data["iou"], max_keep=data["max_keep"],
        )  # fmt: skip
        assert kept[kept >= 0].tolist() == whole(data["kept"])


def test_a_detection_comes_from_its_roi_by_its_deltas(detector, explained):
    rois = explained["rois"]
    boxes, deltas, refined = (floats(rois[name], -1, 4) for name in ("boxes", "deltas", "refined"))
    weights = tuple(rois["box_weights"])
    expected = box_functions.decode(deltas, boxes, weights, detector.config.model.box_head.clamp_both_sides)
    sizes = torch.tensor([[explained["picture"]["height"], explained["picture"]["width"]]])
    torch.testing.assert_close(refined, box_functions.clip(expected[None], sizes)[0])
    for detection in explained["detections"]:
        assert refined[detection["roi"]].tolist() == pytest.approx(detection["box"], abs=1e-3)
        assert floats(rois["top_scores"], -1, 5)[detection["roi"]].max() >= detection["score"] - 1e-6


def test_the_maps_are_those_of_the_backbone_and_the_pyramid(explained):
    assert [level["name"] for level in explained["features"]] == ["C2", "C3", "C4", "C5", "P2", "P3", "P4", "P5", "P6"]
    assert [level["stride"] for level in explained["features"]] == [4, 8, 16, 32, 4, 8, 16, 32, 64]
    for level in explained["features"]:
        channels, norm = values(level["channels"]), values(level["norm"])[0]
        assert len(channels) == level["channel_count"]
        if channels.shape[1:] == norm.shape:
            tolerance = (level["channels"]["high"] - level["channels"]["low"]) / 255 * len(channels) ** 0.5
            assert np.abs(np.sqrt((channels**2).sum(axis=0)) - norm).max() < tolerance


@pytest.mark.slow
@pytest.mark.parametrize("config", VARIANTS.values(), ids=list(VARIANTS))
def test_every_variant_has_a_page_with_the_masks_that_it_computed(photograph, tmp_path, config):
    detector = detector_of(replace(config, box_head=replace(config.box_head, score_threshold=0.01)))
    found = explain(detector, photograph, score_threshold=0.0)
    detections = found.found.detections
    count = int(detections.valid[0].sum())
    assert len(found.data["detections"]) == count
    masks = found.data["masks"]
    if masks is not None:
        size = masks["size"]
        assert torch.equal(floats(masks["values"], -1, size, size), detections.masks[0, :count].float())
        assert masks["box"]["size"] == config.mask_head.pooled_size
        if masks["logits"] is not None:
            logits = floats(masks["logits"], -1, size, size)
            torch.testing.assert_close(logits.sigmoid(), floats(masks["values"], -1, size, size))
    assert found.data["rois"]["box"]["size"] == config.box_head.pooled_size
    names = [level["name"] for level in found.data["features"]]
    assert len(set(names)) == len(names) and set(found.data["rois"]["level_names"]) <= set(names)
    write_page(tmp_path / "page.html", found)


def test_positive_anchors_overlap_the_detection_they_are_positive_for(explained):
    anchors = explained["anchors"]
    assert anchors["positive"]
    shown = [detection["box"] for detection in explained["detections"] if detection["shown"]]
    for level, row, column, anchor, detection, overlap in anchors["positive"]:
        of_level = anchors["levels"][level]
        assert row < of_level["rows"] and column < of_level["columns"]
        y, x = row * of_level["stride"][0], column * of_level["stride"][1]
        box = torch.tensor(of_level["cell"][anchor]) + torch.tensor([x, y, x, y])
        iou = float(box_functions.iou(box[None], torch.tensor(shown[detection])[None]))
        assert iou == pytest.approx(overlap, abs=1e-3)


def test_every_section_has_its_tensors_its_module_and_its_chapter(explained):
    root = Path(__file__).parent.parent
    assert [stage["id"] for stage in explained["stages"]] == [
        "input", "features", "anchors", "objectness", "proposals", "roialign", "box-head", "detections", "mask-head",
        "result", "time",
    ]  # fmt: skip
    for stage in explained["stages"]:
        assert (root / stage["module"]).is_file() and (root / stage["chapter"]).is_file()
        if stage["id"] not in ("result", "time"):
            assert stage["tensors"] and {"name", "shape", "dtype", "low", "high"} == set(stage["tensors"][0])
    total = sum(part["milliseconds"] for part in explained["time"])
    assert total > sum(part["milliseconds"] for part in explained["time"][:-1]) > 0


@pytest.mark.parametrize("config", [SMALL, WITH_KEYPOINTS], ids=["masks", "keypoints"])
def test_objects_have_outlines_and_keypoints_where_the_network_has(photograph, config):
    box_head = replace(config.box_head, score_threshold=0.01)
    found = explain(detector_of(replace(config, box_head=box_head)), photograph, score_threshold=0.0).data
    assert found["result"]["noun"] == "objects" and found["class_names"] == ["bright", "dark"]
    assert found["detections"] and all(d["shown"] for d in found["detections"])
    for detection in found["detections"]:
        outline = np.array(detection["polygon"]) if detection["polygon"] else np.array(detection["box"]).reshape(2, 2)
        x1, y1, x2, y2 = detection["box"]
        assert (outline >= (x1 - 0.1, y1 - 0.1)).all() and (outline <= (x2 + 0.1, y2 + 0.1)).all()
    if config is WITH_KEYPOINTS:
        assert found["skeleton"] == [[0, 1], [1, 2]]
        assert all(len(d["keypoints"]) == 3 for d in found["detections"])


def test_a_picture_without_detections_has_a_page_as_well(detector, photograph, tmp_path):
    found = explain(detector, photograph, score_threshold=1.0)
    assert not any(detection["shown"] for detection in found.data["detections"])
    assert found.data["anchors"]["positive"] == []
    none = detector_of(replace(SMALL, box_head=replace(SMALL.box_head, score_threshold=0.999)))
    found = explain(none, photograph)
    assert found.data["detections"] == [] and found.data["masks"]["values"] == ""
    write_page(tmp_path / "none.html", found)


@pytest.mark.slow
def test_a_page_of_the_largest_network_stays_below_ten_megabytes(tmp_path):
    """Of noise, which nothing can compress, with a hundred detections."""
    from maskrcnn.recipes import recipe

    picture = tmp_path / "noise.png"
    noise = np.random.default_rng(0).integers(0, 256, (800, 1333, 3), dtype=np.uint8)
    Image.fromarray(noise).save(picture)
    config = recipe("coco").override(["model.box_head.score_threshold=0.001"])
    model = replace(config.model, class_names=tuple(f"class {number}" for number in range(1, 81)))
    torch.manual_seed(0)
    found = explain(Detector(MaskRCNN(model), replace(config, model=model)), picture)
    assert len(found.data["detections"]) == 100
    write_page(tmp_path / "noise.html", found)
    assert (tmp_path / "noise.html").stat().st_size < 10_000_000


# --- With ground truth ------------------------------------------------------------------------------------------------


def test_with_ground_truth_there_are_matches_samples_targets_and_losses(detector, photograph, tmp_path):
    annotations = tmp_path / "gt_photo.txt"
    annotations.write_text("10,10,60,10,60,30,10,30,word\n70,40,90,40,90,60,70,60,###\n")
    truth = lambda image: read_targets(annotations, image, "photo.png", detector.config)  # noqa: E731
    found = explain(detector, photograph, ground_truth=truth).data
    assert found["stages"][-1]["id"] == "training"
    training = found["training"]
    batch = inference_batch(truth(text_picture(0)), detector.config.model.image)
    torch.manual_seed(0)
    with torch.inference_mode():
        expected = detector.model(batch).losses
    assert [loss["name"] for loss in training["losses"]] == list(expected)
    for loss in training["losses"]:  # samples are drawn anew each time, but from few positives
        assert loss["value"] == pytest.approx(float(expected[loss["name"]]), rel=0.5) and loss["meaning"]
    assert training["anchors"]["positive_count"] == len(training["anchors"]["positive"]) > 0
    assert [truth["ignore"] for truth in training["ground_truth"]] == [False, True]
    assert {place[4] for place in training["anchors"]["positive"]} == {0}
    positives = sum(place[4] for place in training["anchors"]["sampled"])
    assert 0 < positives <= len(training["anchors"]["sampled"]) / 2
    boxes, labels = floats(training["rois"]["boxes"], -1, 4), whole(training["rois"]["labels"])
    assert len(boxes) == len(labels) and set(labels) <= {0, 1} and sum(labels) == training["mask_targets"]["count"]


def coco_file(path: Path, name: str, classes: list[str]) -> Path:
    """One picture of 160 x 120 with one object, in COCO's format; the picture itself is elsewhere."""
    content = {
        "images": [
            {"id": 1, "file_name": name, "width": 160, "height": 120},
            {"id": 2, "file_name": "other.jpg", "width": 9, "height": 9},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 40, 30], "area": 1200, "iscrowd": 0,
             "segmentation": [[10, 10, 50, 10, 50, 40, 10, 40]]}
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes, start=1)],
    }  # fmt: skip
    path.write_text(json.dumps(content))
    return path


def test_cocos_file_is_enough_without_the_other_pictures(tmp_path):
    config = replace(Config(), model=SMALL).override(["data.format=coco"])
    image = np.zeros((120, 160, 3), np.uint8)
    path = coco_file(tmp_path / "objects.json", "photo.png", ["bright", "dark"])
    sample = read_targets(path, image, "photo.png", config)
    assert sample.labels.tolist() == [1] and sample.boxes.tolist() == [[10, 10, 50, 40]]
    with pytest.raises(ValueError, match=r"objects.json: found 2 pictures and none called nobody.png"):
        read_targets(path, image, "nobody.png", config)
    with pytest.raises(ValueError, match=r"photo.png is annotated as 160 x 120 pixels, found 100 x 120"):
        read_targets(path, image[:, :100], "photo.png", config)
    other = coco_file(tmp_path / "objects.json", "photo.png", ["dark", "bright"])
    with pytest.raises(ValueError, match="the classes dark, bright, expected those of the network: bright, dark"):
        read_targets(other, image, "photo.png", config)


@pytest.mark.parametrize(
    ("content", "format", "said"),
    [
        (b"10,10,60,10,word\n", "icdar2015", r"gt.txt:1: found"),
        (b"{}", "coco", r"gt.txt.*"),
        (b"", "mmocr", r"gt.txt: cannot be read as mmocr, expected --format with one of: icdar2015, icdar2017"),
    ],
)
def test_ground_truth_that_is_not_what_it_should_be_is_refused(tmp_path, detector, content, format, said):
    path = tmp_path / "gt.txt"
    path.write_bytes(content)
    config = detector.config.override([f"data.format={format}"])
    with pytest.raises(ValueError, match=said):
        read_targets(path, text_picture(0), "photo.png", config)


def test_a_missing_annotation_file_is_said(tmp_path, detector):
    with pytest.raises(ValueError, match=r"none.txt: found no such file, expected an annotation file"):
        read_targets(tmp_path / "none.txt", text_picture(0), "photo.png", detector.config)


# --- The page ---------------------------------------------------------------------------------------------------------


def data_of(html: str) -> dict:
    found = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert len(found) == 1
    return json.loads(found[0])


def test_the_name_of_a_picture_is_data_and_never_markup(detector, photograph, tmp_path):
    hostile = "<script>alert(1)</script><!--.png".replace("/", "\N{DIVISION SLASH}")
    picture = tmp_path / hostile
    shutil.copy(photograph, picture)
    found = explain(detector, picture)
    found = replace(found, data=found.data | {"weights": "</script><script>alert(2)</script>"})
    html = page(found, tmp_path)
    assert "<script>alert" not in html and "<!--.png" not in html
    assert data_of(html)["file"] == hostile and data_of(html)["weights"] == "</script><script>alert(2)</script>"


def test_no_script_runs_but_those_of_the_page(detector, photograph, tmp_path):
    html = page(explain(detector, photograph), tmp_path)
    policy = re.search(r'http-equiv="Content-Security-Policy"\s+content="([^"]+)"', html)[1]
    hashes = re.findall(r"'sha256-([^']+)'", policy)
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert hashes == [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0] and len(scripts) > 10


def test_a_compiled_detector_is_refused_before_any_work(detector, photograph):
    compiled = Detector.__new__(Detector)
    compiled.model, compiled.config, compiled.precision = torch.nn.Identity(), detector.config, "float32"
    with pytest.raises(TypeError, match=r"detector.model: found Identity, expected a MaskRCNN"):
        explain(compiled, photograph)


def test_nothing_is_loaded_from_anywhere(detector, photograph, tmp_path):
    html = page(explain(detector, photograph), tmp_path)
    assert "default-src 'none'" in html
    for loading in (r"""(?:src|href)\s*=\s*["'](?!data:|#)""", r"@import|url\((?![\"']?data:)", r"https?://(?!www\.w3\.org)"):
        assert re.findall(loading, html) == []
    assert str(tmp_path) not in html and str(photograph.parent) not in html


def test_modules_are_linked_only_inside_the_sources(detector, photograph, tmp_path):
    found = explain(detector, photograph)
    root = Path(__file__).parent.parent
    assert {link for stage in data_of(page(found, tmp_path))["stages"] for link in stage["links"].values()} == {None}
    linked = data_of(page(found, root / "runs"))["stages"][0]["links"]
    assert linked == {"module": "../maskrcnn/data/collate.py", "chapter": "../notebooks/01-images-and-targets.ipynb"}


# --- The command ------------------------------------------------------------------------------------------------------


def test_the_command_writes_a_page(tmp_path, photograph, capsys):
    weights = save_small_weights(tmp_path / "small.safetensors")
    out = tmp_path / "a" / "page.html"
    assert main(["explain", str(photograph), "--weights", str(weights), "--out", str(out)]) == 0
    assert data_of(out.read_text("utf-8"))["file"] == "photo.png"
    assert re.search(r"photo.png: \d+ texts?: .*page.html", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.jpg", "--out", "page.html"], "missing.jpg"),
        (["photo.png", "--out", "page.htm"], "found the ending '.htm', expected .html"),
        (["photo.png", "--out", "photo.png/page.html"], "page.html: found a file in its way, expected a folder"),
        (["photo.png", "--out", "page.html", "--targets", "gt.txt"], "gt.txt: found no such file"),
        (["photo.png", "--out", "page.html", "--weights", "nothing"], "nothing: found no such file"),
    ],
)
def test_mistakes_are_one_line(tmp_path, photograph, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    shutil.copy(photograph, tmp_path)
    assert main(["explain", *arguments]) == MISTAKE
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not (tmp_path / "page.html").exists()
