"""Checkpoints and weights files: what comes back, what is refused, and what survives a failing disk."""

import errno
import io
import json
import os
import pickle
import resource
import signal
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from maskrcnn import files
from maskrcnn.config import Config, ModelConfig, TrainingConfig
from maskrcnn.training.checkpoint import (
    Checkpoint,
    check_settings,
    load_checkpoint,
    load_into,
    load_weights,
    save_checkpoint,
    save_weights,
)

CONFIG = Config(name="tests", model=ModelConfig(class_names=("word", "line")), training=TrainingConfig(steps=30))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)


def a_checkpoint(step: int = 7) -> Checkpoint:
    model = network()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(2, 3, 5, 5)).square().sum().backward()
    optimiser.step()
    average = {name: value.clone() + 1 for name, value in model.state_dict().items()}
    return Checkpoint(step, 12.5, CONFIG, model.state_dict(), average, optimiser.state_dict())


def same(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


# What comes back


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    saved = a_checkpoint()
    save_checkpoint(tmp_path / "checkpoint.pt", saved)
    loaded = load_checkpoint(tmp_path / "checkpoint.pt")
    assert (loaded.step, loaded.seconds, loaded.config, loaded.versions) == (7, 12.5, CONFIG, saved.versions)
    assert loaded.versions["torch"] == torch.__version__
    assert same(loaded.model, saved.model) and same(loaded.average, saved.average)
    assert same(loaded.optimiser["state"][0], saved.optimiser["state"][0])
    # The memory layout matters too: a fused optimiser walks weights and momentum side by side.
    assert loaded.optimiser["state"][0]["exp_avg"].stride() == saved.model["0.weight"].stride() == (27, 1, 9, 3)
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


def test_the_average_is_what_a_checkpoint_ships_where_there_is_one(tmp_path):
    saved = a_checkpoint()
    save_checkpoint(tmp_path / "with.pt", saved)
    save_checkpoint(tmp_path / "without.pt", replace(saved, average=None))
    state, config, extra = load_weights(tmp_path / "with.pt")
    assert same(state, saved.average) and config == CONFIG and extra["step"] == "7"
    assert same(load_weights(tmp_path / "without.pt")[0], saved.model)


def test_weights_come_back_with_their_configuration_and_card(tmp_path):
    model = network()
    save_weights(tmp_path / "w.safetensors", model.state_dict(), CONFIG, extra={"data": "rendered", "hmean": "0.9"})
    state, config, extra = load_weights(tmp_path / "w.safetensors")
    assert same(state, model.state_dict()) and config == CONFIG
    assert (extra["data"], extra["hmean"], extra["torch"]) == ("rendered", "0.9", torch.__version__)


def test_half_precision_halves_matrices_and_keeps_vectors(tmp_path):
    state = {"matrix": torch.full((100, 100), 1 / 3), "variance": torch.full((100,), 1e-9), "count": torch.tensor(5)}
    save_weights(tmp_path / "w.safetensors", state, CONFIG, half=True)
    stored = safetensors.torch.load_file(tmp_path / "w.safetensors")
    assert (stored["matrix"].dtype, stored["variance"].dtype) == (torch.float16, torch.float32)
    loaded, _, _ = load_weights(tmp_path / "w.safetensors")
    assert loaded["matrix"].dtype == torch.float32 and loaded["count"].item() == 5
    # A float16 has 11 significant bits: the relative error is at most 2 ** -11.
    torch.testing.assert_close(loaded["matrix"], state["matrix"], rtol=2**-11, atol=0)
    assert torch.equal(loaded["variance"], state["variance"])


def test_half_precision_refuses_weights_that_would_become_infinite(tmp_path):
    with pytest.raises(ValueError, match=r"head: its largest weight 70000 does not fit into float16"):
        save_weights(tmp_path / "w.safetensors", {"head": torch.full((2, 2), 7e4)}, CONFIG, half=True)
    assert os.listdir(tmp_path) == []


def test_a_card_cannot_replace_the_configuration(tmp_path):
    with pytest.raises(ValueError, match="'config'"):
        save_weights(tmp_path / "w.safetensors", {}, CONFIG, extra={"config": "{}"})


# What fits


def test_loading_copies_everything():
    source, target = network(), network()
    nn.init.constant_(source[0].weight, 3.0)
    load_into(target, source.state_dict(), "file")
    assert same(source.state_dict(), target.state_dict())


def test_what_does_not_fit_is_listed_and_nothing_is_copied():
    model, before = network(), network().state_dict()
    state = {name: value + 1 for name, value in before.items()}
    del state["1.bias"]
    state["2.weight"] = torch.zeros(1)
    state["0.weight"] = torch.zeros(4, 3, 5, 5)
    with pytest.raises(ValueError) as error:
        load_into(model, state, "best.safetensors")
    assert str(error.value) == (
        "best.safetensors: 3 tensors do not fit this model: 0.weight is (4, 3, 5, 5), expected (4, 3, 3, 3); "
        "1.bias is missing; 2.weight is not expected"
    )
    assert same(model.state_dict(), before)


def test_a_long_list_is_cut_but_counted():
    with pytest.raises(ValueError, match=r"37 tensors .*; and 27 more$"):
        load_into(nn.Linear(1, 1), {f"layer{i}": torch.zeros(1) for i in range(35)}, "file")


def test_other_settings_are_named_and_two_are_free():
    free = replace(CONFIG, training=replace(CONFIG.training, workers=5, checkpoint_every=9))
    check_settings(CONFIG, free, Path("checkpoint.pt"))
    other = Config.from_dict(CONFIG.to_dict()).override(["training.steps=40", "model.box_head.hidden=8"])
    with pytest.raises(ValueError) as error:
        check_settings(CONFIG, other, Path("checkpoint.pt"))
    assert str(error.value) == (
        "checkpoint.pt was trained with other settings: model.box_head.hidden was 1024, now 8; "
        "training.steps was 30, now 40 (only training.workers and training.checkpoint_every may change when resuming)"
    )


# What is refused


class Malicious:
    """Unpickling this writes a file."""

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)

    def __init__(self, path: Path) -> None:
        self.path = path


def one_line(path: Path, load=load_checkpoint) -> str:
    with pytest.raises(ValueError) as error:
        load(path)
    assert "\n" not in str(error.value) and str(error.value).startswith(f"{path}: ")
    return str(error.value)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, 2))])
def test_a_pickle_that_would_run_code_is_refused(tmp_path, save):
    path, harm = tmp_path / "checkpoint.pt", tmp_path / "harm"
    save({"model": Malicious(harm)}, path)
    message = one_line(path)
    assert "refused: it asks to call posix.system while loading" in message
    assert not harm.exists()


def test_a_file_of_another_kind_is_told_from_weights(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# Weights, and what else is here\n")
    expected = "it begins b'# Weights, and w', expected what PyTorch or pickle writes"
    assert one_line(path, load_weights) == f"{path}: refused: {expected}"


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(tmp_path, kept):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, a_checkpoint())
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    assert "refused" in one_line(path)


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99])
def test_truncated_weights_are_refused(tmp_path, kept):
    path = tmp_path / "w.safetensors"
    save_weights(path, network().state_dict(), CONFIG)
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    assert "refused" in one_line(path, load_weights)


@pytest.mark.parametrize("load", [load_checkpoint, load_weights])
def test_a_file_that_is_not_there(tmp_path, load):
    assert one_line(tmp_path / "none.safetensors", load).endswith("no such file")
    assert one_line(tmp_path, load).endswith("no such file")


def test_files_of_others_are_refused(tmp_path):
    path = tmp_path / "resnet50.pth"
    torch.save({"conv1.weight": torch.zeros(1)}, path)
    assert "not a training checkpoint: found ['conv1.weight'], expected" in one_line(path)
    torch.save([1, 2], path)
    assert "refused: it holds a list, expected weights by name" in one_line(path)
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    assert "no configuration in its metadata" in one_line(tmp_path / "a.safetensors", load_weights)
    for config in ("{", json.dumps({"nime": "x"}), "[" * 100_000):
        safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", {"config": config})
        assert "its configuration cannot be read" in one_line(tmp_path / "a.safetensors", load_weights)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("step", -1),
        ("step", "7"),
        ("seconds", None),
        ("seconds", float("nan")),
        ("model", None),
        ("model", {"a": 1}),
        ("average", {1: 2}),
        ("optimiser", []),
        ("versions", "2.13"),
    ],
)
def test_a_checkpoint_with_a_part_of_another_kind_is_refused(tmp_path, field, value):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, replace(a_checkpoint(), **{field: value}))
    assert one_line(path).endswith(f"not a training checkpoint: {field} of an unexpected kind")


@pytest.mark.parametrize("part", ["model", "average"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(1).expand(10**6, 10**6),  # terabytes, from four bytes in the file
        lambda: torch.zeros(3, 3).to_sparse(),
        lambda: torch.empty(3, device="meta"),
        lambda: torch.quantize_per_tensor(torch.zeros(3), 1.0, 0, torch.qint8),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_tensor_without_all_its_numbers_is_refused(tmp_path, part, make):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, replace(a_checkpoint(), **{part: {"0.weight": make()}}))
    assert "refused" in (message := one_line(path)) or message.endswith(f"{part} of an unexpected kind")


def test_a_key_whose_hash_nobody_lives_to_see_is_refused(tmp_path):
    """Each tuple holds the one before it twice: a hundred bytes, 2^60 numbers to whoever asks for the hash."""
    doubled = b"K\x01" + b"".join(b"q%ch%c\x86" % (number, number) for number in range(60))
    with zipfile.ZipFile(tmp_path / "checkpoint.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}" + doubled + b"K\x01s.")
        archive.writestr("archive/version", "3\n")
    assert "refused: found a key of a dictionary that is a tuple" in one_line(tmp_path / "checkpoint.pt")


def test_a_deep_configuration_is_refused(tmp_path):
    path, deep = tmp_path / "checkpoint.pt", "text"
    for _ in range(400):
        deep = [deep]
    save_checkpoint(path, a_checkpoint())
    values = torch.load(path, weights_only=True)
    values["config"]["name"] = deep
    torch.save(values, path)
    said = one_line(path)
    assert "its configuration cannot be read: " in said and len(said) < 300


def test_a_checkpoint_with_unknown_settings_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, a_checkpoint())
    values = torch.load(path, weights_only=True)
    values["config"]["training"]["magic"] = 1
    torch.save(values, path)
    assert "its configuration cannot be read" in one_line(path) and "magic" in one_line(path)


# What survives a failing disk


class FullDisk(io.FileIO):
    """A file on a disk with room for 100 bytes."""

    def write(self, content) -> int:
        super().write(bytes(content)[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def saved(tmp_path) -> Path:
    save_checkpoint(tmp_path / "checkpoint.pt", a_checkpoint(step=7))
    return tmp_path / "checkpoint.pt"


def assert_only_step_7_is_there(path: Path) -> None:
    assert load_checkpoint(path).step == 7
    assert os.listdir(path.parent) == ["checkpoint.pt"]


def test_a_full_disk_leaves_the_previous_checkpoint(saved, monkeypatch):
    monkeypatch.setattr(files, "open", FullDisk, raising=False)
    with pytest.raises(OSError) as error:
        save_checkpoint(saved, a_checkpoint(step=8))
    expected = f"{saved}: cannot be saved: No space left on device; the previous file is untouched"
    assert str(error.value) == expected
    with pytest.raises(OSError, match=r"new\.safetensors: cannot be saved: No space left on device$"):
        save_weights(saved.parent / "new.safetensors", network().state_dict(), CONFIG)
    assert_only_step_7_is_there(saved)


def test_a_limit_of_the_operating_system_leaves_the_previous_checkpoint(saved):
    # Without any pretence: the kernel refuses to let a file of this process grow beyond 2,000 bytes.
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(OSError, match="cannot be saved: File too large; the previous file is untouched"):
            save_checkpoint(saved, a_checkpoint(step=8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert_only_step_7_is_there(saved)


def test_a_folder_that_cannot_be_written_gives_one_line(saved):
    with pytest.raises(OSError, match=r"checkpoint\.pt/w\.safetensors: cannot be saved: Not a directory$"):
        save_weights(saved / "w.safetensors", network().state_dict(), CONFIG)
    assert_only_step_7_is_there(saved)


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_read_only_folder_leaves_the_previous_checkpoint(saved, monkeypatch, function):
    def refuse(*arguments):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(files.os, function, refuse)
    with pytest.raises(OSError, match="cannot be saved: Read-only file system; the previous file is untouched"):
        save_checkpoint(saved, a_checkpoint(step=8))
    assert_only_step_7_is_there(saved)


def test_a_killed_save_leaves_a_part_that_the_next_save_replaces(saved, monkeypatch):
    partial = saved.with_name("checkpoint.pt.partial")
    partial.symlink_to(saved)  # as a part file left behind, and as a trap: following it would destroy step 7
    save_checkpoint(saved, a_checkpoint(step=8))
    assert load_checkpoint(saved).step == 8 and not saved.is_symlink()
    assert os.listdir(saved.parent) == ["checkpoint.pt"]


def test_an_interrupt_while_saving_leaves_no_part(saved, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(saved, a_checkpoint(step=8))
    monkeypatch.undo()
    assert_only_step_7_is_there(saved)
