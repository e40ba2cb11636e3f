"""Scoring the files of all benchmarks: names, ground truths, submissions, and the independent evaluator on polygons."""

import json
import math
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import independent_icdar_evaluator as independent
import numpy as np
import pytest
from small_files import write_archive, write_files
from small_text import mistake, run

from maskrcnn.data.polygons import area
from maskrcnn.evaluation.own_text_scores import pascal_scores, text_average_precision
from maskrcnn.evaluation.protocols import PROTOCOLS
from maskrcnn.evaluation.result_files import read_ground_truths, read_image_texts, read_results
from maskrcnn.evaluation.submission_files import write_submission
from maskrcnn.evaluation.text_scores import ImageTexts, match_image, score_texts, without_ignoring

SQUARE = "0,0,10,0,10,10,0,10"
LINE = ",".join(f"{x},0" for x in range(0, 70, 10)) + "," + ",".join(f"{x},10" for x in range(60, -10, -10))
"""A straight line of text, 60 x 10, as 14 points."""

TRUTH_NAMES = {
    "icdar2015": "gt_img_{}.txt",
    "icdar2017": "gt_img_{}.txt",
    "ctw1500": "000{:04}.txt",
    "totaltext": "poly_gt_img{}.txt",
}
TRUTHS = {
    "icdar2015": f"{SQUARE},word\n20,0,30,0,30,10,20,10,###\n",
    "icdar2017": f"{SQUARE},Latin,word\n20,0,30,0,30,10,20,10,Latin,###\n",
    "ctw1500": f"{LINE},####word\n{LINE.replace('0,', '100,')},#######\n",
    "totaltext": f"{SQUARE},1996\n20,0,25,0,25,10,###\n",
}


# names


@pytest.mark.parametrize(
    ("truth", "result"),
    [
        ("gt_img_7.txt", "res_img_7.txt"),
        ("gt_img_7.txt", "res_img_00007.txt"),
        ("poly_gt_img7.txt", "img7.txt"),
        ("1007.txt", "1007.txt"),
        ("0001007.txt", "1007.txt"),
        ("gt_img_7.txt", "7.TXT"),
        ("gt_img_7.txt", "2019_img_7_v2.txt"),
    ],
)
def test_files_are_paired_by_number_whatever_stands_around_it(tmp_path, truth, result):
    truths = write_files(tmp_path / "gt", {truth: f"{SQUARE},word"})
    for results in (
        write_files(tmp_path / "results", {result: SQUARE}),
        write_archive(tmp_path / "results.zip", {f"inner/{result}": SQUARE, f"__MACOSX/inner/._{result}": b"\x00"}),
    ):
        (image,) = read_image_texts(truths, results)
        assert len(image.detections) == 1 and image.name in ("img_7", "img_1007")


@pytest.mark.parametrize("reader", [read_ground_truths, read_results])
def test_two_files_of_one_number_are_an_error_that_names_both(tmp_path, reader):
    files = write_files(tmp_path / "files", {"img7.txt": "", "res_img_07.txt": ""})
    with pytest.raises(ValueError, match=r"files: found img7\.txt and res_img_07\.txt, expected one file"):
        reader(files)
    write_archive(tmp_path / "files.zip", {"a/img7.txt": "", "b/0007.txt": ""})
    with pytest.raises(ValueError, match=r"found 0007\.txt and img7\.txt, expected one file"):
        reader(tmp_path / "files.zip")


# ground truths and results


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_file_by_hand(capsys, tmp_path, name):
    polygon, region = ((LINE, LINE.replace("0,", "100,")) if name == "ctw1500" else (SQUARE, "20,0,30,0,30,10,20,10"))
    wrong = "500,500,510,500,510,510,500,510"
    truths = write_files(tmp_path / "gt", {TRUTH_NAMES[name].format(3): TRUTHS[name]})
    if name == "totaltext":
        region = "20,0,25,0,25,10"
    found = [polygon, wrong] if PROTOCOLS[name].quadrilaterals else [polygon, wrong, region]
    results = write_files(tmp_path / "results", {"img3.txt": "\n".join(f"{line},0.9" for line in found)})
    score = json.loads(run(capsys, "score", name, truths, results, "--json"))
    assert (score["matched"], score["ground_truths"], score["detections"]) == (1, 1, 2)
    sweep = json.loads(run(capsys, "score", name, truths, results, "--json", "--sweep"))
    ignores = name != "ctw1500"
    assert (sweep["ground_truths"], sweep["detections"]) == ((1, 2) if ignores else (2, 3))
    assert ("average_precision" in score) == (name == "icdar2017")


def test_an_odd_run_of_integers_ends_with_the_transcription(tmp_path):
    lines = [f"{SQUARE},1996", "0,0,5,0,5,5,12", f"{SQUARE},12,###", f"{SQUARE},", "0,9,9,9,9,0,###"]
    truths = write_files(tmp_path / "gt", {"poly_gt_img1.txt": "\n".join(lines)})
    found = read_ground_truths(truths, PROTOCOLS["totaltext"].parse)[1]
    assert [len(polygon) for polygon in found.polygons] == [4, 3, 4, 4, 3]
    assert found.ignore.tolist() == [False, False, False, False, True]


def test_polygons_may_run_either_way_and_quadrilaterals_may_not(tmp_path):
    turned = "0,0,0,10,10,10,10,0"
    results = write_files(tmp_path / "results", {"img1.txt": turned})
    assert len(read_results(results, PROTOCOLS["totaltext"].quadrilaterals)[1].polygons) == 1
    with pytest.raises(ValueError, match=r"img1\.txt:1: found counter-clockwise"):
        read_results(results, PROTOCOLS["icdar2017"].quadrilaterals)


def test_training_labels_can_be_ground_truth(tmp_path):
    segs = f"<Annotations><image file='1.jpg'><box><label>a</label><segs>{LINE}</segs></box></image></Annotations>"
    truths = write_files(tmp_path / "gt", {"0001.xml": segs, "0002.txt": f"{LINE},CARE"})
    found = read_ground_truths(truths, PROTOCOLS["ctw1500"].parse)
    np.testing.assert_array_equal(found[1].polygons[0], found[2].polygons[0])


def test_other_scripts_are_dont_care(capsys, tmp_path):
    truths = write_files(tmp_path / "gt", {"gt_img_1.txt": f"{SQUARE},Latin,a\n20,0,30,0,30,10,20,10,Korean,b"})
    results = write_files(tmp_path / "results", {"res_img_1.txt": f"{SQUARE}\n20,0,30,0,30,10,20,10"})
    for script, counts in (([], (2, 2, 2)), (["--script", "Korean"], (1, 1, 1)), (["--script", "Arabic"], (0, 0, 0))):
        score = json.loads(run(capsys, "score", "icdar2017", truths, results, "--json", *script))
        assert (score["matched"], score["ground_truths"], score["detections"]) == counts
    said = mistake(capsys, "score", "icdar2015", truths, results, "--script", "Korean")
    assert said == "--script: found icdar2015, expected icdar2017"
    assert "expected ctw1500" in mistake(capsys, "score", "icdar2015", truths, results, "--pascal")


def test_the_published_result_on_ctw1500(capsys, shared_data):
    files = [shared_data / "detections" / name for name in ("ctw1500-gt.zip", "det_ctw1500.zip")]
    for rules in ([], ["--pascal"]):
        score = json.loads(run(capsys, "score", "ctw1500", *files, "--json", *rules))
        assert score["recall"] == pytest.approx(0.8161668839634941, abs=1e-12)
        assert score["precision"] == pytest.approx(0.7497005988023953, abs=1e-12)
        assert score["hmean"] == pytest.approx(0.7815230961298377, abs=1e-12)


SCORE_WITHOUT_PYTORCH = """
import sys
from maskrcnn.cli import main
code = main(sys.argv[1:])
sys.exit("PyTorch was imported" if "torch" in sys.modules else code)
"""


@pytest.mark.parametrize("rules", [[], ["--sweep"]])
def test_five_hundred_files_are_scored_in_no_time(tmp_path, rules):
    """The whole command, in seconds of the processor, which other programs cannot take away."""
    random = np.random.default_rng(0)
    truths, results = {}, {}
    for number in range(1, 501):
        corners = random.integers(0, 600, (12, 1, 2)) + np.array([[0, 0], [60, 3], [60, 24], [0, 21]])
        lines = [",".join(map(str, polygon.ravel())) for polygon in corners]
        truths[f"gt_img_{number}.txt"] = "\r\n".join(f"{line},word" for line in lines)
        results[f"res_img_{number}.txt"] = "\r\n".join(f"{line},0.9" for line in lines)
    files = [write_archive(tmp_path / "gt.zip", truths), write_archive(tmp_path / "results.zip", results)]
    command = [sys.executable, "-c", SCORE_WITHOUT_PYTORCH, "score", "icdar2015", *files, "--json", *rules]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stderr) == (0, "")
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 2
    scores = json.loads(done.stdout)
    assert scores["ground_truths"] == 6000 and scores["recall"] > 0.99


# rules of single benchmarks


def rectangle(x1, y1, x2, y2):
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], dtype=float)


def picture(truths, ignore, found, scores=None, name="img_1"):
    return ImageTexts(name, truths, np.array(ignore, bool), found, None if scores is None else np.array(scores))


def test_average_precision_by_hand():
    word, other, region = rectangle(0, 0, 20, 10), rectangle(0, 20, 20, 30), rectangle(0, 40, 20, 50)
    wrong = rectangle(90, 90, 99, 99)
    images = [
        # By falling score: right 0.9, on a region 0.8 (no rank), wrong 0.7, right 0.6, of three words in all.
        picture([word, other, region], [0, 0, 1], [other, wrong, region, word], [0.6, 0.7, 0.8, 0.9]),
        picture([word], [0], [], []),
    ]
    assert text_average_precision(images) == pytest.approx((1 / 1 + 2 / 3) / 3)
    assert text_average_precision([picture([region], [1], [wrong], [0.5])]) == 0
    assert text_average_precision([]) == 0
    with pytest.raises(ValueError, match="img_1: average precision needs detections with scores"):
        text_average_precision([picture([word], [0], [word])])


def test_ctw1500s_own_rules_by_hand():
    wide, narrow = rectangle(0, 0, 16, 10), rectangle(0, 0, 10, 10)
    # The first detection overlaps both words enough, `narrow` most; the second only `narrow`, which is taken.
    images = [picture([wide, narrow], [0, 1], [rectangle(0, 0, 11, 10), rectangle(0, 0, 9, 10)])]
    found = pascal_scores(images)
    assert (found.matched, found.ground_truths, found.detections) == (1, 2, 2)
    assert match_image([wide, narrow], [0, 0], images[0].detections).matched == 2  # ICDAR's rules are kinder
    assert pascal_scores([picture([], [], [wide])]).precision == 0
    assert pascal_scores([picture([wide], [0], [])]).hmean == 0
    # Exactly one half is a miss here, too.
    assert pascal_scores([picture([rectangle(0, 0, 20, 10)], [0], [rectangle(0, 0, 10, 10)])]).matched == 0


def test_nothing_is_ignored_any_more():
    image = picture([rectangle(0, 0, 9, 9)], [1], [rectangle(0, 0, 9, 9)], [0.9])
    assert score_texts([image]).ground_truths == 0 and score_texts([without_ignoring(image)]).matched == 1


# against the independent evaluator


def star(random, centre, points, size):
    """A polygon of any number of points, bent inwards and outwards, that does not cross itself; either winding."""
    angles = np.sort(random.choice(60, points, replace=False)) * (2 * math.pi / 60)
    radii = random.uniform(0.5, 1.0, points) * size
    polygon = np.rint(np.stack([np.cos(angles), 0.6 * np.sin(angles)], axis=1) * radii[:, None] + centre)
    return polygon[::-1] if random.random() < 0.5 else polygon


@pytest.mark.parametrize("name", ["ctw1500", "totaltext"])
@pytest.mark.parametrize("scored", [False, True])
def test_scores_of_polygon_files_agree_with_the_independent_evaluator(tmp_path, name, scored):
    random = np.random.default_rng(5)
    truths, results, expected = {}, {}, []
    for number in range(1, 6):
        lines, found, polygons, flags, shapes = [], [], [], [], []
        for _ in range(random.integers(1, 5)):
            points = 14 if name == "ctw1500" else int(random.integers(5, 15))
            polygon = star(random, random.integers(30, 90, 2), points, random.uniform(18, 40))
            ignore = random.random() < 0.3
            text = ("#######" if ignore else "####a,b") if name == "ctw1500" else ("###" if ignore else "1996")
            lines.append(",".join(str(int(value)) for value in polygon.ravel()) + f",{text}")
            polygons.append(tuple(map(tuple, polygon.astype(int).tolist())))
            flags.append(ignore)
            for _ in range(2):
                moved = polygon[:: 2 if random.random() < 0.3 else 1] + random.integers(-4, 5, 2)
                score = int(random.integers(1, 11)) / 10
                found.append(",".join(str(int(value)) for value in moved.ravel()) + (f",{score}" if scored else ""))
                shapes.append((tuple(map(tuple, moved.astype(int).tolist())), score))
        truths[TRUTH_NAMES[name].format(number)] = "\r\n".join(lines)
        results[PROTOCOLS[name].result_name.format(number)] = "\n".join(found)
        if scored:
            shapes.sort(key=lambda shape: -shape[1])
        expected.append((polygons, flags, [polygon for polygon, _ in shapes]))
    protocol = PROTOCOLS[name]
    images = read_image_texts(
        write_archive(tmp_path / "gt.zip", truths), write_files(tmp_path / "results", results), protocol
    )
    score = score_texts(images)
    wanted = independent.official(expected)
    assert (score.matched, score.ground_truths, score.detections) == wanted[3:]
    assert score.matched > 2 and score.ground_truths < sum(len(truth) for truth, _, _ in expected)
    assert (score.recall, score.precision, score.hmean) == pytest.approx(wanted[:3], abs=1e-12)


# submissions


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("icdar2015", ["res_img_12.txt", "res_img_3.txt"]),
        ("icdar2017", ["res_img_00012.txt", "res_img_00003.txt"]),
        ("ctw1500", ["0012.txt", "0003.txt"]),
        ("totaltext", ["img12.txt", "img3.txt"]),
    ],
)
def test_submissions_have_the_names_of_their_benchmark_and_read_back(tmp_path, name, expected):
    turned = rectangle(0, 0, 20, 10)[::-1] + 0.4
    shapes = [(turned, 0.5), (rectangle(50, 50, 70, 60), 0.75)]
    if not PROTOCOLS[name].quadrilaterals:
        shapes.append((np.array([[0, 0], [9.4, 0], [9.4, 9.4], [4, 5], [0, 9.4]])[::-1], 0.25))
    written = write_submission(tmp_path / "s.zip", {"img_12.jpg": shapes, 3: []}, protocol=PROTOCOLS[name])
    assert (written.files, written.texts, written.dropped) == (2, len(shapes), ())
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert archive.namelist() == expected
        lines = archive.read(expected[0]).decode().split("\n")
    assert lines[:2] == ["50,50,70,50,70,60,50,60", "0,10,0,0,20,0,20,10"]
    read = read_results(tmp_path / "s.zip", PROTOCOLS[name].quadrilaterals)
    assert all(area(polygon) > 0 for polygon in read[12].polygons) and read[3].polygons == ()


def test_a_bend_that_rounding_closes_is_cut_off(tmp_path):
    # A band that comes back to touch itself: after rounding, the points (4, 2) and (4, 2) are one.
    polygon = np.array([[0, 0], [10, 0], [10, 4], [4.2, 1.6], [4.2, 2.4], [10, 8], [0, 8]])
    results = {1: [(polygon, 0.9), (np.array([[0, 0], [9, 0.1], [5, 0.3]]), 0.8)]}
    written = write_submission(tmp_path / "s.zip", results, protocol=PROTOCOLS["totaltext"])
    assert written.texts == 1 and len(written.dropped) == 1
    assert "which is no polygon in integers; dropped" in written.dropped[0]
    # What is nothing but lines there and back, as here, has no part that could be kept.
    lines = np.array([[0, 1], [2, 0], [0, 1], [1, 0], [2, 0]])
    assert write_submission(tmp_path / "t.zip", {1: [(lines, 0.9)]}, protocol=PROTOCOLS["totaltext"]).texts == 0
    (read,) = read_results(tmp_path / "s.zip", False)[1].polygons
    assert area(read) == pytest.approx(area(polygon), rel=0.1)
    with pytest.raises(ValueError, match=r"img1\.txt: found a polygon \(2, 2\), expected \(P >= 3, 2\)"):
        write_submission(tmp_path / "s.zip", {1: [(np.zeros((2, 2)), 0.9)]}, protocol=PROTOCOLS["totaltext"])
