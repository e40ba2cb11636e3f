"""Weights that other libraries have published, as weights files of ours.

torchvision's, MMDetection's (and MMOCR's) and Detectron2's Mask R-CNN are the same network under other names, with some
numbers in another order, and with other conventions around it. What is imported carries these conventions in its
configuration, so whoever uses it need not know where it came from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from maskrcnn.config import Config
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.model.resnet import ResNet
from maskrcnn.training.checkpoint import load_into, load_weights
from maskrcnn.training.pickled import Unreadable
from maskrcnn.training.published_families import Plan, plan_import
from maskrcnn.training.published_files import PublishedFile, read_published
from maskrcnn.training.published_names import their_name

FAMILIES = ("torchvision", "mmdetection", "detectron2")
PART, BACKBONE = "part", "backbone"
"""Key and value in the metadata of a weights file that holds a backbone without a detector."""
CLASS_LAYERS = ("roi_heads.box_head.classes", "roi_heads.box_head.deltas", "roi_heads.mask_head.logits")
"""The layers with an output for each class."""

_COUNTER = "num_batches_tracked"
"""How many batches a norm has seen: some files say it and nothing needs it."""


@dataclass(frozen=True)
class Imported:
    """Another library's weights under our names."""

    state: dict[str, Tensor]
    config: Config
    extra: dict[str, str]
    """For the metadata of a weights file."""
    notes: tuple[str, ...]
    """What was decided, in sentences for the user."""


def import_weights(
    path: Path,
    family: str,
    classes: Sequence[str] = (),
    settings: Sequence[str] = (),
    partial: bool = False,
) -> Imported:
    """Reads a file of `family`, one of FAMILIES, and says under our names what it says under theirs.

    classes: names of its foreground classes, where they are not COCO's or known from the file.
    settings: changes to the configuration that it gets, such as "model.backbone.norm_epsilon=0".
    partial: tensors that are missing or of another shape keep random values, and unknown ones are left out.

    Raises ValueError, in one line, for files that are damaged, of another kind or another family; unless `partial`,
    also if any tensor is missing, unknown, of another shape or not finite, naming all of them.
    """
    path = Path(path)
    file = read_published(path)
    try:
        plan = plan_import(file, family, path.name, tuple(classes))
        plan = replace(plan, config=plan.config.override(list(settings)))
        state, problems = _collect(plan, file)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    listed = [f"{kind}: {', '.join(tensors)}" for kind, tensors in problems.items() if tensors]
    if listed and not partial:
        count = sum(map(len, problems.values()))
        raise ValueError(f"{path}: {count} tensors do not fit ({'; '.join(listed)}); --partial imports the others")
    extra = {"imported_from": path.name, "family": family}
    if plan.backbone_only:
        extra[PART] = BACKBONE
    return Imported(state, plan.config, extra, (*plan.notes, *(f"not imported, {words}" for words in listed)))


def start_from(model: MaskRCNN, path: Path) -> tuple[str, ...]:
    """Copies the weights of a file of ours into a network that is to learn further; of an imported ResNet, its part.

    Returns those of CLASS_LAYERS that keep the values they have: all if the classes are others than the file's, since
    what they know about a zebra is of no use to a screw. Raises ValueError if the rest does not fit.
    """
    state, config, extra = load_weights(path)
    own = model.state_dict()
    if extra.get(PART) == BACKBONE:
        # Norms that learn count the batches they have seen, frozen ones do not.
        fitting = {name: value for name, value in state.items() if name in own or not name.endswith(_COUNTER)}
        load_into(model.backbone, {name.removeprefix("backbone."): value for name, value in fitting.items()}, str(path))
        return ()
    if config.model.class_names == model.config.class_names:
        load_into(model, state, str(path))
        return ()
    kept = {name: value for name, value in own.items() if name.rpartition(".")[0] in CLASS_LAYERS}
    load_into(model, state | kept, str(path))
    return tuple(layer for layer in CLASS_LAYERS if f"{layer}.weight" in kept)


def _collect(plan: Plan, file: PublishedFile) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    """Our state dict, complete, and what does not fit: kind of problem -> names in the file."""
    expected = _states(plan, "meta")
    state: dict[str, Tensor] = {}
    problems: dict[str, list[str]] = {"missing": [], "of another shape": [], "not finite": []}
    used, counters = set(), 0
    for ours, blank in expected.items():
        theirs = plan.prefix + their_name(plan.rules, ours)
        used.add(theirs)
        stored = file.tensors.get(theirs)
        if ours.endswith(_COUNTER):
            state[ours], counters = torch.zeros((), dtype=torch.int64), counters + 1
        elif stored is None:
            problems["missing"].append(theirs)
        elif stored.shape != tuple(blank.shape):
            problems["of another shape"].append(f"{theirs} is {stored.shape}, expected {tuple(blank.shape)}")
        else:
            try:
                tensor = plan.convert(ours, stored.read().float())
            except Unreadable as error:
                raise ValueError(f"refused: {theirs}: {error}") from error
            if tensor.isfinite().all():
                state[ours] = tensor.contiguous()
            else:
                problems["not finite"].append(theirs)
    if len(state) == counters:
        raise ValueError(f"none of its {len(file.tensors)} tensors fits the network that their names speak of")
    problems["unknown"] = [
        *(
            name
            for name in file.tensors
            if name not in used and not re.fullmatch(plan.ignored, name) and not name.endswith(_COUNTER)
        ),
        *(f"{name} ({what})" for name, what in file.others.items()),
    ]
    if len(state) < len(expected):
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            state = _states(plan, "cpu") | state
    return {name: state[name] for name in expected}, problems


def _states(plan: Plan, device: str) -> dict[str, Tensor]:
    """The state dict of the network before it has learnt anything; on "meta", only names and shapes."""
    with torch.device(device):
        network: nn.Module = ResNet(plan.config.model.backbone) if plan.backbone_only else MaskRCNN(plan.config.model)
    prefix = "backbone." if plan.backbone_only else ""
    return {prefix + name: value for name, value in network.state_dict().items()}
