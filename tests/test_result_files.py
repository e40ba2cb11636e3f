"""Reading ground truth and results, and writing submissions, line by line and as whole folders and zips."""

import os
import zipfile

import independent_icdar_evaluator as independent
import numpy as np
import pytest

from maskrcnn.data import archives
from maskrcnn.evaluation.result_files import (
    parse_result_line,
    read_ground_truths,
    read_image_texts,
    read_results,
)
from maskrcnn.evaluation.submission_files import write_submission
from maskrcnn.evaluation.text_scores import score_texts

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10]]
SQUARE_LINE = "0,0,10,0,10,10,0,10"


def write_folder(folder, texts):
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def write_zip(path, texts):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    return path


# Lines


def test_a_line_of_results():
    polygon, score = parse_result_line(SQUARE_LINE)
    assert polygon.tolist() == SQUARE and polygon.dtype == np.float64 and score is None
    polygon, score = parse_result_line(" 0, 0,10 ,0,10,10,-3,10 , 0.75")
    assert polygon.tolist() == [[0, 0], [10, 0], [10, 10], [-3, 10]] and score == 0.75


def test_clockwise_is_on_the_screen_where_y_points_down():
    parse_result_line("0,0,10,0,10,10,0,10")
    with pytest.raises(ValueError, match=r"found counter-clockwise corners \[0, 0, 0, 10, .* expected clockwise"):
        parse_result_line("0,0,0,10,10,10,10,0")


def test_what_the_official_validator_takes_is_taken():
    # Without area, and crossing itself with as much clockwise as counter-clockwise.
    assert parse_result_line("5,5,5,5,5,5,5,5")[0].tolist() == [[5, 5]] * 4
    assert parse_result_line("0,0,10,10,10,0,0,10")[0].tolist() == [[0, 0], [10, 10], [10, 0], [0, 10]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0,0,10,0,10,10,0", "found 7 numbers, expected 8 integers, or 8 integers and a score"),
        ("0,0,10,0,10,10,0,10,5,5", "found 10 numbers, expected 8"),
        ("nothing found", "found 1 numbers, expected 8"),
        ("0,0,10.5,0,10,10,0,10", "found '10.5', expected an integer"),
        ("0,0,ten,0,10,10,0,10", "found 'ten', expected an integer"),
        ("0,0,1_0,0,10,10,0,10", "found '1_0', expected an integer"),
        ("0,0,٣,0,10,10,0,10", "found '٣', expected an integer"),
        ("0,0,,0,10,10,0,10", "found '', expected an integer"),
        ("0,0,10000000000,0,10,10,0,10", "found '10000000000', expected an integer of at most 9 digits"),
        (SQUARE_LINE + ",345", "found score '345', expected a number from 0 to 1"),
        (SQUARE_LINE + ",nan", "found 'nan', expected a number"),
        (SQUARE_LINE + ",text", "found 'text', expected a number"),
        (SQUARE_LINE + ",", "found '', expected a number"),
    ],
)
def test_what_the_official_validator_refuses_is_refused(line, message):
    with pytest.raises(ValueError, match="^" + message.replace(".", r"\.")):
        parse_result_line(line)


def test_polygons_of_any_number_of_corners():
    triangle = parse_result_line("0,0,0,10,10,10", quadrilaterals=False)
    assert triangle[0].tolist() == [[0, 0], [0, 10], [10, 10]] and triangle[1] is None
    # An odd count of numbers ends with the score.
    polygon, score = parse_result_line("0.5,0,10,0,10,10,5,15,0,10,0.9", quadrilaterals=False)
    assert polygon.tolist() == [[0.5, 0], [10, 0], [10, 10], [5, 15], [0, 10]] and score == 0.9
    for line, message in (
        ("1,2,3,4", "found 4 numbers, expected at least 3 corners"),
        ("1,2,3,4,0.5", "found 5 numbers"),
        ("1,2,3,4,5,inf", "found 'inf', expected a number"),
        ("1,2,3,4,5,1e999", "found '1e999', expected a number"),
        ("1,2,3,4,5,1_0", "found '1_0', expected a number"),
        ("1,2,3,4,5,\u0663", "found '\u0663', expected a number"),
        ("1,2,3,4,5,\x1c6", "found '.x1c6', expected a number"),
        ("1,2,3,4,5,6,7", "found score '7', expected a number from 0 to 1"),
        ("1,2,3,4,5,1e9", "found '1e9', expected a coordinate of at most 999,999,999 pixels"),
        ("1,2,-1e300,4,5,6,0.5", "found '-1e300', expected a coordinate"),
    ):
        with pytest.raises(ValueError, match="^" + message):
            parse_result_line(line, quadrilaterals=False)


# Folders and zips


def test_ground_truth_with_all_the_odd_things_that_real_files_have(tmp_path):
    lines = [
        b"\xef\xbb\xbf0,0,10,0,10,10,0,10,###",
        b"0,0,10,0,10,10,0,10,$8,888",
        b"",
        b'0,0,10,0,10,10,0,10,"###"',
        "0,0,10,0,10,10,0,10,#### \u2028 é".encode(),
        b"0,0,10,0,10,10,0,10,",
    ]
    folder = write_folder(tmp_path / "gt", {"gt_img_7.txt": b"\r\n".join(lines), "gt_img_8.txt": b""})
    truths = read_ground_truths(folder)
    assert sorted(truths) == [7, 8]
    assert truths[7].ignore.tolist() == [True, False, True, False, False]
    assert [polygon.tolist() for polygon in truths[7].polygons] == [SQUARE] * 5
    assert truths[8].polygons == () and truths[8].ignore.shape == (0,)


def test_ground_truth_is_scored_as_it_stands_whatever_its_shape(tmp_path):
    lines = ["0,0,0,10,10,10,10,0,counter-clockwise", "5,5,5,5,5,5,5,5,point", "0,0,10,10,10,0,0,10,crossing"]
    folder = write_folder(tmp_path / "gt", {"gt_img_1.txt": "\n".join(lines)})
    assert len(read_ground_truths(folder)[1].polygons) == 3
    # The results find the first word; the other two are misses all the same.
    results = write_folder(tmp_path / "results", {"res_img_1.txt": SQUARE_LINE})
    scores = score_texts(read_image_texts(folder, results))
    assert (scores.matched, scores.ground_truths, scores.detections) == (1, 3, 1)


def test_a_folder_a_zip_and_a_zip_with_an_inner_folder_are_the_same(tmp_path):
    texts = {"res_img_2.txt": SQUARE_LINE + ",0.5\n" + SQUARE_LINE + ",0.9", "res_img_10.txt": ""}
    folder = write_folder(tmp_path / "results", texts)
    flat = write_zip(tmp_path / "flat.zip", texts)
    nested = write_zip(tmp_path / "nested.zip", {f"submission/{name}": text for name, text in texts.items()})
    for path in (folder, flat, nested):
        results = read_results(path)
        assert sorted(results) == [2, 10]
        assert results[2].scores.tolist() == [0.5, 0.9] and results[10].scores.shape == (0,)


def test_pairs_are_made_by_number_and_a_missing_result_file_is_a_miss(tmp_path):
    word = SQUARE_LINE + ",word"
    truths = write_folder(tmp_path / "gt", {f"gt_img_{number}.txt": word for number in (2, 10, 9)})
    results = write_folder(tmp_path / "results", {"res_img_00002.txt": SQUARE_LINE, "res_img_10.txt": ""})
    images = read_image_texts(truths, results)
    assert [image.name for image in images] == ["img_2", "img_9", "img_10"]
    assert [len(image.detections) for image in images] == [1, 0, 0]
    scores = score_texts(images)
    assert (scores.matched, scores.ground_truths, scores.detections) == (1, 3, 1)
    with pytest.raises(ValueError, match="needs detections with scores"):
        score_texts(images, threshold=0.5)


def test_results_without_any_detection_can_be_scored_at_a_threshold(tmp_path):
    truths = write_folder(tmp_path / "gt", {"gt_img_1.txt": SQUARE_LINE + ",word"})
    results = write_folder(tmp_path / "results", {"res_img_1.txt": "\n"})
    assert score_texts(read_image_texts(truths, results), "sweep").recall == 0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("res_img_3.txt", SQUARE_LINE + "\n\n1,2,3", r"res_img_3.txt:3: found 3 numbers"),
        ("res_img_3.txt", "0,0,0,10,10,10,10,0", r"res_img_3.txt:1: found counter-clockwise"),
        ("res_img_3.txt", b"0,0,10,0,10,10,0,10\n\xff\n", r"res_img_3.txt:2: found byte 0xff, expected UTF-8"),
        ("res_img_3.txt", SQUARE_LINE + ",0.5\n" + SQUARE_LINE, r"res_img_3.txt:2: found no score, expected one as in"),
        ("res_img_3.txt", SQUARE_LINE + "\n" + SQUARE_LINE + ",0.5", r"res_img_3.txt:2: found a score, expected none"),
        ("notes.txt", SQUARE_LINE, r"results: found notes.txt, expected only .txt files named by their pictures' num"),
        ("img_3.png", "", r"results: found img_3.png, expected only .txt files"),
    ],
)
def test_bad_results_are_named_with_file_and_line(tmp_path, name, text, message):
    folder = write_folder(tmp_path / "results", {name: text})
    with pytest.raises(ValueError, match=message) as error:
        read_results(folder)
    assert str(error.value).startswith(str(folder)), "ground truth has files of the same names"


def test_scores_must_be_declared_in_all_files_or_in_none(tmp_path):
    texts = {"res_img_1.txt": SQUARE_LINE + ",0.5", "res_img_2.txt": SQUARE_LINE}
    with pytest.raises(ValueError, match=r"results.zip/res_img_2.txt:1: found no score, .* as in res_img_1.txt:1"):
        read_results(write_zip(tmp_path / "results.zip", texts))


def test_results_that_do_not_fit_the_ground_truth_are_errors(tmp_path):
    truths = write_folder(tmp_path / "gt", {"gt_img_1.txt": SQUARE_LINE + ",word"})
    extra = write_folder(tmp_path / "extra", {"res_img_1.txt": "", "res_img_5.txt": "", "res_img_12.txt": ""})
    with pytest.raises(ValueError, match=r"extra: found res_img_5.txt and 1 more, expected only pictures"):
        read_image_texts(truths, extra)
    twice = write_folder(tmp_path / "twice", {"res_img_1.txt": "", "res_img_001.txt": ""})
    with pytest.raises(ValueError, match=r"found res_img_001.txt and res_img_1.txt, expected one file of each number"):
        read_image_texts(truths, twice)
    empty = write_folder(tmp_path / "empty", {})
    assert score_texts(read_image_texts(truths, empty)).as_dict()["ground_truths"] == 1
    with pytest.raises(ValueError, match="empty: found no ground truth"):
        read_image_texts(empty, truths)


def test_bad_ground_truth_is_named_with_file_and_line(tmp_path):
    folder = write_folder(tmp_path / "gt", {"gt_img_1.txt": SQUARE_LINE + ",word\n0,0,10,0,10,10,0,word"})
    with pytest.raises(ValueError, match=r"/gt/gt_img_1.txt:2: found"):
        read_ground_truths(folder)


def test_results_in_an_inner_folder_are_not_passed_over(tmp_path):
    """Or every word would be missed, and nobody would know why."""
    truths = write_folder(tmp_path / "gt", {"gt_img_1.txt": SQUARE_LINE + ",word"})
    (tmp_path / "results").mkdir()
    write_folder(tmp_path / "results" / "inner", {"res_img_1.txt": SQUARE_LINE})
    with pytest.raises(ValueError, match=r"results: found inner, which is no file, expected \.txt files in .*results"):
        read_image_texts(truths, tmp_path / "results")


def test_hostile_archives_are_refused(tmp_path, monkeypatch):
    for name, content in (("text.zip", b"not a zip"), ("cut.zip", b"PK\x03\x04" + bytes(40))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            read_results(tmp_path / name)
    with pytest.raises(ValueError, match="absent"):
        read_results(tmp_path / "absent")
    with pytest.raises(ValueError, match="twice"):
        read_results(write_zip(tmp_path / "twice.zip", {"a/res_img_1.txt": "", "b/res_img_1.txt": ""}))
    with pytest.raises(ValueError, match=r"\.\./res_img_1.txt"):
        read_results(write_zip(tmp_path / "climbing.zip", {"../res_img_1.txt": ""}))
    monkeypatch.setattr(archives, "LARGEST_TEXT", 100)
    with pytest.raises(ValueError, match=r"res_img_1.txt: found 101 bytes, expected at most 100"):
        read_results(write_zip(tmp_path / "large.zip", {"res_img_1.txt": "\n" * 101}))
    monkeypatch.setattr(archives, "LARGEST_TEXTS", 250)
    many = {f"res_img_{number}.txt": "\n" * 90 for number in range(1, 4)}
    with pytest.raises(ValueError, match=r"found 270 bytes up to res_img_3.txt, expected at most 250 in all"):
        read_results(write_folder(tmp_path / "many", many))


# Against the independent evaluator


def random_texts(seed, count, scored):
    """Files of ground truth and results for `count` pictures, every fifth of them without a result file."""
    rng = np.random.default_rng(seed)
    truths, results = {}, {}
    for number in range(1, count + 1):
        words, found = [], []
        for _ in range(rng.integers(0, 6)):
            x, y = rng.integers(0, 6, 2) * 10
            w, h, slant = *rng.integers(10, 40, 2), rng.integers(0, 8)
            corners = np.array([[x, y], [x + w, y + slant], [x + w, y + slant + h], [x, y + h]])
            words.append(",".join(map(str, corners.ravel())) + "," + rng.choice(["###", "word", "a,b", '"#"', ""]))
            for _ in range(2):
                if rng.random() < 0.6:
                    moved = corners + rng.integers(-5, 6, 2)
                    end = f",{rng.integers(1, 11) / 10}" if scored else ""
                    found.append(",".join(map(str, moved.ravel())) + end)
        truths[number] = "\r\n".join(words)
        if number % 5:
            results[number] = "\n".join(found) + "\n"
    return truths, results


@pytest.mark.parametrize("scored", [False, True])
def test_scores_of_files_agree_with_the_independent_evaluator(tmp_path, scored):
    truths, results = random_texts(1, 40, scored)
    expected = independent.official_from_texts(truths, results)
    truth_path = write_zip(tmp_path / "gt.zip", {f"gt_img_{number}.txt": text for number, text in truths.items()})
    result_path = write_zip(tmp_path / "res.zip", {f"res_img_{number}.txt": text for number, text in results.items()})
    found = score_texts(read_image_texts(truth_path, result_path))
    assert found.matched > 20
    assert (found.recall, found.precision, found.hmean) == pytest.approx(expected[:3], abs=1e-12)
    assert (found.matched, found.ground_truths, found.detections) == expected[3:]


# Submissions


def test_a_submission_is_what_the_validator_wants(tmp_path):
    counter_clockwise = np.array([[0.4, 0.4], [0, 10.6], [20.5, 10.2], [20, 0]])
    results = {"img_12.jpg": [(counter_clockwise, 0.5), (np.array(SQUARE) + 100.0, 0.75)], 3: []}
    written = write_submission(tmp_path / "submission.zip", results)
    assert (written.files, written.texts, written.dropped) == (2, 2, ())
    with zipfile.ZipFile(tmp_path / "submission.zip") as archive:
        assert archive.namelist() == ["res_img_12.txt", "res_img_3.txt"]
        # Best first, clockwise, rounded (half to even).
        assert archive.read("res_img_12.txt") == b"100,100,110,100,110,110,100,110\n0,0,20,0,20,10,0,11\n"
        assert archive.read("res_img_3.txt") == b""
    assert os.listdir(tmp_path) == ["submission.zip"]


def test_a_submission_reads_back_with_its_scores(tmp_path):
    rng = np.random.default_rng(0)
    results = {}
    for number in range(1, 9):
        angle, centre = rng.uniform(0, np.pi, (5, 1, 1)), rng.uniform(50, 400, (5, 1, 2))
        w, h = rng.uniform(20, 90, (5, 1)), rng.uniform(8, 30, (5, 1))
        local = np.stack([w * [-0.5, 0.5, 0.5, -0.5], h * [-0.5, -0.5, 0.5, 0.5]], axis=-1)
        turn = np.concatenate([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], 2).reshape(5, 2, 2)
        results[number] = list(zip(local @ turn + centre, rng.random(5), strict=True))
    write_submission(tmp_path / "submission.zip", results, scores=True)
    for number, read in read_results(tmp_path / "submission.zip").items():
        expected = sorted(results[number], key=lambda shape: -shape[1])
        assert read.scores == pytest.approx([score for _, score in expected], abs=1e-6)
        for found, (polygon, _) in zip(read.polygons, expected, strict=True):
            assert np.abs(found - polygon).max() <= 0.5


def test_what_rounding_leaves_without_area_is_dropped_and_said(tmp_path):
    thin = np.array([[0, 0.1], [10, 0.1], [10, 0.4], [0, 0.4]])
    # A clockwise sliver that rounding would turn inside out: 5,0 4,5 5,2 5,1 runs counter-clockwise.
    inside_out = np.array([[5.3, 0.5], [4.3, 4.7], [4.8, 1.9], [4.8, 1.4]])
    written = write_submission(
        tmp_path / "submission.zip", {1: [(thin, 0.9), (np.array(SQUARE), 0.8), (inside_out, 0.7)]}
    )
    assert written.texts == 1 and len(written.dropped) == 2
    assert written.dropped[0].startswith("res_img_1.txt: found [0.0, 0.1, 10.0, 0.1")
    assert len(read_results(tmp_path / "submission.zip")[1].polygons) == 1


def test_equal_results_make_equal_files(tmp_path):
    for name in ("a.zip", "b.zip"):
        write_submission(tmp_path / name, {1: [(np.array(SQUARE), 0.5)]})
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_bad_submissions_are_errors_and_leave_what_was_there(tmp_path):
    path = tmp_path / "submission.zip"
    path.write_text("the previous one")
    for results, message in (
        ({1: [(np.array(SQUARE)[:3], 0.5)]}, r"res_img_1.txt: found a polygon \(3, 2\), expected a quadrilateral"),
        ({1: [(np.array(SQUARE) * np.nan, 0.5)]}, "expected finite corners"),
        ({1: [(np.array(SQUARE), 1.5)]}, "with score 1.5"),
        ({"img_1.jpg": [], "picture_01.png": []}, "picture_01.png: found number 1 twice"),
        ({"photo.jpg": []}, "photo.jpg"),
    ):
        with pytest.raises(ValueError, match=message):
            write_submission(path, results)
    with pytest.raises(OSError):
        write_submission(tmp_path / "absent" / "submission.zip", {1: []})
    assert path.read_text() == "the previous one" and os.listdir(tmp_path) == ["submission.zip"]


def test_a_full_disk_leaves_the_previous_submission_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "submission.zip"
    write_submission(path, {1: [(np.array(SQUARE), 0.5)]})
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OSError, match="No space left"):
        write_submission(path, {1: [], 2: []})
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["submission.zip"]
