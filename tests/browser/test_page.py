"""The page of `explain` as a reader has it: opened from a file, read, clicked, moved by keys, on a desk and on a phone.

What is asserted is what was drawn: each figure writes down what it shows in its canvas's data attributes.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import DESKTOP, PHONE
from PIL import Image
from playwright.sync_api import Page
from small_model import SMALL

import maskrcnn
from maskrcnn import boxes as box_functions
from maskrcnn import ops
from maskrcnn.config import Config
from maskrcnn.data.rendered_text import SCENE, RenderedText
from maskrcnn.detector import Detector
from maskrcnn.explain import explain, write_page
from maskrcnn.explain.targets import read_targets
from maskrcnn.model.mask_rcnn import MaskRCNN

HOSTILE = "<script>alert(1)<\N{DIVISION SLASH}script><img src=x onerror=alert(2)>.png"
STAGES = (
    "input", "features", "anchors", "objectness", "proposals", "roialign", "box-head", "detections", "mask-head",
    "result", "time", "training",
)  # fmt: skip


@dataclass(frozen=True)
class Explained:
    """A page, and what it is made of."""

    path: Path
    data: dict

    def numbers(self, section: str, name: str, dtype: str) -> torch.Tensor:
        return torch.from_numpy(np.frombuffer(base64.b64decode(self.data[section][name]), dtype).copy())


def made(folder: Path, detector: Detector, image: np.ndarray, name: str = "picture.png", **more) -> Explained:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / name)
    explanation = explain(detector, folder / name, "weights", **more)
    write_page(folder / "page.html", explanation)
    return Explained(folder / "page.html", explanation.data)


def small_detector(**box_head) -> Detector:
    torch.manual_seed(0)
    model = replace(SMALL, box_head=replace(SMALL.box_head, **box_head))
    return Detector(MaskRCNN(model), replace(Config(), model=model))


@pytest.fixture(scope="session")
def text(tmp_path_factory) -> Explained:
    """Words that the shipped weights find, with their ground truth; the picture has a name that wants to be run."""
    settings = replace(SCENE, height=(240, 240), width=(400, 400), texts=(5, 5), text_height=(18.0, 40.0))
    scene = RenderedText(1, seed=31, settings=settings)[0]
    folder = tmp_path_factory.mktemp("text")
    lines = [",".join(str(int(value)) for value in polygon.ravel()) + ",word" for polygon in scene.polygons]
    (folder / "gt.txt").write_text("\n".join(line for line in lines if line.count(",") == 8) + "\n")
    detector = maskrcnn.load("text_small", settings=["model.image.long_side=640", "model.image.short_side=640"])
    truth = lambda image: read_targets(folder / "gt.txt", image, HOSTILE, detector.config)  # noqa: E731
    return made(folder, detector, scene.image, HOSTILE, ground_truth=truth)


def figure(page: Page, name: str):
    """The canvas of a figure, once it has been drawn."""
    found = page.locator(f'canvas[data-figure="{name}"]')
    found.scroll_into_view_if_needed()
    page.wait_for_function(
        "(name) => Object.keys(document.querySelector(`[data-figure='${name}']`).dataset).length > 1", arg=name
    )
    return found


def drawn(page: Page, name: str) -> dict[str, str]:
    """What a figure says that it shows, when nothing is about to be drawn any more."""
    figure(page, name)
    script = """async (name) => {
      const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      const figure = document.querySelector(`[data-figure="${name}"]`);
      do await frame(); while (figure.dataset.ready === 'false');  // its map is being unpacked
      return { ...figure.dataset };
    }"""
    return page.evaluate(script, name)


def slide(page: Page, name: str, value: float) -> None:
    """Moves a slider as a hand does: the value changes, and the page hears of it."""
    page.locator(f"#{name}").evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input', { bubbles: true })); }", value
    )


def has_picture(page: Page, name: str) -> bool:
    """Whether a canvas holds more than one colour."""
    return figure(page, name).evaluate(
        """(canvas) => {
          const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
          const seen = new Set();
          for (let i = 0; i < pixels.length; i += 4 * 97) seen.add(pixels.slice(i, i + 4).join());
          return seen.size > 1;
        }"""
    )


# --- Opening ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_stage_is_there_and_drawn(open_page, text, size, colours):
    page = open_page(text.path, size, color_scheme=colours)
    page.wait_for_selector("html[data-ready]")
    assert page.evaluate("[...document.querySelectorAll('section')].map((s) => s.id)") == list(STAGES)
    for name in ("input", "features", "anchors", "objectness", "proposals", "roialign-cells", "mask-head", "result"):
        assert has_picture(page, name), name
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    for stage in STAGES:
        assert page.locator(f"#{stage} h2").inner_text().strip() and page.locator(f"#{stage} .lead").inner_text()


def test_a_hostile_name_is_shown_and_never_run(open_page, text):
    page = open_page(text.path)
    page.on("dialog", lambda dialog: pytest.fail(f"the page ran: {dialog.message}"))
    page.wait_for_selector("html[data-ready]")
    assert HOSTILE in page.locator("h1").inner_text() and HOSTILE in page.title()
    assert page.locator("img[onerror]").count() == 0


def test_each_stage_lists_its_tensors(open_page, text):
    page = open_page(text.path)
    page.wait_for_selector("html[data-ready]")
    for stage in text.data["stages"]:
        if stage["tensors"]:
            page.locator(f"#{stage['id']} details.tensors summary").click()
            shown = page.locator(f"#{stage['id']} details.tensors tbody tr").all_inner_texts()
            assert len(shown) == len(stage["tensors"])
            assert stage["tensors"][0]["name"] in shown[0] and stage["tensors"][0]["dtype"] in shown[0]
        assert stage["module"] in page.locator(f"#{stage['id']} .sources").inner_text()


# --- Suppression ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "groups", "dtype"), [("proposals", "levels", "u1"), ("candidates", "labels", "<i4")]
)
def test_thresholds_are_computed_in_the_page_as_the_op_computes(open_page, text, section, groups, dtype):
    stage = "proposals" if section == "proposals" else "detections"
    page = open_page(text.path)
    boxes, scores = text.numbers(section, "boxes", "<f4").view(-1, 4), text.numbers(section, "scores", "<f4")
    group = text.numbers(section, groups, dtype).long()
    most = text.data[section]["max_keep"]
    at_first = drawn(page, stage)
    assert at_first["same"] == "true" and int(at_first["kept"]) == len(text.numbers(section, "kept", "<i4"))
    for threshold in (0.1, 0.45, 0.9):
        slide(page, f"{stage}-iou", threshold)
        kept = ops.nms(boxes, scores, group, iou_threshold=threshold, max_keep=most)
        assert int(drawn(page, stage)["kept"]) == (kept >= 0).sum()
    probability = scores.sigmoid() if section == "proposals" else scores
    slide(page, f"{stage}-score", 0.8)
    counted = scores.masked_fill(probability < np.float32(0.8), float("-inf"))
    kept = ops.nms(boxes, counted, group, iou_threshold=0.9, max_keep=most)
    shown = drawn(page, stage)
    assert int(shown["before"]) == (counted > float("-inf")).sum() and int(shown["kept"]) == (kept >= 0).sum()
    page.locator(f"#{stage}-reset").click()
    assert drawn(page, stage)["same"] == "true"


def test_arrow_keys_go_through_the_survivors_and_a_click_tells_who_suppressed_a_box(open_page, text):
    page = open_page(text.path)
    kept = text.numbers("proposals", "kept", "<i4").tolist()
    boxes = text.numbers("proposals", "boxes", "<f4").view(-1, 4)
    assert drawn(page, "proposals")["chosen"] == str(kept[0])
    canvas = figure(page, "proposals")
    canvas.focus()
    for expected in (kept[1], kept[2]):
        page.keyboard.press("ArrowRight")
        assert drawn(page, "proposals")["chosen"] == str(expected)
    page.keyboard.press("ArrowLeft")
    assert drawn(page, "proposals")["chosen"] == str(kept[1])
    # Every click in one place takes the next larger box there; among them are suppressed ones.
    size = canvas.bounding_box()
    x, y = ((boxes[kept[0], :2] + boxes[kept[0], 2:]) / 2).tolist()
    scale = size["width"] / text.data["picture"]["padded"][0]
    seen = []
    for _ in range(12):
        canvas.click(position={"x": x * scale, "y": min(y * scale, size["height"] - 1)})
        seen.append(drawn(page, "proposals"))
        if seen[-1]["suppressor"] != "-1":
            break
    chosen, by = int(seen[-1]["chosen"]), int(seen[-1]["suppressor"])
    assert by in kept and chosen not in kept
    assert float(box_functions.iou(boxes[chosen][None], boxes[by][None])) > text.data["proposals"]["iou"]
    assert "Suppressed by survivor" in page.locator("#proposals").inner_text()


# --- The other figures ------------------------------------------------------------------------------------------------


def test_levels_and_channels_of_the_maps_can_be_chosen(open_page, text):
    page = open_page(text.path)
    first = drawn(page, "features")
    page.locator("#features-level-P4").check(force=True)
    assert drawn(page, "features")["level"] == "P4" != first["level"]
    norm = drawn(page, "features")["value"]
    slide(page, "features-channel", 3)
    shown = drawn(page, "features")
    assert shown["shown"] == "3" and shown["value"] != norm
    page.locator("#features-shown-norm").check(force=True)
    page.locator("#features-level-P2").check(force=True)
    fine = [int(at) for at in drawn(page, "features")["cell"].split(",")]
    page.locator("#features-level-P3").check(force=True)
    assert drawn(page, "features")["cell"] == f"{fine[0] // 2},{fine[1] // 2}"  # the same place in the picture


def test_the_cell_of_the_anchors_moves_by_keys_and_says_what_training_would(open_page, text):
    page = open_page(text.path)
    page.locator("#anchors-level-P3").check(force=True)
    row, column = map(int, drawn(page, "anchors")["cell"].split(","))
    figure(page, "anchors").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    shown = drawn(page, "anchors")
    assert shown["level"] == "P3" and shown["cell"] == f"{row + 1},{column + 1}"
    anchors = text.data["anchors"]
    level = anchors["levels"][1]
    y, x = (row + 1) * level["stride"][0], (column + 1) * level["stride"][1]
    cell = torch.tensor(level["cell"]) + torch.tensor([x, y, x, y])
    found = torch.tensor([d["box"] for d in text.data["detections"] if d["shown"]])
    best = box_functions.iou(cell, found).amax(dim=1)
    forced = {tuple(place[:4]) for place in anchors["positive"]}
    expected = [
        "positive" if (1, row + 1, column + 1, anchor) in forced or overlap >= anchors["positive_iou"]
        else "negative" if overlap < anchors["negative_iou"] else "ignored"
        for anchor, overlap in enumerate(best.tolist())
    ]  # fmt: skip
    assert shown["states"] == ",".join(expected)
    page.locator("#anchors-positives-all").check(force=True)
    assert drawn(page, "anchors")["positives"] == str(len(anchors["positive"]))


def test_a_detection_that_is_chosen_is_looked_at_in_every_stage(open_page, text):
    page = open_page(text.path)
    page.wait_for_selector("html[data-ready]")
    last = max(i for i, d in enumerate(text.data["detections"]) if d["shown"])
    roi = str(text.data["detections"][last]["roi"])
    page.locator("#mask-head-detection").select_option(str(last))
    assert drawn(page, "mask-head")["chosen"] == str(last)
    assert drawn(page, "roialign")["chosen"] == roi and drawn(page, "roialign-cells")["chosen"] == roi
    assert drawn(page, "box-head")["chosen"] == roi
    refined = [float(corner) for corner in drawn(page, "box-head")["refined"].split(",")]
    assert refined == pytest.approx(text.data["detections"][last]["box"], abs=0.06)
    ratio = text.data["rois"]["box"]["sampling_ratio"]
    if ratio:
        assert int(drawn(page, "roialign-cells")["points"]) == (7 * ratio) ** 2


def test_the_threshold_of_the_mask_moves_the_pixels_that_it_covers(open_page, text):
    page = open_page(text.path)
    covered = []
    for threshold in (0.2, 0.5, 0.9):
        slide(page, "mask-head-threshold", threshold)
        covered.append(float(drawn(page, "mask-head")["covered"]))
    assert covered[0] > covered[1] > covered[2] > 0
    chosen = int(drawn(page, "mask-head")["chosen"])
    size = text.data["masks"]["size"]
    mask = text.numbers("masks", "values", "<f4").view(-1, size, size)[chosen]
    box = torch.tensor(text.data["detections"][chosen]["box"])
    height, width = text.data["picture"]["height"], text.data["picture"]["width"]
    expected = ops.paste_masks(mask[None], box[None], height=height, width=width, convention="pixel_centres").sum()
    assert covered[1] == int(expected)


def test_the_score_of_the_result_decides_what_is_drawn(open_page, text):
    page = open_page(text.path)
    for threshold in (0.99, 0.5, 0.1):
        slide(page, "result-score", threshold)
        expected = sum(detection["score"] >= threshold for detection in text.data["detections"])
        assert drawn(page, "result")["shown"] == str(expected)


def test_training_shows_what_was_sampled_and_each_loss(open_page, text):
    page = open_page(text.path)
    assert int(drawn(page, "training")["truth"]) == len(text.data["training"]["ground_truth"])
    page.locator("#training-shown-sampled-rois").check(force=True)
    shown, targets = drawn(page, "training"), text.data["training"]["mask_targets"]
    assert int(shown["positive"]) == targets["count"] > 0 and int(shown["negative"]) > 0
    page.locator("#training-shown-sampled-anchors").check(force=True)
    slide(page, "training-mask", targets["count"])
    shown = drawn(page, "training")
    assert shown["shown"] == "sampled-rois" and shown["marked"] == str(targets["count"] - 1)
    said = page.locator("#training").inner_text()
    for loss in text.data["training"]["losses"]:
        assert loss["name"] in said and f"{loss['value']:.4f}" in said


# --- By keyboard, and for everybody's eyes ----------------------------------------------------------------------------


def test_everything_can_be_reached_and_seen_by_the_keyboard(open_page, text):
    page = open_page(text.path)
    page.wait_for_selector("html[data-ready]")
    reached, without_outline = set(), []
    for _ in range(400):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => {
              const at = document.activeElement;
              const around = [at, at.nextElementSibling].filter(Boolean).map((one) => getComputedStyle(one));
              return { id: at.id || at.dataset?.figure || at.tagName,
                       seen: around.some((style) => style.outlineStyle !== 'none' || style.boxShadow !== 'none') };
            }"""
        )
        if found["id"] == "BODY":
            break
        reached.add(found["id"])
        if not found["seen"]:
            without_outline.append(found["id"])
    controls = page.evaluate(
        """() => [...document.querySelectorAll('input[type=range]:enabled, input[type=checkbox], select, button[id],'
          + 'canvas[role=application]')].filter((one) => one.offsetParent).map((one) => one.id || one.dataset.figure)"""
    )
    assert sorted(set(controls) - reached) == [] and without_outline == []
    assert "BUTTON" in reached  # the rows of the list of results
    for group in page.evaluate("[...document.querySelectorAll('fieldset')].map((one) => one.id)"):
        assert any(name.startswith(f"{group}-") for name in reached), group


def test_sliders_move_by_keys(open_page, text):
    page = open_page(text.path)
    before = drawn(page, "proposals")
    page.locator("#proposals-iou").focus()
    page.keyboard.press("Home")
    assert int(drawn(page, "proposals")["kept"]) < int(before["kept"])


def test_what_is_chosen_is_said_to_those_who_listen(open_page, text):
    page = open_page(text.path)
    figure(page, "proposals").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.getElementById('announcement').textContent.includes('Survivor 2 of')")
    assert page.locator("#announcement").get_attribute("aria-live") == "polite"
    unnamed = page.evaluate(
        "[...document.querySelectorAll('canvas')].filter((one) => !one.getAttribute('aria-label')).length"
    )
    assert unnamed == 0


def test_lines_have_the_colours_that_everybody_can_tell_apart(open_page, text):
    """Okabe and Ito's, and white and black."""
    page = open_page(text.path)
    colours = set(page.evaluate("Object.values(COLOURS)"))
    told_apart = {"#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#000000", "#FFFFFF"}
    assert {colour.upper() for colour in colours} <= told_apart


# --- Pictures and results of all kinds --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize(
    ("height", "width", "settings"),
    [
        (100, 100, {"score_threshold": 0.01}),
        (3000, 4000, {"score_threshold": 0.01}),
        (60, 900, {"score_threshold": 0.01}),
        (200, 300, {"score_threshold": 0.999}),  # nothing is found
        (200, 300, {"score_threshold": 0.0001, "detections": 100, "nms_iou": 1.0}),  # a hundred detections
    ],
    ids=["small", "large", "a strip", "nothing found", "a hundred"],
)
def test_pages_of_all_kinds_of_pictures_can_be_read(open_page, tmp_path, size, height, width, settings):
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8).repeat(10, 0).repeat(10, 1)
    explained = made(tmp_path, small_detector(**settings), image)
    count = len(explained.data["detections"])
    assert count == {0.999: 0, 0.0001: min(100, count)}.get(settings["score_threshold"], count)
    page = open_page(explained.path, size)
    page.wait_for_selector("html[data-ready]")
    for stage in STAGES[:-1]:
        page.locator(f"#{stage}").scroll_into_view_if_needed()
    for name in ("input", "features", "proposals", "result"):
        assert has_picture(page, name), name
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert drawn(page, "proposals")["same"] == "true" and drawn(page, "detections")["same"] == "true"


def test_the_data_on_the_page_are_json(text):
    html = text.path.read_text("utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert json.loads(found[1])["file"] == HOSTILE
