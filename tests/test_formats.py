"""One word for each format, known to every command: check, train, evaluate, predict and score."""

import json
import typing
import zipfile
from pathlib import Path

import independent_icdar_evaluator as independent
import numpy as np
import pytest
from small_files import picture_bytes, write_files
from small_text import SETTINGS, run, save_small_weights, small_config

from maskrcnn.cli import main
from maskrcnn.cli.render import FORMATS as WRITERS
from maskrcnn.config import DataConfig
from maskrcnn.data.sources import FORMATS, open_data
from maskrcnn.detector import load
from maskrcnn.evaluate import evaluate_texts
from maskrcnn.evaluation.protocols import PROTOCOLS
from maskrcnn.training.checkpoint import load_weights

DATASETS = Path(__file__).parents[1] / "datasets"
TEST_SPLITS = {"icdar2015": "test", "icdar2017": "validation", "ctw1500": "test", "totaltext": "test"}


def test_the_setting_the_readers_the_writers_and_the_protocols_have_the_same_names():
    assert typing.get_args(typing.get_type_hints(DataConfig)["format"]) == tuple(FORMATS)
    assert {*TEST_SPLITS} == {*PROTOCOLS} <= {*WRITERS} == {*FORMATS}


@pytest.mark.parametrize("name", TEST_SPLITS)
def test_the_setting_says_how_a_folder_is_read(name):
    data = open_data(str(DATASETS / name / "sample"), TEST_SPLITS[name], small_config(f"data.format={name}"))
    assert type(data) is FORMATS[name] and len(data) == 1
    other = "ctw1500" if name == "icdar2015" else "icdar2015"
    with pytest.raises(ValueError, match=r"sample: found .*; expected "):
        open_data(str(DATASETS / name / "sample"), "train", small_config(f"data.format={other}"))


def test_training_remembers_the_format_and_evaluation_goes_by_it(capsys, tmp_path):
    sample, weights = DATASETS / "ctw1500" / "sample", tmp_path / "run" / "model.safetensors"
    arguments = ["--data", sample, "--format", "ctw1500", "--out", tmp_path / "run"]
    run(capsys, "train", "text_small", *arguments, "--set", *SETTINGS, "training.steps=1")
    assert load_weights(weights)[1].data.format == "ctw1500"
    arguments = ["--data", sample, "--split", "1..1", "--out", tmp_path / "e", "--json", tmp_path / "score.json"]
    said = run(capsys, "evaluate", weights, *arguments)
    data = open_data(str(sample), "1..1", load(weights).config)
    words = data.annotations(0)
    # MMOCR ignores nothing on CTW1500; the official rules do.
    assert words.ignore.any() and not words.ignore.all()
    assert json.loads((tmp_path / "score.json").read_text())["ground_truths"] == len(words.polygons)
    assert f"of {int((~words.ignore).sum())} ground truths" in said


@pytest.mark.parametrize("name", TEST_SPLITS)
def test_a_prediction_of_each_set_is_submitted_and_scored_as_its_rules_want(capsys, tmp_path, name):
    weights = save_small_weights(tmp_path / "w.safetensors", f"data.format={name}", "text.shape=polygon")
    sample, split = DATASETS / name / "sample", TEST_SPLITS[name]
    layout = FORMATS[name].layouts[split][0]
    (picture,) = (sample / layout.pictures[0]).iterdir()
    run(capsys, "predict", weights, picture, "--out", tmp_path / "found", "--submission", "--scores")
    submission = tmp_path / "found" / "submission.zip"
    with zipfile.ZipFile(submission) as archive:
        (file,) = archive.namelist()
        corners = {line.count(",") // 2 for line in archive.read(file).decode().split()}
    assert file == PROTOCOLS[name].result_name.format(1001 if name == "ctw1500" else 1)
    assert corners == {4} if PROTOCOLS[name].quadrilaterals else max(corners) > 4
    four = 4 if PROTOCOLS[name].quadrilaterals else None
    assert independent.faults_of_submission(submission, [file], four, scores=True) == []
    truth = sample / layout.annotations
    score = json.loads(run(capsys, "score", name, truth, submission, "--json", "--sweep"))
    assert score["ground_truths"] > 0
    # Nearly the same number as from the picture itself, where corners are not rounded.
    settings = ["text.shape=quadrilateral"] if PROTOCOLS[name].quadrilaterals else []
    detector = load(weights, settings=settings)
    evaluation = evaluate_texts(
        detector, open_data(str(sample), split, detector.config), sweep_ignores=PROTOCOLS[name].sweep_ignores
    )
    assert score["ground_truths"] == evaluation.sweep()[0].ground_truths


def test_what_is_no_benchmark_has_no_submission(capsys, tmp_path):
    weights = save_small_weights(tmp_path / "w.safetensors")
    picture = write_files(tmp_path / "p", {"img_1.jpg": picture_bytes()}) / "img_1.jpg"
    arguments = ["predict", weights, picture, "--out", tmp_path / "o", "--submission", "--format"]
    assert main([str(argument) for argument in [*arguments, "mmocr"]]) == 2
    said = capsys.readouterr().err
    assert "found mmocr, which is no benchmark, expected --format with one of: icdar2015, icdar2017, ctw1500, t" in said
    run(capsys, *arguments, "ctw1500")
    with zipfile.ZipFile(tmp_path / "o" / "submission.zip") as archive:
        assert archive.namelist() == ["0001.txt"]


def test_mmocrs_files_can_be_trained_on(capsys, tmp_path):
    word = [10, 10, 50, 10, 50, 30, 10, 30]
    instances = {
        "images": [{"file_name": "training/img_1.jpg", "height": 96, "width": 128, "id": 0}],
        "categories": [{"id": 1, "name": "text"}],
        "annotations": [
            {"iscrowd": 0, "category_id": 1, "bbox": [10, 10, 40, 20], "area": 800, "segmentation": [word],
             "image_id": 0, "id": 0}
        ],
    }  # fmt: skip
    files = {"imgs/training/img_1.jpg": picture_bytes(128, 96), "instances_training.json": json.dumps(instances)}
    data = write_files(tmp_path / "data", files)
    said = run(capsys, "check", "mmocr", data, "--out", tmp_path / "check")
    assert said.startswith("1 image, 1 word, 0 of them don't care")
    np.testing.assert_array_equal(
        open_data(str(data), "train", small_config("data.format=mmocr"))[0].boxes, [[10, 10, 50, 30]]
    )
