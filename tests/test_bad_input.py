"""Bad files, seen as a user sees them: each is told in one line that names it, and nothing that was there is lost.

What the readers refuse in detail is in test_icdar, test_images, test_archives, test_result_files and test_checkpoint.
"""

import io
import json
import os
import pickle
import resource
import shutil
import signal
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_text import SETTINGS, annotation, mistake, picture, run, save_small_weights, write_icdar2015

from maskrcnn.cli import MISTAKE, main
from maskrcnn.data import archives
from maskrcnn.training.checkpoint import load_checkpoint, load_weights

PICTURES, ANNOTATIONS = "ch4_training_images", "ch4_training_localization_transcription_gt"
WORD = "10,12,70,12,70,32,10,32,WORD\r\n"


@pytest.fixture
def data(tmp_path) -> Path:
    return write_icdar2015(tmp_path / "data")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return save_small_weights(tmp_path_factory.mktemp("weights") / "small.safetensors")


def train_arguments(data: Path, out: Path, *settings: str) -> list[object]:
    return ["train", "text_small", "--data", data, "--out", out, "--set", *SETTINGS, "training.steps=2", *settings]


def check_arguments(data: Path) -> list[object]:
    return ["check", "icdar2015", data, "--out", data.parent / "check"]


def annotate(data: Path, text: str | bytes, number: int = 2) -> None:
    """Replaces the annotation of a training picture."""
    content = text.encode() if isinstance(text, str) else text
    (data / ANNOTATIONS / f"gt_img_{number}.txt").write_bytes(content)


# Pictures


def damaged_pictures() -> dict[str, tuple[bytes, str]]:
    file = io.BytesIO()
    Image.fromarray(picture(1)).save(file, "JPEG")
    return {
        "truncated": (file.getvalue()[:-2000], "img_2.jpg: found a damaged or truncated picture ("),
        "text": (b"<html>404 not found</html>", "img_2.jpg: found a file that begins b'<html>404 not fo', expected"),
        "empty": (b"", "img_2.jpg: found an empty file, expected a picture"),
    }


@pytest.mark.parametrize("kind", damaged_pictures())
@pytest.mark.parametrize("workers", [0, 1])
def test_training_names_the_picture_that_it_cannot_read(capsys, data, kind, workers):
    content, message = damaged_pictures()[kind]
    (data / PICTURES / "img_2.jpg").write_bytes(content)
    arguments = [*train_arguments(data, data.parent / "run", f"training.workers={workers}"), "--split", "img_2..img_2"]
    assert mistake(capsys, *arguments).startswith(message)


@pytest.mark.parametrize("kind", damaged_pictures())
def test_evaluation_and_prediction_name_it_too(capsys, data, weights, kind):
    content, message = damaged_pictures()[kind]
    path = data / "ch4_test_images" / "img_2.jpg"
    path.write_bytes(content)
    code = main(["evaluate", str(weights), "--data", str(data), "--out", str(data.parent / "e"), "--split", "test"])
    said, told = capsys.readouterr()
    assert code == MISTAKE and any(line.startswith(message) for line in said.splitlines())
    counts = "1 of 2 pictures cannot be read and counted as pictures in which nothing was found: "
    assert f"maskrcnn evaluate: {counts}{message}" in told and "Traceback" not in told
    said = mistake(capsys, "predict", weights, path, "--out", data.parent / "found")
    assert said.startswith("1 of 1 picture cannot be read: ") and message.removeprefix("img_2.jpg") in said


def test_a_check_lists_all_damaged_pictures_and_goes_on(capsys, data):
    for number, (content, _) in zip((2, 3), list(damaged_pictures().values()), strict=False):
        (data / PICTURES / f"img_{number}.jpg").write_bytes(content)
    assert main([str(argument) for argument in check_arguments(data)]) == MISTAKE
    said, told = capsys.readouterr()
    assert "2 pictures at which training stops:" in said and "examples.jpg" in said
    assert told.startswith(f"maskrcnn check: {data}: 2 of 3 pictures cannot be read, and training stops there: img_2")
    assert told.endswith("; and 1 more\n")
    assert all(f"\n  {damaged_pictures()[kind][1]}" in said.replace("img_3", "img_2") for kind in ("truncated", "text"))


def test_pictures_that_are_not_there_and_folders_are_no_pictures(capsys, weights, tmp_path):
    said = mistake(capsys, "predict", weights, tmp_path / "none.jpg", tmp_path, "--out", tmp_path / "found")
    assert "none.jpg: found no such file, expected a picture; " in said and "found a folder, expected a picture" in said


def legal_pictures() -> dict[str, tuple[Image.Image, str]]:
    colour = Image.fromarray(picture(1))
    transparent = colour.convert("RGBA")
    transparent.putalpha(Image.linear_gradient("L").resize(colour.size))
    return {
        "one_pixel": (colour.crop((20, 20, 21, 21)), "png"),
        "one_row": (colour.crop((0, 20, 160, 21)), "png"),
        "grey": (colour.convert("L"), "jpg"),
        "black_and_white": (colour.convert("1"), "png"),
        "palette": (colour.quantize(32), "gif"),
        "transparent": (transparent, "png"),
        "16_bit": (Image.fromarray(np.asarray(colour.convert("L")).astype(np.uint16) * 257), "png"),
        "cmyk": (colour.convert("CMYK"), "jpg"),
    }


@pytest.mark.parametrize("kind", legal_pictures())
def test_every_kind_of_picture_can_be_searched(capsys, weights, tmp_path, kind):
    image, suffix = legal_pictures()[kind]
    image.save(tmp_path / f"{kind}.{suffix}")
    run(capsys, "predict", weights, tmp_path / f"{kind}.{suffix}", "--out", tmp_path / "out", "--threshold", 0)
    texts = json.loads((tmp_path / "out" / f"{kind}.json").read_text())["texts"]
    corners = np.concatenate([text["polygon"] for text in texts])
    assert (corners >= 0).all() and (corners <= image.size).all()
    assert Image.open(tmp_path / "out" / f"{kind}.png").mode == "RGB"


def test_grey_pictures_of_8_and_16_bits_give_the_same(capsys, weights, tmp_path):
    for kind in ("grey", "16_bit"):
        legal_pictures()[kind][0].save(tmp_path / f"{kind}.png")
    run(capsys, "predict", weights, tmp_path / "grey.png", tmp_path / "16_bit.png", "--out", tmp_path / "out")
    grey, deep = (json.loads((tmp_path / "out" / f"{kind}.json").read_text()) for kind in ("grey", "16_bit"))
    assert grey["texts"] == deep["texts"] != []


@pytest.mark.slow
def test_a_picture_of_48_million_pixels(capsys, weights, tmp_path):
    Image.fromarray(np.tile(picture(3), (50, 50, 1))).save(tmp_path / "large.jpg")
    run(capsys, "predict", weights, tmp_path / "large.jpg", "--out", tmp_path / "out")
    assert Image.open(tmp_path / "out" / "large.png").size == (8000, 6000)
    texts = json.loads((tmp_path / "out" / "large.json").read_text())["texts"]
    assert max(np.max(text["polygon"]) for text in texts) > 4000


def test_a_header_that_claims_too_many_pixels_is_refused_before_decoding(capsys, weights, tmp_path):
    Image.new("L", (10, 10)).save(tmp_path / "bomb.png")
    content = bytearray((tmp_path / "bomb.png").read_bytes())
    header = content.index(b"IHDR")  # then come width, height, 5 more bytes, and a check sum of it all
    content[header + 4 : header + 12] = (60000).to_bytes(4, "big") * 2
    content[header + 17 : header + 21] = zlib.crc32(bytes(content[header : header + 17])).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(bytes(content))
    said = mistake(capsys, "predict", weights, tmp_path / "bomb.png", "--out", tmp_path / "out")
    assert "60000 x 60000 pixels" in said or "3600000000 pixels" in said


# Annotations


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3,4,5,6,7,word", "gt_img_2.txt:2: found 'word' as number 8, expected 8 integers"),
        ("1,2,3,4,5,6,7", "gt_img_2.txt:2: found 7 numbers"),
        ("1,2,3,4,5.5,6,7,8,word", "gt_img_2.txt:2: found '5.5' as number 5, expected 8 integers"),
        ("1,2,3,4,5,6,7,1e9,word", "gt_img_2.txt:2: found '1e9' as number 8"),
        ("caf\xe9", "gt_img_2.txt:2: found byte 0xe9, expected UTF-8"),
    ],
)
@pytest.mark.parametrize("command", ["train", "evaluate", "check"])
def test_a_line_that_cannot_be_read_is_told_with_its_place(capsys, data, weights, command, line, message):
    annotate(data, (WORD + line).encode("latin-1"))
    arguments = {
        "train": train_arguments(data, data.parent / "run"),
        "evaluate": ["evaluate", weights, "--data", data, "--split", "train", "--out", data.parent / "e"],
        "check": check_arguments(data),
    }[command]
    assert mistake(capsys, *arguments).startswith(message)
    assert not (data.parent / "run").exists()


@pytest.mark.parametrize(
    ("corners", "what", "skipped"),
    [
        ("10,10,50,40,50,10,10,30", "a self-crossing quadrilateral", True),
        ("10,10,20,20,30,30,40,40", "a quadrilateral without area", True),
        ("5,5,5,5,5,5,5,5", "a quadrilateral without area", True),
        ("10,32,70,32,70,12,10,12", "a counter-clockwise quadrilateral", False),
    ],
)
def test_a_quadrilateral_that_makes_no_sense_is_said_and_training_goes_on(capsys, data, corners, what, skipped):
    annotate(data, f"{WORD}{corners},bad\r\n")
    said = run(capsys, *check_arguments(data))
    assert f"\n1 problem, {int(skipped)} skipped:\n  gt_img_2.txt:2: found {what}" in said
    assert f"3 images, {7 if skipped else 8} words" in said
    capsys.readouterr()
    assert main([str(argument) for argument in train_arguments(data, data.parent / "run")]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("maskrcnn train: warning: ")]
    assert len(told) == int(skipped) and all(f"skipped 1: gt_img_2.txt:2: found {what}" in line for line in told)
    assert len((data.parent / "run" / "log.csv").read_text().splitlines()) == 3


def test_a_clockwise_quadrilateral_is_nothing_to_talk_about(capsys, data):
    assert "nothing skipped, nothing degenerate" in run(capsys, *check_arguments(data))


@pytest.mark.parametrize("text", ["", "\ufeff", "\r\n\r\n", annotation().replace("WORD", "###").replace("a, b", "###")])
def test_pictures_without_legible_words_are_legal(capsys, data, weights, text):
    for number in (1, 2, 3):
        annotate(data, text, number)
    said = run(capsys, *check_arguments(data))
    words = text.count("###")
    assert said.startswith(f"3 images, {3 * words} words, {3 * words} of them don't care\n")
    assert "nothing to learn from: not one of the words is to be found" in said
    assert ("only don't-care words" if words else "no words at all") in said
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(capsys, *train_arguments(data, data.parent / "run"))
    *_, last = (data.parent / "run" / "log.csv").read_text().splitlines()
    assert np.isfinite([float(number) for number in last.split(",")]).all()
    said = run(capsys, "evaluate", weights, "--data", data, "--split", "train", "--out", data.parent / "e")
    assert "0 matched of 0 ground truths" in said


# Folders and zips


def test_a_picture_without_annotation_and_the_reverse(capsys, data):
    (data / ANNOTATIONS / "gt_img_3.txt").unlink()
    said = mistake(capsys, *train_arguments(data, data.parent / "run"))
    assert "found 1 pictures without an annotation file there (img_3.jpg), expected one for each" in said
    (data / PICTURES / "img_3.jpg").unlink()
    (data / PICTURES / "img_1.jpg").unlink()
    said = mistake(capsys, *check_arguments(data))
    assert "found 1 annotation files without a picture there (gt_img_1.txt), expected one for each" in said


def test_a_folder_that_is_not_the_data_set(capsys, weights, tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    for arguments in (
        train_arguments(tmp_path, tmp_path / "run"),
        ["evaluate", weights, "--data", tmp_path, "--out", tmp_path / "e"],
        check_arguments(tmp_path),
    ):
        said = mistake(capsys, *arguments)
        assert f"{tmp_path}: found holiday.jpg" in said and "expected ch4_t" in said
    assert "nowhere: found nothing, expected the data set's folder" in mistake(
        capsys, *train_arguments(Path("nowhere"), tmp_path / "run")
    )


def test_splits_that_do_not_exist(capsys, data, weights, tmp_path):
    for split, message in (
        ("img_7..img_9", "found numbers 1 to 3, expected some in img_7..img_9"),
        ("validation", "found split 'validation', expected train, test or a range such as img_1..img_900"),
    ):
        for arguments in (train_arguments(data, tmp_path / "run"), check_arguments(data)):
            assert message in mistake(capsys, *arguments, "--split", split)
        assert message in mistake(capsys, "evaluate", weights, "--data", data, "--split", split)
    said = mistake(capsys, "evaluate", weights, "--data", "rendered", "--split", "img_1..img_2")
    assert said == "--split img_1..img_2: rendered text has the splits train and test"


def zipped(data: Path, name: str, extra: dict[str, bytes]) -> None:
    """Puts a zip in the place of a folder of the data set, with further entries."""
    with zipfile.ZipFile(data / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((data / name).iterdir()):
            archive.write(path, path.name)
        for entry, content in extra.items():
            archive.writestr(entry, content)
    shutil.rmtree(data / name)


def test_a_zip_is_as_good_as_a_folder(capsys, data):
    for name in (PICTURES, ANNOTATIONS):
        zipped(data, name, {})
    assert run(capsys, *check_arguments(data)).startswith("3 images, 9 words, 3 of them don't care\n")


@pytest.mark.parametrize("entry", ["../evil.jpg", "/tmp/evil.jpg", "..\\evil.jpg", "C:/evil.jpg"])
def test_a_zip_whose_entries_want_out_is_refused(capsys, data, entry):
    zipped(data, PICTURES, {entry: b"evil"})
    before = sorted(data.parent.rglob("*"))
    said = mistake(capsys, *train_arguments(data, data.parent / "run"))
    assert f"{PICTURES}.zip: found entry " in said and said.endswith("expected a plain relative path")
    assert sorted(data.parent.rglob("*")) == before and not Path("/tmp/evil.jpg").exists()


def test_a_zip_bomb_is_refused(capsys, data, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_FILE", 10**6)
    zipped(data, ANNOTATIONS, {"gt_img_4.txt": bytes(2 * 10**6)})
    Image.fromarray(picture(4)).save(data / PICTURES / "img_4.jpg")
    assert (data / f"{ANNOTATIONS}.zip").stat().st_size < 10**4
    said = mistake(capsys, *check_arguments(data))
    assert said.endswith("gt_img_4.txt: found 2,000,000 bytes, expected at most 1,000,000")


def test_a_truncated_zip_is_named(capsys, data):
    zipped(data, PICTURES, {})
    path = data / f"{PICTURES}.zip"
    path.write_bytes(path.read_bytes()[:-100])
    assert f"{path}: found a file that is no complete zip" in mistake(capsys, *check_arguments(data))


def test_results_of_another_data_set_are_refused(capsys, data, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "res_img_99.txt").write_text("10,12,70,12,70,32,10,32\n")
    said = mistake(capsys, "score", "icdar2015", data / "Challenge4_Test_Task1_GT", tmp_path / "results")
    assert "found res_img_99.txt, expected only pictures of which" in said


# Settings, weights and checkpoints


@pytest.mark.parametrize(
    ("setting", "nearest"),
    [
        ("training.step=5", "training.step: no such setting; nearest: training.steps"),
        ("model.backbone.depht=18", "model.backbone.depht: no such setting; nearest: model.backbone.depth"),
        ("backbone.depth=18", "backbone.depth: no such setting; nearest: model.backbone.depth"),
        ("training.steps=0", "training.steps: found 0, expected 1 or more"),
        ("training.steps", "'training.steps': expected section.key=value"),
        ("model.backbone.norm=layer", "model.backbone.norm: found 'layer', expected one of"),
    ],
)
def test_a_misspelt_setting_is_answered_with_the_nearest(capsys, data, weights, setting, nearest):
    assert mistake(capsys, *train_arguments(data, data.parent / "run", setting)).startswith(nearest)
    assert mistake(capsys, "evaluate", weights, "--data", data, "--set", setting).startswith(nearest)
    assert not (data.parent / "run").exists()


def test_a_misspelt_recipe_and_weights(capsys, data, tmp_path):
    said = mistake(capsys, "train", "text_smal", "--data", data, "--out", tmp_path / "run")
    assert said.startswith("text_smal: no such recipe; nearest: text_small")
    said = mistake(capsys, "evaluate", "text_smal", "--data", data)
    assert said.startswith("text_smal: found no such file, expected weights or a shipped name: ")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("text.shape=polygon", "training.steps: found 160 epochs with --data rendered, which has no end; "
                               "expected training.steps=N"),
        ("training.epochs=0", "training.warmup_steps: found 31.25 epochs with --data rendered, which has no end; "
                              "expected training.warmup_steps=N"),
    ],
)  # fmt: skip
def test_epochs_of_what_has_no_end_are_refused(capsys, tmp_path, setting, expected):
    arguments = ["train", "icdar2015_plus", "--data", "rendered", "--out", tmp_path / "run", "--set", setting]
    if "epochs" in setting:
        arguments.append("training.warmup_epochs=31.25")
    assert mistake(capsys, *arguments) == expected
    assert not (tmp_path / "run").exists()


def test_weights_of_another_configuration_are_listed(capsys, data, weights, tmp_path):
    arguments = train_arguments(data, tmp_path / "run", "model.mask_head.channels=24", "model.anchors.ratios=1,")
    said = mistake(capsys, *arguments, "--init", weights)
    assert str(weights) in said and "tensors do not fit this model: " in said
    assert "roi_heads.mask_head.logits.weight is (1, 16, 1, 1), expected (1, 24, 1, 1)" in said
    assert "rpn.head.objectness.weight is (4, 16, 1, 1), expected (1, 16, 1, 1)" in said
    said = mistake(capsys, "evaluate", weights, "--data", data, "--set", "model.mask_head.enabled=False")
    assert "roi_heads.mask_head.logits.weight is not expected" in said
    assert not (tmp_path / "run").exists()


def test_a_run_is_resumed_with_its_own_settings_only(capsys, data, tmp_path):
    run(capsys, *train_arguments(data, tmp_path / "run"), "--minutes", "1e-9")
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    said = mistake(capsys, *train_arguments(data, tmp_path / "run", "training.learning_rate=7"), "--resume")
    assert "trained with other settings: training.learning_rate was 0.0015, now 7" in said
    said = mistake(capsys, *train_arguments(data, tmp_path / "run"))
    assert said.endswith("already holds a training run: resume it (--resume) or use another folder")
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before


def test_there_is_nothing_to_resume(capsys, data, tmp_path):
    said = mistake(capsys, *train_arguments(data, tmp_path / "run"), "--resume")
    assert said == f"{tmp_path / 'run'}: nothing to resume: there is no checkpoint.pt"
    assert not (tmp_path / "run").exists()


class Malicious:
    """Unpickling this makes a file."""

    def __init__(self, harm: Path) -> None:
        self.harm = harm

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.harm}",)


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, 2))])
def test_a_pickle_that_would_run_code_is_refused(capsys, data, tmp_path, name, save):
    harm, path = tmp_path / "harm", tmp_path / name
    save({"model": Malicious(harm)}, path)
    (tmp_path / "run").mkdir()
    shutil.copy(path, tmp_path / "run" / "checkpoint.pt")
    for arguments in (
        ["predict", path, data / PICTURES / "img_1.jpg", "--out", tmp_path / "found"],
        ["evaluate", path, "--data", data],
        [*train_arguments(data, tmp_path / "new"), "--init", path],
        [*train_arguments(data, tmp_path / "run"), "--resume"],
    ):
        assert ": refused: " in mistake(capsys, *arguments)
    assert not harm.exists()
    # The file is as dangerous as it claims to be: whoever unpickles it runs its code.
    if save is not torch.save:
        pickle.loads(path.read_bytes())
        assert harm.exists()


def test_truncated_checkpoints_and_weights_are_refused(capsys, data, tmp_path):
    run(capsys, *train_arguments(data, tmp_path / "run"), "--minutes", "1e-9")
    for name in ("checkpoint.pt", "model.safetensors"):
        path = tmp_path / "run" / name
        path.write_bytes(path.read_bytes()[:-1000])
        said = mistake(capsys, "evaluate", path, "--data", data)
        assert f"{path}: refused: " in said
    said = mistake(capsys, *train_arguments(data, tmp_path / "run"), "--resume")
    assert "checkpoint.pt: refused: " in said


# Disks


@pytest.fixture
def small_files():
    """The kernel lets no file of this process grow beyond 50,000 bytes: a disk that is full, without any pretence."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_previous_checkpoint_and_the_run_goes_on_later(capsys, data, tmp_path, small_files):
    out = tmp_path / "run"
    run(capsys, *train_arguments(data, out), "--minutes", "1e-9")
    before = {name: (out / name).read_bytes() for name in ("checkpoint.pt", "model.safetensors")}
    assert min(map(len, before.values())) > 50_000
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    small_files()
    said = mistake(capsys, *train_arguments(data, out), "--resume")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert said == f"{out / 'checkpoint.pt'}: cannot be saved: File too large; the previous file is untouched"
    assert {name: (out / name).read_bytes() for name in before} == before
    assert not list(out.glob("*.partial"))
    assert load_checkpoint(out / "checkpoint.pt").step == 1
    run(capsys, *train_arguments(data, out), "--resume")
    assert load_weights(out / "model.safetensors")[2]["steps"] == "2"
    assert [row.split(",")[0] for row in (out / "log.csv").read_text().splitlines()] == ["step", "1", "2"]


def test_a_folder_that_cannot_be_made_is_told_before_any_work(capsys, data, weights, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    inside = tmp_path / "file" / "out"
    monkeypatch.setattr("maskrcnn.cli.evaluate.evaluate_texts", None)  # would be called only after the folder exists
    for arguments in (
        train_arguments(data, inside),
        ["evaluate", weights, "--data", data, "--out", inside],
        ["evaluate", weights, "--data", data, "--out", tmp_path / "e", "--json", inside / "score.json"],
        ["predict", weights, data / PICTURES / "img_1.jpg", "--out", inside],
        ["render", inside, "--format", "icdar2015", "--count", 1],
    ):
        assert str(tmp_path / "file") in mistake(capsys, *arguments)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_loss_that_is_not_finite_stops_with_the_names_and_keeps_the_checkpoint(capsys, data, tmp_path):
    out, wild = tmp_path / "run", ["training.learning_rate=1e30", "training.gradient_clip=0", "training.warmup_steps=0"]
    arguments = [*train_arguments(data, out, *wild), "training.steps=50"]
    said = mistake(capsys, *arguments)
    assert "a loss or the gradient is not finite: rpn_objectness " in said and "images img_" in said
    assert "training stopped, the last checkpoint is untouched" in said
