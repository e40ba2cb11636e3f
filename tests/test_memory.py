"""Running out of memory: which errors mean it, what is said of it, and that a run goes on afterwards."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_text import SETTINGS, picture, save_small_weights, write_icdar2015

from maskrcnn.cli import MISTAKE
from maskrcnn.config import Config, DataConfig, TrainingConfig
from maskrcnn.detector import load
from maskrcnn.memory import OutOfMemory, in_one_line, out_of_memory_told, ran_out_of_memory
from maskrcnn.training.checkpoint import load_checkpoint, load_weights
from maskrcnn.training.distributed import Ranks
from maskrcnn.training.reports import needs_less

TOO_MUCH = 2**60
"""Bytes that no machine has."""


def error_of(call) -> BaseException:
    with pytest.raises((MemoryError, OSError, RuntimeError, ValueError)) as raised:
        call()
    return raised.value


def refused_by_our_ops() -> None:
    """What is left of an error inside an op of this package, where only the name of the call that failed is known."""
    raise RuntimeError('torch_call_dispatcher( "aten::new_empty", "", stack.data(), 0) API call failed at ops.h')


@pytest.mark.parametrize(
    ("call", "amount"),
    [
        (lambda: bytearray(TOO_MUCH), ""),
        (lambda: np.zeros(TOO_MUCH, np.uint8), "1.00 EiB"),
        (lambda: torch.zeros(TOO_MUCH, dtype=torch.uint8), "1,099,511,627,776.0 MiB"),
        (refused_by_our_ops, ""),
    ],
)
def test_errors_that_mean_it_are_known(call, amount):
    error = error_of(call)
    assert ran_out_of_memory(error)
    assert in_one_line(error, "buy more") == f"out of memory{', asked for ' * bool(amount)}{amount}; buy more"


@pytest.mark.parametrize(
    ("error", "means_it"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes."), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("could not create a primitive"), True),
        (RuntimeError("could not create a primitive descriptor for a convolution"), False),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (RuntimeError('torch_call_dispatcher( "aten::sum", "", stack.data(), 0) API call failed at ops.h'), False),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("runs/out of memory.jpg: no such file"), False),
        (FloatingPointError("out of memory.jpg: a loss is not finite"), False),
    ],
)
def test_no_other_error_is_mistaken_for_it(error, means_it):
    assert ran_out_of_memory(error) == means_it


def test_an_error_becomes_a_line_with_when_and_advice():
    said = r"^step 7: out of memory, asked for 2\.00 GiB; buy more$"
    with pytest.raises(OutOfMemory, match=said) as raised, out_of_memory_told(lambda: "step 7", "buy more"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")
    with pytest.raises(OutOfMemory) as again, out_of_memory_told(lambda: "outside", "sell"):
        raise raised.value
    assert again.value is raised.value


@pytest.mark.parametrize("error", [RuntimeError("r"), OSError("o"), ValueError("out of memory")])
def test_other_errors_pass_unchanged(error):
    with pytest.raises(type(error)) as raised, out_of_memory_told(lambda: "step 7", "buy more"):
        raise error
    assert raised.value is error


def advice(ranks: int = 1, **training) -> str:
    crop = training.pop("crop", 512)
    data = DataConfig(crop=crop, short_sides=() if crop else (640,))
    said = needs_less(Config(data=data, training=TrainingConfig(**training)), Ranks(0, ranks))
    return said.removeprefix("less is needed with ").partition(";")[0]


def test_the_advice_names_settings_that_are_left_to_change():
    assert advice(batch_size=6) == (
        "training.parts=2 (almost the same steps), a smaller training.batch_size, a smaller data.crop or "
        "training.precision=bfloat16"
    )
    assert advice(batch_size=6, parts=2, crop=0, precision="bfloat16") == (
        "training.parts=3 (almost the same steps), a smaller training.batch_size, a smaller model.image.long_side or "
        "a smaller network"
    )
    assert advice(batch_size=6, ranks=2).startswith("training.parts=3 ")
    assert advice(batch_size=2, ranks=2) == "a smaller data.crop or training.precision=bfloat16"


# With a limit of the system: the allocation really fails

LIMITED = """
import os, resource, sys
from dataclasses import replace
import torch
import maskrcnn.cli.train as command
from maskrcnn.cli import main
from maskrcnn.data.sources import training_stream

def doomed(*arguments):
    stream = training_stream(*arguments)
    def batches(start):
        for step, batch in enumerate(stream(start), start=start):
            if step == 5 and os.environ.get("RANK", "1") == "1":
                large = torch.zeros(len(batch.images), 3, 1024, 1024).to(memory_format=torch.channels_last)
                pages = int(open("/proc/self/statm").read().split()[0])
                limit = pages * resource.getpagesize() + int(os.environ["ROOM"])
                resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
                batch = replace(batch, images=large)
            yield batch
    return batches

command.training_stream = doomed
sys.exit(main())
"""
"""`python -m maskrcnn`, where step 6 of a training has a large batch and ROOM more bytes for it."""

RUN = ["training.steps=8", "training.checkpoint_every=4", "training.warmup_steps=2"]


def started(*arguments: object, room: int = 0) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ROOM": str(room)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def limited(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("limited") / "limited.py"
    path.write_text(LIMITED)
    return path


@pytest.mark.slow
def test_a_step_without_memory_ends_in_one_line_and_the_run_goes_on_to_the_same_weights(tmp_path, limited):
    data = write_icdar2015(tmp_path / "data", training=5)

    def command(out: str) -> list[object]:
        return ["train", "text_small", "--data", data, "--out", tmp_path / out, "--set", *SETTINGS, *RUN]

    whole = started("-m", "maskrcnn", *command("whole"))
    assert whole.returncode == 0, whole.stderr
    stopped = started(limited, *command("parts"), room=64 * 2**20)
    assert stopped.returncode == MISTAKE and stopped.stderr.count("\n") == 1, stopped.stderr
    assert stopped.stderr.startswith("maskrcnn train: step 6: out of memory, asked for ")
    assert "with training.parts=2 (almost the same steps), a smaller training.batch_size" in stopped.stderr
    assert stopped.stderr.endswith("the last checkpoint is untouched (--resume goes on, with the same settings)\n")
    assert load_checkpoint(tmp_path / "parts" / "checkpoint.pt").step == 4
    resumed = started("-m", "maskrcnn", *command("parts"), "--resume")
    assert resumed.returncode == 0, resumed.stderr
    expected, found = (load_weights(tmp_path / out / "model.safetensors")[0] for out in ("whole", "parts"))
    assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.slow
def test_of_several_processes_the_one_without_memory_says_so(tmp_path, limited):
    data = write_icdar2015(tmp_path / "data", training=5)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", limited]
    ended = started(
        *launcher, "train", "text_small", "--data", data, "--out", tmp_path / "run", "--set", *SETTINGS, *RUN
    )
    assert ended.returncode != 0
    told = [line for line in ended.stderr.splitlines() if "out of memory" in line]
    assert len(told) == 1 and told[0].startswith("maskrcnn train: step 6: out of memory"), ended.stderr
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt").step == 4


def within(limit: int, *arguments: object) -> subprocess.CompletedProcess:
    """A command that may have `limit` bytes more than it has when it has started."""
    script = (
        "import resource, sys, torch, maskrcnn.cli.predict, maskrcnn.cli.evaluate\n"
        "from maskrcnn.cli import main\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        f"limit = pages * resource.getpagesize() + {limit}\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))\n"
        "sys.exit(main())\n"
    )
    return started("-c", script, *arguments)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_picture_too_large_for_memory_is_one_line(tmp_path, command):
    data = write_icdar2015(tmp_path / "data", test=1)
    image = data / "ch4_test_images" / "img_1.jpg"
    Image.open(image).resize((2400, 1800)).save(image)
    weights = save_small_weights(tmp_path / "small.safetensors")
    large = ["--set", "model.image.short_side=1800", "model.image.long_side=2400"]
    arguments = {"predict": [image], "evaluate": ["--data", data]}[command]
    ended = within(128 * 2**20, command, weights, *arguments, "--out", tmp_path / "out", *large)
    assert ended.returncode == MISTAKE and ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith(f"maskrcnn {command}: array, seen at 2400 x 1800 pixels: out of memory, asked for ")
    assert ended.stderr.endswith("; a smaller model.image.long_side than these 2400 pixels (--set) needs less\n")


def test_a_network_too_large_for_memory_is_told_with_its_file(tmp_path, monkeypatch):
    weights = save_small_weights(tmp_path / "small.safetensors")
    monkeypatch.setattr("maskrcnn.detector.load_into", lambda *arguments: torch.zeros(TOO_MUCH, dtype=torch.uint8))
    with pytest.raises(OutOfMemory, match=r"small.safetensors: out of memory, asked for .* no room for this network"):
        load(weights)


def test_a_checkpoint_too_large_for_memory_is_not_called_damaged(tmp_path, monkeypatch):
    torch.save({}, tmp_path / "checkpoint.pt")
    monkeypatch.setattr("maskrcnn.training.checkpoint.torch.load", lambda *arguments, **more: bytearray(TOO_MUCH))
    with pytest.raises(ValueError, match=r"checkpoint.pt: refused: out of memory for what it holds, or says that it"):
        load_checkpoint(tmp_path / "checkpoint.pt")


def test_a_detector_says_what_the_network_would_have_seen(tmp_path, monkeypatch):
    detector = load(save_small_weights(tmp_path / "small.safetensors"))
    monkeypatch.setattr(
        "maskrcnn.detector.inference_batch", lambda *arguments, **more: np.zeros(TOO_MUCH, np.uint8)
    )
    with pytest.raises(OutOfMemory) as error:
        detector(picture(0))
    assert str(error.value) == (
        "array, seen at 128 x 96 pixels: out of memory, asked for 1.00 EiB; a smaller model.image.long_side than these "
        "128 pixels (--set) needs less"
    )
