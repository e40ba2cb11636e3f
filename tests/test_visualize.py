"""Pictures are judged by eye; what can be measured about them is measured here."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from maskrcnn.evaluation.text_scores import TextScores, match_image
from maskrcnn.objects import FoundObject
from maskrcnn.ops.run_length import encode
from maskrcnn.structures import Sample
from maskrcnn.visualize import (
    contact_sheet,
    coverage_by_size,
    draw_detections,
    draw_matches,
    draw_objects,
    draw_sample,
    precision_recall,
    training_curves,
)
from maskrcnn.visualize.canvas import GREY, SKY_BLUE, VERMILLION, YELLOW, Canvas, Stroke, printable

COLOURS = {"found": SKY_BLUE, "missed": YELLOW, "false": VERMILLION, "don't care": GREY}
# Through the middle of pixels, so that a line covers at least one row of them wholly.
SQUARE = np.array([[100.5, 100.5], [400.5, 100.5], [400.5, 400.5], [100.5, 400.5]])


def grey(height=600, width=600, value=128):
    return np.full((height, width, 3), value, np.uint8)


def rgb(colour):
    return tuple(int(colour[start : start + 2], 16) for start in (1, 3, 5))


def has_colour(pixels, colour):
    """Which pixels (..., 3) are `colour` but for rounding."""
    return (np.abs(np.asarray(pixels, int) - rgb(colour)) <= 3).all(axis=-1)


def sample(polygons, ignore, image=None, transcriptions=()):
    labels = np.ones(len(polygons), np.int64)
    return Sample(
        "img_1.jpg", grey() if image is None else image, tuple(polygons), labels, np.array(ignore, bool), transcriptions
    )


def saved_figure(monkeypatch, draw, *arguments):
    """The matplotlib figure that `draw` saves."""
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    draw(*arguments)
    return figures[0]


# Outlines and fills.


def test_an_outline_is_on_the_polygon_and_nowhere_else():
    canvas = Canvas(grey())
    canvas.outline(SQUARE, Stroke(YELLOW))
    pixels = np.asarray(canvas.picture)
    assert has_colour(pixels[100, 150:350], YELLOW).all()
    assert has_colour(pixels[150:350, 400], YELLOW).all()
    assert (pixels[110:390, 110:390] == 128).all()
    assert (pixels[:90] == 128).all() and (pixels[:, 410:] == 128).all()


def test_an_outline_has_a_dark_casing_so_that_it_shows_on_its_own_colour():
    canvas = Canvas(np.broadcast_to(np.array(rgb(YELLOW), np.uint8), (600, 600, 3)).copy())
    canvas.outline(SQUARE, Stroke(YELLOW))
    across = np.asarray(canvas.picture)[90:111, 250].astype(int).sum(axis=1)
    assert across[10] == across[0] == sum(rgb(YELLOW))
    assert across[:10].min() < 0.8 * across[0] and across[11:].min() < 0.8 * across[0]


def test_a_dashed_outline_has_gaps_as_long_as_it_says():
    canvas = Canvas(grey())
    canvas.outline(SQUARE, Stroke(YELLOW, (10.0, 10.0)))
    covered = has_colour(np.asarray(canvas.picture)[100, 120:380], YELLOW).mean()
    assert 0.4 < covered < 0.6


@pytest.mark.parametrize(("side", "width"), [(500, 2), (2000, 4), (4000, 8)])
def test_lines_grow_with_the_picture(side, width):
    canvas = Canvas(grey(side, side))
    canvas.outline(SQUARE * side / 600, Stroke(YELLOW))
    pixels = np.asarray(canvas.picture).astype(int)
    across = pixels[: pixels.shape[0] // 2, pixels.shape[1] // 2]
    # How far the line has moved the red channel from grey to yellow, added up across the line: its width.
    measured = np.clip((across[:, 0] - 128) / (rgb(YELLOW)[0] - 128), 0, 1).sum()
    assert measured == pytest.approx(width, abs=0.5)


@pytest.mark.parametrize(
    ("size", "expected"), [((80, 100), (600, 480)), ((1, 1), (512, 512)), ((720, 1280), (1280, 720))]
)
def test_small_pictures_are_enlarged_by_a_whole_factor(size, expected):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    picture = draw_sample(sample([], [], image))
    assert picture.size == expected
    factor = expected[0] // size[1]
    assert (np.asarray(picture)[::factor, ::factor] == image).all()


def test_the_input_is_not_drawn_on():
    image = grey()
    draw_detections(image, [(SQUARE, 0.9)])
    assert (image == 128).all()


# Ground truth and detections.


def test_objects_are_solid_and_dont_care_regions_dashed_and_hatched():
    other = (SQUARE - 0.5) / 4 + 450.5
    pixels = np.asarray(draw_sample(sample([SQUARE, other], [False, True])))
    assert has_colour(pixels[100, 110:390], YELLOW).all()
    assert (pixels[150:350, 150:350] == 128).all()
    inside = pixels[490:535, 490:535, 0]
    assert (inside == 128).any() and (inside > 170).any()
    edge = has_colour(pixels[475, 480:545], GREY)
    assert edge.any() and not edge.all()


def test_transcriptions_are_written_only_on_request_and_only_for_objects():
    with_text = sample([SQUARE, SQUARE / 9 + 450], [False, True], transcriptions=("hello", "###"))
    without, with_label = (np.asarray(draw_sample(with_text, transcriptions=t)).astype(int) for t in (False, True))
    changed = np.argwhere((without != with_label).any(axis=2))
    assert len(changed) > 200
    # One label, above the object and as wide as five letters.
    assert changed[:, 0].max() < 100 and changed[:, 0].min() > 70
    assert 25 < np.ptp(changed[:, 1]) < 80


def test_a_detection_is_tinted_inside_and_labelled_with_its_score():
    pixels = np.asarray(draw_detections(grey(), [(SQUARE, 0.914)]))
    expected = 128 + 0.25 * (np.array(rgb(YELLOW)) - 128)
    assert np.abs(pixels[250, 250] - expected).max() <= 2
    assert has_colour(pixels[75:97, 100:150], YELLOW).sum() > 200


def test_masks_are_tinted_exactly_where_they_are():
    mask = np.zeros((80, 100), bool)
    mask[20:30, 40:70] = True
    outline = np.array([[5.0, 60.0], [20.0, 60.0], [20.0, 70.0]])
    pixels = np.asarray(draw_detections(grey(80, 100), [(outline, 0.5)], [mask]))
    expected = 128 + 0.35 * (np.array(rgb(YELLOW)) - 128)
    region = pixels[: 45 * 6]  # enlarged 6 times; below are outline and label
    tinted = (np.abs(region - expected) <= 2).all(axis=2)
    assert (tinted == np.kron(mask[:45], np.ones((6, 6), bool))).all()
    assert (region[~tinted] == 128).all()


def test_classes_have_their_own_colours():
    shapes = [(SQUARE, 0.9), (SQUARE / 4 + 440, 0.8)]
    pixels = np.asarray(draw_detections(grey(), shapes, labels=[1, 2], class_names=("cat", "dog")))
    assert has_colour(pixels[100, 150:390], YELLOW).all()
    assert has_colour(pixels[465, 480:530], SKY_BLUE).all()


def test_all_parts_of_an_object_are_outlined_and_its_class_is_written_once():
    parts = (SQUARE * 0.3, SQUARE * 0.3 + 300)
    whole = Sample("a.jpg", grey(), parts, np.array([2]), np.array([False]), part_of=np.array([0, 0]))
    plain, named = (np.asarray(draw_sample(whole, names)).astype(int) for names in ((), ("cat", "dog")))
    for x in (75, 375):  # on the upper edges, 30 and 330 pixels down
        assert has_colour(plain[x - 45, x], SKY_BLUE)
    rows, columns = np.nonzero((plain != named).any(axis=2))
    assert len(rows) and rows.max() - rows.min() < 40 and columns.max() - columns.min() < 80


def test_ground_truth_has_its_figures():
    points = np.array([[[200.0, 200, 2], [300, 200, 2]]])
    standing = Sample("a.jpg", grey(), (SQUARE,), np.array([1]), np.array([False]), keypoints=points,
                      keypoint_names=("left_hand", "left_foot"))  # fmt: skip
    pixels = np.asarray(draw_sample(standing, skeleton=(("left_hand", "left_foot"),)))
    assert (pixels[200, 200:300] != 128).any(axis=1).all()
    assert (np.asarray(draw_sample(standing))[200, 230:270] == 128).all()  # joints without a limb


def test_a_found_object_has_a_box_a_tinted_mask_a_label_and_a_figure():
    mask = np.zeros((1, 600, 600), bool)
    mask[0, 150:250, 150:250] = True
    points = np.array([[300.0, 300, 9], [350, 300, 9]])
    found = FoundObject(2, "dog", 0.876, np.array([100.5, 100.5, 400.5, 400.5]), encode(mask)[0], points)
    pixels = np.asarray(draw_objects(grey(), [found], ("left_hand", "left_foot"), (("left_hand", "left_foot"),)))
    assert has_colour(pixels[100, 150:350], SKY_BLUE).all() and has_colour(pixels[150:350, 400], SKY_BLUE).all()
    tinted = (pixels[140:260, 140:260] != 128).any(axis=2)
    assert tinted[10:110, 10:110].all() and tinted.sum() == 100 * 100
    assert (pixels[300, 300:350] != 128).any(axis=1).all()
    assert (pixels[60:98, 150:350] != 128).any()  # the label, above the box
    without = np.asarray(draw_objects(grey(), [found._replace(mask=None, keypoints=None)]))
    assert (without[120:380, 120:380] == 128).all()
    assert (np.asarray(draw_objects(grey(), [])) == 128).all()


def test_labels_stay_inside_the_picture_and_off_each_other():
    corner = np.array([[0.0, 0.0], [40.0, 0.0], [40.0, 20.0], [0.0, 20.0]])
    areas = []
    for count in (1, 2, 3, 30):
        canvas = Canvas(grey())
        for _ in range(count):
            canvas.label("0.95", corner, YELLOW)
        areas.append(has_colour(np.asarray(canvas.picture), YELLOW).sum())
    # The corner leaves room at its inside, to the right and below; the left place is the first one again.
    assert areas[1] == pytest.approx(2 * areas[0], rel=0.02)
    assert areas[2] == pytest.approx(3 * areas[0], rel=0.02)
    assert areas[3] == areas[2]


def test_labels_of_hostile_transcriptions_stay_on_one_line():
    assert printable("two\nlines\x07\u202e") == "two lines  "
    assert printable("x" * 1000) == "x" * 39 + "…"
    canvas = Canvas(grey())
    canvas.label("a\nb" * 100, SQUARE, YELLOW)
    rows = np.flatnonzero(has_colour(np.asarray(canvas.picture), YELLOW).any(axis=1))
    assert 0 < np.ptp(rows) < 25


# What the score makes of it.


def test_matches_have_four_appearances():
    word = (SQUARE - 0.5) / 4 + 0.5
    far, extra, dont_care = (word + np.array(shift) for shift in ((200, 0), (0, 200), (200, 200)))
    truths, ignore = [word, far, dont_care], np.array([False, False, True])
    found = [word + 2, extra, dont_care + 1]
    picture = draw_matches(grey(), truths, found, match_image(truths, ignore, found))
    pixels = np.asarray(picture)

    def colours_of(shape):
        x1, y1, x2, y2 = (*shape.min(axis=0).astype(int) - 3, *shape.max(axis=0).astype(int) + 4)
        return {name for name, colour in COLOURS.items() if has_colour(pixels[y1:y2, x1:x2], colour).sum() > 15}

    assert colours_of(word) == {"found"}
    assert colours_of(far) == {"missed"}
    assert colours_of(extra) == {"false"}
    assert "don't care" in colours_of(dont_care) and not colours_of(dont_care) & {"found", "missed", "false"}
    legend = pixels[600:]
    assert picture.width == 600 and 20 < len(legend) < 80
    assert all(has_colour(legend, colour).any() for colour in COLOURS.values())


def test_matches_of_other_outlines_are_refused():
    matches = match_image([SQUARE], np.array([False]), [SQUARE])
    with pytest.raises(ValueError, match="found 1 ground truths and 2 detections"):
        draw_matches(grey(), [SQUARE], [SQUARE, SQUARE], matches)


# Empty, degenerate, enormous.


def test_nothing_to_draw_changes_nothing():
    assert (np.asarray(draw_sample(sample([], []))) == 128).all()
    assert (np.asarray(draw_detections(grey(), [])) == 128).all()
    matches = match_image([], np.zeros(0, bool), [])
    assert (np.asarray(draw_matches(grey(), [], [], matches))[:600] == 128).all()


@pytest.mark.parametrize("offset", [-300.0, 300.0, 1e6, -1e12])
def test_outlines_that_leave_the_picture(offset):
    picture = draw_detections(grey(), [(SQUARE + offset, 0.5), (SQUARE * (1, 1e9), 0.4)], labels=[2, 1])
    draw_sample(sample([SQUARE + offset, SQUARE * (1, 1e9)], [True, True]))
    assert picture.size == (600, 600)
    assert has_colour(np.asarray(picture), SKY_BLUE).any()  # its label at least


def test_an_object_without_area_is_a_line():
    line = np.array([[100.0, 300.5], [300.0, 300.5], [200.0, 300.5]])
    pixels = np.asarray(draw_detections(grey(), [(line, 0.5)]))
    assert has_colour(pixels[300, 105:295], YELLOW).all()
    point = np.asarray(draw_detections(grey(), [(np.full((4, 2), 300.0), 0.5)]))
    assert has_colour(point[270:300], YELLOW).any()  # its label


def test_a_picture_of_eight_thousand_pixels():
    pixels = np.asarray(draw_detections(grey(1500, 8000), [((SQUARE - 0.5) * (19, 3.5) + 0.5, 0.9)]))
    assert has_colour(pixels[350, 3000:7000], YELLOW).all()


def test_errors_say_what_was_found():
    with pytest.raises(ValueError, match=r"finite coordinates, found \(4, 2\)"):
        draw_detections(grey(), [(SQUARE * np.nan, 0.5)])
    with pytest.raises(ValueError, match=r"as large as its picture, found \(5, 5\), expected \(600, 600\)"):
        draw_detections(grey(), [(SQUARE, 0.5)], [np.ones((5, 5), bool)])
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8, found \(600, 600\) float64"):
        draw_detections(np.zeros((600, 600)), [])


# Sheets.


def test_a_contact_sheet_has_rows_and_columns():
    pictures = [grey(50, 100, value) for value in (10, 60, 110, 160, 210)]
    sheet = contact_sheet(pictures, columns=2, cell=100)
    assert sheet.size == (12 + 2 * 112, 12 + 3 * 62)
    middles = [(12 + 50 + 112 * (index % 2), 12 + 25 + 62 * (index // 2)) for index in range(5)]
    assert [sheet.getpixel(middle)[0] for middle in middles] == [10, 60, 110, 160, 210]
    assert sheet.getpixel((12 + 50 + 112, 12 + 25 + 2 * 62)) == (255, 255, 255)


def test_captions_stand_below_their_pictures():
    sheet = np.asarray(contact_sheet([grey(100, 100)] * 2, columns=2, captions=["one", ""], cell=100))
    assert (sheet[112 + 2 :, :124] < 100).any()
    assert (sheet[112 + 2 :, 124:] == 255).all()


def test_a_sheet_of_nothing_and_of_too_many_captions():
    assert contact_sheet([]).size[0] > 0
    with pytest.raises(ValueError, match="1 pictures but 2 captions"):
        contact_sheet([grey()], captions=["a", "b"])


# Diagrams.

HEADER = "step,seconds,learning_rate,images_per_second,total,box,mask\n"


def log_of(folder, rows):
    log = folder / "log.csv"
    log.write_text(HEADER + "".join(",".join(str(value) for value in row) + "\n" for row in rows))
    return log


def test_training_curves_show_each_loss_raw_and_smoothed(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    rows = [(step, step * 0.5, 0.1 / step, 20, *rng.uniform(0.1, 2, 3)) for step in range(1, 101)]
    figure = saved_figure(monkeypatch, training_curves, log_of(tmp_path, rows), tmp_path / "x.png")
    losses, rate = figure.axes
    smooth = {line.get_label(): line.get_ydata() for line in losses.lines if not line.get_label().startswith("_")}
    raw = [line.get_ydata() for line in losses.lines if line.get_label().startswith("_")]
    assert list(smooth) == ["total", "box", "mask"]
    for column, (name, values) in enumerate(smooth.items(), start=4):
        own = np.array([row[column] for row in rows])
        # 5 % of 100 steps: each point is the mean of the last five.
        expected = [own[max(0, step - 4) : step + 1].mean() for step in range(100)]
        np.testing.assert_allclose(values, expected, err_msg=name)
        np.testing.assert_allclose(raw[column - 4], own)
    np.testing.assert_allclose(rate.lines[0].get_ydata(), [row[2] for row in rows])
    assert losses.get_title("left") == "training: 100 steps, 50 s"
    styles = [(line.get_color(), line.get_linestyle()) for line in losses.lines if line.get_linewidth() > 1]
    assert len(set(styles)) == len({style for _, style in styles[1:]}) + 1 == 3


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_short_logs_make_a_picture(tmp_path, count):
    log = log_of(tmp_path, [(step, step, 0.1, 20, 0.0, 0.0, 0.0) for step in range(1, count + 1)])
    training_curves(log, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (880, 660)
    log.write_text("")
    training_curves(log, tmp_path / "empty.png")
    assert (tmp_path / "empty.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", r"log.csv:1: found columns \['a', 'b'\], expected step"),
        (HEADER + "1,1,1,1,1,1,1\n2,1,1,1,x,1,1\n", r"log.csv:3: could not convert"),
        (HEADER + "1,1,1\n", r"log.csv:2: found 3 numbers, expected 7"),
    ],
)
def test_a_broken_log_is_named(tmp_path, content, message):
    log = tmp_path / "log.csv"
    log.write_text(content)
    with pytest.raises(ValueError, match=message):
        training_curves(log, tmp_path / "curves.png")


def test_the_threshold_diagram_marks_the_best_hmean(tmp_path, monkeypatch):
    scores = [
        TextScores(recall, precision, hmean, threshold, 1, 2, 3)
        for threshold, recall, precision, hmean in [
            (0.3, 0.9, 0.5, 0.64),
            (0.5, 0.8, 0.75, 0.77),
            (0.7, 0.5, 1.0, 0.67),
        ]
    ]
    figure = saved_figure(monkeypatch, precision_recall, scores, tmp_path / "x.png")
    lines = {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].lines}
    assert lines["recall"] == [0.9, 0.8, 0.5] and lines["precision"] == [0.5, 0.75, 1.0]
    assert lines["hmean"] == [0.64, 0.77, 0.67]
    assert [text.get_text() for text in figure.axes[0].texts] == ["best hmean 0.770 at 0.5"]
    with pytest.raises(ValueError, match="at least one threshold"):
        precision_recall([], io.BytesIO())


def test_the_coverage_diagram_has_two_bars_for_each_size(tmp_path, monkeypatch):
    buckets = [("under 8", 10, 5, 2), ("8 to 16", 0, 0, 0), ("16 to 32", 4, 4, 3)]
    figure = saved_figure(monkeypatch, coverage_by_size, buckets, "words", tmp_path / "x.png")
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == [0.5, 0.0, 1.0, 0.2, 0.0, 0.75]
    assert figure.axes[0].get_xticklabels()[0].get_text() == "under 8\n10 words"
    monkeypatch.undo()
    coverage_by_size([], "words", tmp_path / "none.png")
    assert (tmp_path / "none.png").stat().st_size > 3000
