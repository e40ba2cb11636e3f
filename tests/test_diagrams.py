"""What the notebooks draw with: everything lies where the numbers say, and wrong input is said."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot

from maskrcnn.visualize.diagrams import (
    describe,
    explore,
    show_boxes,
    show_map,
    show_outlines,
    show_picture,
    textbook_style,
)


@pytest.fixture
def axes(monkeypatch):
    pyplot.switch_backend("agg")
    figure, axes = pyplot.subplots()
    yield axes
    pyplot.close(figure)


def test_describe_says_shape_type_and_range_of_each(capsys):
    describe(
        boxes=torch.tensor([[0.0, 1.5], [2.0, -3.0]]),
        flags=torch.tensor([True, False, True]),
        levels=[torch.zeros(1, 2, 3), torch.ones(4, dtype=torch.int64)],
        nothing=np.zeros((0, 4)),
        broken=torch.tensor([1.0, float("nan"), float("inf")]),
        hopeless=torch.tensor([float("nan")]),
    )
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "boxes (2, 2) float32 -3 to 2",
        "flags (3,) bool 2 of 3 true",
        "levels[0] (1, 2, 3) float32 0 to 0",
        "levels[1] (4,) int64 1 to 1",
        "nothing (0, 4) float64 empty",
        "broken (3,) float32 1 to 1, 2 not finite",
        "hopeless (1,) float32 nothing finite, 1 not finite",
    ]


def test_a_picture_and_a_map_cover_their_pixels(axes):
    show_picture(axes, np.zeros((20, 30, 3), np.uint8))
    show_map(axes, torch.arange(6.0).reshape(2, 3), stride=8)
    assert [image.get_extent() for image in axes.images] == [[0, 30, 20, 0], [0, 24, 16, 0]]


def test_a_tensor_is_a_picture_too_and_dimmed_is_paler(axes):
    show_picture(axes, torch.full((3, 4, 4), 0.5))
    show_picture(axes, np.zeros((4, 4, 3), np.uint8), dimmed=True)
    half, pale = (image.get_array() for image in axes.images)
    assert half[0, 0].tolist() == [128, 128, 128] and pale[0, 0].tolist() == [140, 140, 140]


def test_zero_is_the_middle_of_a_diverging_map(axes):
    show_map(axes, torch.tensor([[-1.0, 3.0]]), diverging=True)
    show_map(axes, torch.zeros(1, 1), diverging=True)
    assert [image.get_clim() for image in axes.images] == [(-3, 3), (-1, 1)]


def test_a_map_has_a_bar_only_with_a_label(axes):
    show_map(axes, torch.zeros(2, 2))
    assert len(axes.figure.axes) == 1
    show_map(axes, torch.zeros(2, 2), label="IoU")
    assert [other.get_ylabel() for other in axes.figure.axes] == ["", "IoU"]


def test_boxes_and_outlines_are_closed_lines_with_one_entry_in_the_legend(axes):
    show_boxes(axes, torch.tensor([[1.0, 2.0, 5.0, 4.0], [0.0, 0.0, 1.0, 1.0]]), labels=("a", "b"), legend="boxes")
    show_outlines(axes, [np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 2.0]])], style="--", legend="outline")
    boxes, outlines = (lines.get_segments() for lines in axes.collections)
    assert boxes[0].tolist() == [[1, 2], [5, 2], [5, 4], [1, 4], [1, 2]] and len(boxes) == 2
    assert outlines[0].tolist() == [[0, 0], [2, 0], [1, 2], [0, 0]]
    assert [text.get_text() for text in axes.texts] == ["a", "b"]
    assert axes.get_legend_handles_labels()[1] == ["boxes", "outline"]


def test_nothing_to_draw(axes):
    show_boxes(axes, torch.zeros(0, 4))
    show_outlines(axes, [])
    axes.figure.canvas.draw()


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda axes: show_picture(axes, np.zeros((4, 4))), r"a picture must be \(H, W, 3\) uint8 or \(3, H, W\)"),
        (lambda axes: show_map(axes, torch.zeros(3)), r"a map must be \(H, W\), found \(3,\)"),
        (lambda axes: show_boxes(axes, torch.zeros(2, 4), labels=("a",)), "found 1 labels, expected one for each of 2"),
        (lambda axes: show_outlines(axes, [], style="wavy"), "style: found 'wavy', expected one of '-', '--'"),
        (lambda axes: explore(lambda: None, stills=()), "found no ranges, expected one for each parameter"),
    ],
)
def test_wrong_input_is_said(axes, draw, said):
    with pytest.raises(ValueError, match=said):
        draw(axes)


def test_exploring_shows_a_still_of_each_value_and_then_sliders(monkeypatch):
    display = pytest.importorskip("IPython.display")
    widgets = pytest.importorskip("ipywidgets")
    shown, drawn = [], []
    monkeypatch.setattr(display, "display", shown.append)

    def draw(threshold: float, count: int):
        drawn.append((threshold, count))
        return pyplot.figure(figsize=(1, 1), dpi=40)

    explore(draw, stills=(0.2, 0.7), threshold=(0.0, 1.0, 0.1), count=(1, 9, 1))
    assert drawn[:2] == [(0.2, 5), (0.7, 5)] and not pyplot.get_fignums()
    width, height = shown[0].size
    assert (width, height) == (200, 100) or width == 2 * height
    box = next(one for one in shown if isinstance(one, widgets.VBox))
    threshold, count = box.children[:2]
    assert (threshold.min, threshold.max, threshold.value) == (0, 1, 0.5) and isinstance(count, widgets.IntSlider)
    threshold.value = 0.9
    assert drawn[-1] == (0.9, 5)


def test_the_style_has_colours_that_everybody_can_tell_apart():
    with pyplot.rc_context():
        textbook_style()
        assert pyplot.rcParams["image.cmap"] == "cividis" and not pyplot.rcParams["axes.spines.top"]
