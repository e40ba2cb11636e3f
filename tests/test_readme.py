"""What the README and the pages about data sets say: every path exists, and every command works."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image
from small_coco import write_coco
from small_text import SETTINGS, picture, run, save_small_weights

from maskrcnn import detector
from maskrcnn.recipes import recipe

ROOT = Path(__file__).resolve().parents[1]
SETS = ("icdar2015", "icdar2017", "ctw1500", "totaltext", "coco")
PAGES = ("README.md", "datasets/README.md", *(f"datasets/{name}/README.md" for name in SETS))

SHORTER = {
    "--count 20": "--count 4",
    "--count 600": "--count 4",
    "training.steps=20": "training.steps=2",
    "img_1..img_900": "img_1..img_2",
    "img_901..img_1000": "img_3..img_4",
    "img_6..img_13": "img_1..img_2",
    "check icdar2015 DIR": "check icdar2015 data/rendered",
    "1..900": "1..3",
    "901..1000": "3..4",
    "data/mine": "data/coco",
}
"""What is said in the pages, and what is run instead, with a rendered data set of 4 + 2 pictures as data/icdar2015."""

SMALLER = {
    "train": ["--set", *SETTINGS, "training.steps=2"],
    "evaluate": ["--set", "model.image.short_side=256", "model.image.long_side=256"],
    "predict": ["--set", "model.image.short_side=256", "model.image.long_side=256", "--threshold", "0.1"],
    "explain": ["--set", "model.image.short_side=256", "model.image.long_side=256"],
}
"""What is added to a command so that it takes a moment."""
OBJECTS = [setting for setting in SETTINGS if not setting.startswith(("data.crop", "text."))]


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def commands(page: str) -> list[str]:
    """The shell commands of a page, without their comments."""
    lines = re.findall(r"^    ((?:make|pip|python) .*)$", text_of(page), re.MULTILINE)
    return [shlex.join(shlex.split(line, comments=True)) for line in lines]


def test_the_pages_have_commands():
    assert len(commands("README.md")) > 8
    assert all(any(command.startswith("python -m maskrcnn") for command in commands(page)) for page in PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_is_linked_or_named_exists(page):
    text = text_of(page)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    missing = [link for link in links if not ((ROOT / page).parent / link).exists()]
    named = re.findall(r"`((?:maskrcnn|csrc|tests|datasets|notebooks)/[\w/.-]+)`", text)
    missing += [path for path in named if not (ROOT / path).exists()]
    assert not missing
    assert page != "README.md" or (len(links) > 30 and len(named) > 1)


def test_the_table_leads_from_the_paper_to_a_module_and_a_test():
    table = text_of("README.md").partition("\n## From the paper to the code\n")[2]
    rows = [line for line in table.splitlines() if line.startswith("|") and "](" in line]
    assert len(rows) >= 15
    for row in rows:
        *_, module, test, _ = row.split("|")
        modules, tests = (re.findall(r"\]\(([^)]+)\)", cell) for cell in (module, test))
        assert modules and all(path.startswith(("maskrcnn/", "csrc/")) for path in modules), row
        assert tests and all(re.fullmatch(r"tests/test_\w+\.py", path) for path in tests), row


@pytest.mark.parametrize("name", ["text_small", "icdar2015", "ctw1500", "ctw1500_plus", "demo"])
def test_the_settings_of_the_papers_tables_go_with_any_recipe_of_text(name):
    rows = re.findall(r"^\| [^|]+ \| .*`(model\.[^`]+=[^`]+)`.*\|$", text_of("README.md"), re.MULTILINE)
    assert len(rows) == 9
    for row in rows:
        steady = ["model.box_head.sampling_ratio=2", "model.mask_head.sampling_ratio=2", "model.backbone.norm=group"]
        recipe(name).override([*steady, *row.split()])


def test_make_knows_what_the_pages_ask_of_it():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {command.split()[1] for page in PAGES for command in commands(page) if command.startswith("make ")}
    assert {"demo", "test"} <= asked <= targets


def test_what_pip_is_to_install_is_what_is_tested():
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    lines = [command.split()[2:] for command in commands("README.md") if command.startswith("pip install")]
    assert ["--no-build-isolation", "-e", "."] in lines
    for package in (word for line in lines for word in line if re.match(r"[a-z]", word)):
        name, _, version = package.partition("==")
        assert name in pinned and version in ("", pinned[name])


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Path:
    """An empty folder to work in, with a photograph, and with weights called text_small if none have shipped yet."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture(0)).save("photo.jpg")
    if "text_small" not in detector.shipped_weights():
        monkeypatch.setattr(detector, "SHIPPED", tmp_path / "shipped")
        (tmp_path / "shipped").mkdir()
        save_small_weights(tmp_path / "shipped" / "text_small.safetensors")
    return tmp_path


def follow(capsys: pytest.CaptureFixture, page: str) -> dict[str, str]:
    """Runs the page's commands of `python -m maskrcnn`; returns what each has printed."""
    printed = {}
    for command in commands(page):
        if not command.startswith("python -m maskrcnn ") or "resnet50" in command:  # which needs a network
            continue
        shortened = command
        for said, instead in SHORTER.items():
            shortened = shortened.replace(said, instead)
        arguments = [
            path
            for word in shlex.split(shortened)[3:]
            for path in (sorted(map(str, Path().glob(word))) if "*" in word else [word])
        ]
        smaller = SMALLER.get(arguments[0], [])
        if arguments[:2] == ["train", "coco_small"]:
            smaller = ["--set", *OBJECTS, "data.short_sides=(64,)", "training.steps=2"]
        printed[command] = run(capsys, *arguments, *smaller)
    return printed


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*left out 1 of 3 pictures")
def test_the_commands_of_the_readme_work(capsys, desk):
    run(capsys, "render", "data/icdar2015", "--format", "icdar2015", "--count", 4)
    for split in ("train2017", "val2017"):
        write_coco(desk / "data" / "coco", annotations=f"annotations/instances_{split}.json", pictures=split)
    printed = follow(capsys, "README.md")
    for path in (
        "explain.html",
        "found/photo.png",
        "found/photo.json",
        "data/rendered/ch4_training_images/img_4.jpg",
        "runs/first/model.safetensors",
        "runs/first/curves.png",
        "runs/evaluate/worst.png",
        "runs/found/img_1.json",
        "runs/found/submission.zip",
        "runs/objects/model.safetensors",
        "runs/evaluate/segm.json",
    ):
        assert (desk / path).is_file(), path
    said = {}
    for command, text in printed.items():
        said.setdefault(command.split()[3], []).append(text)
    assert said.keys() >= {"predict", "render", "check", "train", "evaluate", "score", "info"}
    assert said["check"][0].startswith("4 images, ") and said["check"][-1].startswith("3 images, ")
    assert "hmean" in said["evaluate"][0] and "segm: AP" in "".join(said["evaluate"]) and "hmean" in said["score"][0]


@pytest.mark.slow
def test_the_python_of_the_readme_works(capsys, desk):
    blocks = re.findall(r"^```python\n(.*?)^```", text_of("README.md"), re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    lines = [line for line in capsys.readouterr().out.splitlines() if re.match(r"0\.\d+ \[\[", line)]
    assert lines or "text_small" in detector.shipped_weights()  # the stand-in finds something everywhere


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES[1:])
def test_the_commands_about_data_sets_work(capsys, desk, page):
    name = Path(page).parent.name if page.count("/") == 2 else "icdar2015"
    run(capsys, "render", f"data/{name}", "--format", name, "--count", 4, "--size", "320x240")
    printed = follow(capsys, page)
    assert printed
    if "icdar2015/" in page:
        assert (desk / "found" / "submission.zip").is_file()
