"""Random edits of what `score` reads: result files, ground truth, and zips of them, down to the archive's bytes."""

import json
import re
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_edits import EDITS, RANDOM_BYTES, SEARCH, edited
from small_files import write_files
from small_text import run

from maskrcnn.cli import main
from maskrcnn.evaluation.protocols import PROTOCOLS
from maskrcnn.evaluation.result_files import parse_result_line, read_image_texts, read_results
from maskrcnn.evaluation.text_scores import score_texts

SQUARES = [f"{x},0,{x + 10},0,{x + 10},10,{x},10" for x in (0, 20, 40)]
LINES = [
    ",".join([*(f"{x},{y}" for x in range(0, 70, 10)), *(f"{x},{y + 10}" for x in range(60, -10, -10))])
    for y in (0, 20)
]
TRUTHS = {
    "icdar2015": ("gt_img_{}.txt", [f"{square},word" for square in SQUARES]),
    "icdar2017": ("gt_img_{}.txt", [f"{square},Latin,word" for square in SQUARES]),
    "ctw1500": ("000{:04}.txt", [f"{LINES[0]},####word", f"{LINES[1]},#######"]),
    "totaltext": ("poly_gt_img{}.txt", [f"{square},1996" for square in SQUARES]),
}
"""How a file of ground truth is called, and its lines."""


def read_fields(content: bytes) -> list[list[float]]:
    """The numbers of each line that is not blank."""
    lines = [line.decode() for line in content.removeprefix(b"\xef\xbb\xbf").splitlines()]
    return [[float(field) for field in line.split(",")] for line in lines if line.strip()]


def refused(read: Callable[[], object], *names: str) -> str:
    """What `read` says is wrong, beginning with one of the names; empty if nothing is."""
    with warnings.catch_warnings(action="error"):
        try:
            read()
        except ValueError as error:
            message = str(error)
            assert message.startswith(names) and ": found " in message, message
            assert message.isprintable() and len(message) < 600, message
            return message
    return ""


# lines and files


@SEARCH
@given(EDITS, st.booleans(), st.sampled_from([b"1,2,9,2,9,6,1,6", b"1,2,9,2,9,6,1,6,0.5"]))
def test_lines_of_results(edits, quadrilaterals, line):
    text = edited(line, edits).decode("utf-8", "replace")
    try:
        polygon, score = parse_result_line(text, quadrilaterals)
    except ValueError as error:
        assert str(error).startswith("found ") and str(error).isprintable()
    else:
        assert [*polygon.ravel().tolist(), *([] if score is None else [score])] == [float(n) for n in text.split(",")]
        assert np.abs(polygon).max() < 1e9 and (score is None or 0 <= score <= 1)


@pytest.mark.parametrize("name", ["icdar2015", "totaltext"])
@pytest.mark.parametrize("end", ["", ",0.5"])
def test_files_of_results(tmp_path, name, end):
    """Each number of each line is in the polygons and scores, or a line is named that nobody can read."""
    valid = "".join(f"{square}{end}\r\n" for square in SQUARES).encode()
    readable = []

    def check(content: bytes) -> None:
        (tmp_path / "res_img_7.txt").write_bytes(content)
        found = {}
        file = f"{tmp_path}/res_img_7.txt:"
        message = refused(lambda: found.update(read_results(tmp_path, PROTOCOLS[name].quadrilaterals)), file)
        assert not message or re.match("[1-9]", message.removeprefix(file))
        readable.append(not message)
        if not message:
            rows, results = read_fields(content), found[7]
            read = [polygon.ravel().tolist() for polygon in results.polygons]
            if results.scores is not None:
                read = [[*corners, score] for corners, score in zip(read, results.scores.tolist(), strict=True)]
            assert read == rows

    @SEARCH
    @given(EDITS.map(lambda edits: edited(valid, edits)) | RANDOM_BYTES)
    def search(content):
        check(content)

    search()
    assert any(readable) and not all(readable)


@pytest.mark.parametrize("name", TRUTHS)
def test_ground_truth_and_results_together(name, tmp_path):
    """Whatever is done to either, there is a score from 0 to 1 of all words, or a file is named."""
    pattern, lines = TRUTHS[name]
    truth, result = tmp_path / "gt" / pattern.format(3), tmp_path / "results" / "img_3.txt"
    texts = "\r\n".join(lines).encode(), "\n".join(line.rpartition(",")[0] for line in lines).encode()
    if name == "icdar2017":
        texts = texts[0], "\n".join(SQUARES).encode()
    readable = []

    @SEARCH
    @given(EDITS, st.booleans())
    def search(edits, of_the_truth):
        files = (edited(texts[0], edits), texts[1]) if of_the_truth else (texts[0], edited(texts[1], edits))
        write_files(tmp_path, {f"gt/{truth.name}": files[0], f"results/{result.name}": files[1]})
        images = []

        def read():
            images.extend(read_image_texts(truth.parent, result.parent, PROTOCOLS[name]))
            score = score_texts(images)
            assert 0 <= min(score.recall, score.precision) <= max(score.recall, score.precision) <= 1

        message = refused(read, str(truth), str(result))
        readable.append(not message)
        if not message:
            assert len(images) == 1 and len(images[0].detections) == len(read_fields(files[1]))

    search()
    assert any(readable) and not all(readable)


# archives


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_archives(tmp_path, method):
    """Every entry of an archive has a sum, so what can be read at all is what was packed."""
    path = tmp_path / "results.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for number in (1, 2, 3):
            archive.writestr(f"res_img_{number}.txt", "\n".join(SQUARES))
    valid = path.read_bytes()
    whole = []

    @settings(SEARCH, max_examples=120)
    @given(EDITS)
    def search(edits):
        path.write_bytes(edited(valid, edits))
        results = {}
        message = refused(lambda: results.update(read_results(path)), str(path))
        if not message and len(results) < 3:  # an entry that is now called .es_img_1.txt is hidden
            with zipfile.ZipFile(path) as archive:
                names = [entry.filename for entry in archive.infolist()]
            assert len(names) < 3 or any(name[0] == "." or "/." in name for name in names), names
        for found in results.values():
            assert [polygon.ravel().tolist() for polygon in found.polygons] == read_fields("\n".join(SQUARES).encode())
        whole.append(not message)

    search()
    assert any(whole) and not all(whole)


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    """A zip says of a folder that it is one by the end of its name; with content, it is a file that would be lost."""
    with zipfile.ZipFile(tmp_path / "results.zip", "w") as archive:
        archive.writestr("inner/", "")
        archive.writestr("inner/res_img_1.txt/", SQUARES[0])
    said = refused(lambda: read_results(tmp_path / "results.zip"), str(tmp_path))
    assert said.endswith("found folder 'inner/res_img_1.txt/' with 19 bytes in it, expected a file")


# the command


def test_the_command_says_one_line_whatever_it_is_given(capsys):
    """Exit code 2 and a line, or a score; never a traceback."""

    @settings(SEARCH, max_examples=25)
    @given(EDITS, EDITS, st.sampled_from(sorted(TRUTHS)), st.booleans(), st.sampled_from([[], ["--sweep"]]))
    def search(truth_edits, result_edits, name, edit_the_truth, rules):
        pattern, lines = TRUTHS[name]
        truth = "\n".join(lines).encode()
        result = "\n".join(f"{outline},0.5" for outline in (LINES if name == "ctw1500" else SQUARES)).encode()
        with tempfile.TemporaryDirectory() as folder:
            root = write_files(
                Path(folder),
                {
                    f"gt/{pattern.format(3)}": edited(truth, truth_edits) if edit_the_truth else truth,
                    "results/img_3.txt": edited(result, result_edits),
                },
            )
            capsys.readouterr()
            code = main(["score", name, str(root / "gt"), str(root / "results"), "--json", *rules])
            said = capsys.readouterr()
        if code:
            assert code == 2 and said.out == "" and said.err.count("\n") == 1
            assert said.err.startswith("maskrcnn score: ") and (": found " in said.err or ", found none" in said.err)
        else:
            assert said.err == "" and 0 <= json.loads(said.out)["hmean"] <= 1

    search()


@pytest.mark.parametrize("name", TRUTHS)
def test_the_valid_files_are_found_perfect(capsys, tmp_path, name):
    pattern, lines = TRUTHS[name]
    outlines = LINES if name == "ctw1500" else SQUARES
    truths = write_files(tmp_path / "gt", {pattern.format(3): "\n".join(lines)})
    results = write_files(tmp_path / "results", {"img_3.txt": "\n".join(outlines)})
    score = json.loads(run(capsys, "score", name, truths, results, "--json"))
    assert score["hmean"] == 1 and score["ground_truths"] == (1 if name == "ctw1500" else 3)
