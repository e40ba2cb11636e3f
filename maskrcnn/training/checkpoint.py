"""What survives the process: training checkpoints (to continue) and weights files (to use and to ship).

Files are hostile and disks are full. Loading runs no code from a file: checkpoints are unpickled with
`weights_only=True`, weights are safetensors. Saving writes a second file and renames it, so at every moment there is
one complete file under the name, the old one or the new one.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import re
import warnings
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

import maskrcnn
from maskrcnn.config import Config, setting_names
from maskrcnn.files import write_and_rename
from maskrcnn.memory import ran_out_of_memory
from maskrcnn.settings import shown
from maskrcnn.training.published_files import read_published

FREE_SETTINGS = ("training.workers", "training.checkpoint_every")
"""What may change between the parts of one training run: what does not change the weights it ends with."""

_CONFIG_KEY = "config"
_SHOWN = 10


def _versions() -> dict[str, str]:
    return {"maskrcnn": maskrcnn.__version__, "torch": str(torch.__version__)}


@dataclass(frozen=True)
class Checkpoint:
    """Everything that the next step depends on, apart from the data set.

    Batches and random numbers are pure functions of (seed, step), so the state of no generator is in here.
    """

    step: int
    """Steps done."""
    seconds: float
    """Of training so far."""
    config: Config
    model: dict[str, Tensor]
    average: dict[str, Tensor] | None
    """The moving average of the weights, if there is one."""
    optimiser: dict[str, Any]
    versions: dict[str, str] = field(default_factory=_versions)

    @property
    def weights(self) -> dict[str, Tensor]:
        """What is evaluated and shipped: the average, or the model's own weights where there is none."""
        return self.model if self.average is None else self.average


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a training checkpoint. Raises OSError, in one line, if that fails; the previous file survives."""
    content = io.BytesIO()
    values = {name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__}
    torch.save({**values, "config": checkpoint.config.to_dict()}, content)
    write_and_rename(path, content.getbuffer())


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a training checkpoint; its tensors are on the CPU. Raises ValueError, in one line, for anything else."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    # Runs nothing either, and refuses what PyTorch's reader has no end with, such as keys of tuples in tuples.
    read_published(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch comments on odd files that it then refuses
            values = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # A hostile file can fail in any way; none of them is a programming error here.
        raise ValueError(f"{path}: refused: {_reason(error)}") from error
    names = set(Checkpoint.__dataclass_fields__)
    if not isinstance(values, dict) or set(values) != names:
        found = shown(sorted(map(str, values))[:_SHOWN]) if isinstance(values, dict) else type(values).__name__
        raise ValueError(f"{path}: not a training checkpoint: found {found}, expected {sorted(names)}")
    wrong = [name for name in ("model", "average") if not _is_state(values[name], name == "average")]
    wrong += [name for name in ("optimiser", "versions") if not isinstance(values[name], dict)]
    wrong += [] if isinstance(values["step"], int) and values["step"] >= 0 else ["step"]
    wrong += [] if isinstance(values["seconds"], float) and 0 <= values["seconds"] < math.inf else ["seconds"]
    if wrong:
        raise ValueError(f"{path}: not a training checkpoint: {', '.join(wrong)} of an unexpected kind")
    try:
        return Checkpoint(**{**values, "config": Config.from_dict(values["config"])})
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: its configuration cannot be read: {error}") from error


def check_settings(saved: Config, config: Config, path: Path) -> None:
    """Raises ValueError naming every setting that differs, apart from `FREE_SETTINGS`."""
    differing = []
    for name in setting_names(config):
        before, now = attrgetter(name)(saved), attrgetter(name)(config)
        if before != now and name not in FREE_SETTINGS:
            differing.append(f"{name} was {shown(before)}, now {shown(now)}")
    if differing:
        raise ValueError(
            f"{path} was trained with other settings: {_some(differing)} "
            f"(only {' and '.join(FREE_SETTINGS)} may change when resuming)"
        )


def save_weights(
    path: Path,
    model_state: dict[str, Tensor],
    config: Config,
    half: bool = False,
    extra: dict[str, str] | None = None,
) -> None:
    """Writes a weights file (safetensors) that says how its model was configured.

    half: matrices and convolutions are stored as float16, half the size; vectors (biases, norms) stay float32, they
    weigh nothing and a variance may be smaller than float16 can hold.
    extra: further metadata, such as the fields of a model card (data, licence, scores, limits).

    Raises ValueError if a weight is too large for float16 or `extra` uses a key of ours; OSError, in one line, if
    writing fails; the previous file survives.
    """
    extra = extra or {}
    reserved = {_CONFIG_KEY, "format"} & extra.keys()
    if reserved:
        raise ValueError(f"metadata {sorted(reserved)} is written by save_weights itself")
    stored = {}
    for name, tensor in model_state.items():
        kept = tensor.detach().cpu()
        if half and kept.ndim > 1 and kept.is_floating_point():
            kept = kept.half()
            if not kept.isfinite().all():
                raise ValueError(f"{name}: its largest weight {tensor.abs().max().item():g} does not fit into float16")
        stored[name] = kept.contiguous()
    metadata = {"format": "pt", _CONFIG_KEY: json.dumps(config.to_dict()), **_versions(), **extra}
    write_and_rename(path, safetensors.torch.save(stored, metadata))


def load_weights(path: Path) -> tuple[dict[str, Tensor], Config, dict[str, str]]:
    """Reads a weights file (`.safetensors`) or the weights of a training checkpoint (any other name).

    Returns the state dict (float32, on the CPU), the configuration and the other metadata. Raises ValueError, in
    one line, for what is neither.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        checkpoint = load_checkpoint(path)
        return checkpoint.weights, checkpoint.config, {"step": str(checkpoint.step), **checkpoint.versions}
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except (safetensors.SafetensorError, OSError, MemoryError) as error:
        raise ValueError(f"{path}: refused: {_reason(error)}") from error
    try:
        config = Config.from_dict(json.loads(metadata.pop(_CONFIG_KEY)))
    except KeyError as error:
        raise ValueError(f"{path}: found no configuration in its metadata: not a weights file of maskrcnn") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: its configuration cannot be read: {error}") from error
    metadata.pop("format", None)
    state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    return state, config, metadata


def load_into(model: nn.Module, state: dict[str, Tensor], what: str) -> None:
    """Copies a state dict into a model, all of it or nothing.

    what: where the state comes from, for the message. Raises ValueError listing what does not fit: names that are
    missing or not expected, and shapes that differ.
    """
    check_fit(model, state, what)
    model.load_state_dict(state)


def check_fit(model: nn.Module, state: dict[str, Tensor], what: str) -> None:
    """Raises the ValueError of `load_into` without copying anything; the model may be on the meta device."""
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own if name not in state]
    problems += [f"{name} is not expected" for name in state if name not in own]
    for name in own.keys() & state.keys():
        found, expected = tuple(state[name].shape), tuple(own[name].shape)
        if found != expected:
            problems.append(f"{name} is {found}, expected {expected}")
    if problems:
        raise ValueError(f"{what}: {len(problems)} tensors do not fit this model: {_some(sorted(problems))}")


def check_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any], what: str) -> None:
    """Raises ValueError, in one line, unless an optimiser with these parameters and settings may have left `state`.

    `load_state_dict` compares little: what it takes may fail in the next step, or be broadcast to another shape.
    A parameter that has never had a gradient has no state.
    """
    if set(state) != {"state", "param_groups"} or not isinstance(state["state"], dict):
        raise ValueError(f"{what}: its optimiser does not fit: found no groups of parameters with a state for each")
    expected = _after_a_step(optimiser)
    problems = _group_problems(state["param_groups"], optimiser.state_dict()["param_groups"])
    if expected and not state["state"]:
        problems.append("found no state of any parameter")
    for index, found in state["state"].items():
        if index not in expected:
            problems.append(f"state of parameter {shown(str(index))} is not expected")
        elif not isinstance(found, dict) or found.keys() != expected[index].keys():
            names = shown(sorted(map(str, found))) if isinstance(found, dict) else type(found).__name__
            problems.append(f"state of parameter {index} is {names}, expected {sorted(expected[index])}")
        else:
            for name, wanted in expected[index].items():
                kind = _kind(found[name]) if _is_whole(found[name]) else "no plain tensor"
                if kind != _kind(wanted):
                    problems.append(f"{name} of parameter {index} is {kind}, expected {_kind(wanted)}")
    if problems:
        raise ValueError(f"{what}: its optimiser does not fit: {_some(problems)}")


def _after_a_step(optimiser: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """The state of each parameter after a first step: names and shapes, on the meta device, without any numbers."""
    groups = []
    for group in optimiser.param_groups:
        parameters = [nn.Parameter(torch.empty_like(parameter, device="meta")) for parameter in group["params"]]
        for parameter in parameters:
            parameter.grad = torch.empty_like(parameter)
        groups.append({**group, "params": parameters, "fused": False})
    twin = type(optimiser)(groups)
    twin.step()
    return twin.state_dict()["state"]


def _group_problems(found: Any, expected: list[dict[str, Any]]) -> list[str]:
    """What differs in the settings of an optimiser, apart from the learning rate, which every step sets anew."""
    if not isinstance(found, list) or len(found) != len(expected) or not all(isinstance(g, dict) for g in found):
        count = f"{len(found)} groups" if isinstance(found, list) else type(found).__name__
        return [f"found {count} of parameters, expected {len(expected)}"]
    problems = []
    for number, (group, own) in enumerate(zip(found, expected, strict=True)):
        problems += [f"group {number} has no {name}" for name in own if name not in group]
        problems += [f"{shown(str(name))} of group {number} is not expected" for name in group if name not in own]
        for name in sorted(own.keys() & group.keys() - {"lr"}):
            # As text: the file may hold anything here, and not everything can be compared.
            if repr(group[name]) != repr(own[name]):
                problems.append(f"{name} of group {number} is not {own[name]!r}")
    return problems


def _reason(error: Exception) -> str:
    """One line, without PyTorch's advice to switch the protection off."""
    text = str(error)
    if ran_out_of_memory(error):  # Here, or only in what a damaged file claims: nobody can tell.
        return "out of memory for what it holds, or says that it holds"
    if isinstance(error, pickle.UnpicklingError):
        asked = re.search(r"GLOBAL (\S+)", text)
        if asked:
            return f"it asks to call {asked[1]} while loading; only tensors, numbers and text are read"
        return "found no file that PyTorch saved, expected weights or a training checkpoint"
    line = text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__
    return f"truncated or not a file of this kind ({line})"


def _is_state(value: Any, may_be_none: bool) -> bool:
    if value is None:
        return may_be_none
    return isinstance(value, dict) and all(isinstance(k, str) and _is_whole(v) for k, v in value.items())


def _is_whole(value: Any) -> bool:
    """Whether this is a plain tensor with all its numbers in memory: a view may claim terabytes and hold one number."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.device.type != "cpu":
        return False
    return not value.is_quantized and value.untyped_storage().nbytes() >= value.numel() * value.element_size()


def _kind(tensor: Tensor) -> str:
    """What a tensor must have in common with another to stand in its place."""
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _some(problems: list[str]) -> str:
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return "; ".join(problems[:_SHOWN]) + more
