"""The demo: held-out pictures that stay held out, and everything it leaves behind.

That the held-out pictures are not easy is measured in test_rendered_text, on the very same pictures. The demo in full
length is `make demo`; what is asserted of its result there is the number on its page.
"""

import json
import re
from dataclasses import replace

import pytest
import test_rendered_text
import torch
from PIL import Image
from small_text import SETTINGS

from maskrcnn import demo
from maskrcnn.data.rendered_text import DEMO, RenderedText
from maskrcnn.detector import load
from maskrcnn.recipes import recipe
from maskrcnn.training.checkpoint import load_weights

FILES = {
    "checkpoint.pt",
    "curves.png",
    "held_out.png",
    "log.csv",
    "metrics.json",
    "model.safetensors",
    "report.html",
    "thresholds.png",
}


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_200_pictures_of_the_hard_kind_are_held_out(seed):
    pictures = demo.held_out_pictures(seed)
    assert (len(pictures), pictures.settings) == (200, DEMO)
    assert test_rendered_text.held_out_pictures is demo.held_out_pictures


@pytest.fixture
def short(monkeypatch):
    """Makes the demo short: few steps of a small network, few pictures. Returns the data sets that it asks for."""
    opened = []

    def render(count: int, seed: int, settings=DEMO) -> RenderedText:
        opened.append((count, seed))
        return RenderedText(count, seed, settings)

    config = recipe("demo").override([*SETTINGS, "data.crop=0", "training.steps=3", "training.batch_size=2"])
    monkeypatch.setattr(demo, "RenderedText", render)
    monkeypatch.setattr(demo, "recipe", lambda name: replace(config, name=name))
    for name, count in (("HELD_OUT", 5), ("CHOOSING", 4), ("ON_THE_SHEET", 4)):
        monkeypatch.setattr(demo, name, count)
    return opened


@pytest.mark.slow
def test_what_a_demo_leaves(short, tmp_path, capsys):
    metrics = demo.run_demo(tmp_path / "demo", seed=3)
    assert {path.name for path in (tmp_path / "demo").iterdir()} == FILES
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == f"look at {tmp_path / 'demo' / 'report.html'}"

    written = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    assert written == metrics
    assert list(written) == ["recall", "precision", "hmean", "threshold", "images", "train_seconds"]
    recall, precision = written["recall"], written["precision"]
    assert written["hmean"] == pytest.approx(2 * recall * precision / max(recall + precision, 1e-9))
    assert written["images"] == 5 and written["train_seconds"] > 0

    # Training, choosing and held-out pictures come from different seeds, so none serves two purposes.
    assert len(short) == 3 and len({seed for _, seed in short}) == 3
    assert [count for count, _ in short] == [3 * 2 // demo.LOOKS, 4, 5]

    assert_page_stands_alone((tmp_path / "demo" / "report.html").read_text(), f"{written['hmean']:.3f}")
    assert len((tmp_path / "demo" / "log.csv").read_text().splitlines()) == 4
    assert Image.open(tmp_path / "demo" / "held_out.png").width > 1600  # four pictures side by side
    assert load(tmp_path / "demo" / "model.safetensors").config.text.score_threshold == written["threshold"]


def assert_page_stands_alone(page: str, hmean: str) -> None:
    sources = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', page)
    assert len(sources) == 3 and all(source.startswith("data:image/") for source in sources)
    assert "<script" not in page and "<link" not in page and "url(" not in page and "@import" not in page
    assert f">{hmean}<" in page
    assert "python -m maskrcnn demo --out" in page


@pytest.mark.slow
def test_a_demo_can_be_repeated_in_the_same_folder_and_gives_the_same(short, tmp_path, capsys):
    first = demo.run_demo(tmp_path, seed=1)
    kept = {name: (tmp_path / name).read_bytes() for name in ("held_out.png", "model.safetensors")}
    second = demo.run_demo(tmp_path, seed=1)
    del first["train_seconds"], second["train_seconds"]
    assert first == second
    assert (tmp_path / "held_out.png").read_bytes() == kept["held_out.png"]
    weights = load_weights(tmp_path / "model.safetensors")[0]
    (tmp_path / "before.safetensors").write_bytes(kept["model.safetensors"])
    before = load_weights(tmp_path / "before.safetensors")[0]
    assert all(torch.equal(weights[name], before[name]) for name in before)
    assert {path.name for path in tmp_path.iterdir()} == FILES | {"before.safetensors"}
