"""A detector as one file with its weights and everything it computes: `torch.export`.

Training and reading want the network's code; running it does not. The program in the file is a graph of PyTorch's own
operations and the custom ops of `maskrcnn.ops`, and can be handed on to whatever takes such programs. In Python,

    detections = maskrcnn.export.load_exported("text.pt2")("photo.jpg")

is for pictures, and without anything else of this library there are tensors:

    import torch, maskrcnn.ops  # knows the custom ops
    program = torch.export.load("text.pt2").module()
    fields = program(images, image_sizes, original_sizes)  # fields["boxes"], fields["scores"] ...

The arguments are those fields of a `maskrcnn.structures.Batch`, and the result has those of its `Detections`.
"""

from __future__ import annotations

import copy
import io
import json
import os
import zipfile
from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional

import maskrcnn
from maskrcnn.config import Config
from maskrcnn.detector import Detector
from maskrcnn.files import write_and_rename
from maskrcnn.model.mask_rcnn import MaskRCNN, ModelOutput
from maskrcnn.structures import Batch, Detections

_DESCRIPTION = "maskrcnn.json"
"""The file inside the file that says how pictures become tensors, and found masks texts."""


class DetectionProgram(nn.Module):
    """Tensors in, tensors out, as exported programs have it."""

    def __init__(self, network: MaskRCNN) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, image_sizes: Tensor, original_sizes: Tensor) -> dict[str, Tensor]:
        """images (B, 3, H, W), image_sizes (B, 2), original_sizes (B, 2) -> those fields of `Detections` that there
        are: boxes (B, D, 4), scores, labels and valid (B, D), masks (B, D, m, m), keypoints (B, D, J, 3)."""
        detections = self.network(Batch(images, image_sizes, original_sizes, names=())).detections
        found = {field.name: getattr(detections, field.name) for field in fields(Detections)}
        return {name: value for name, value in found.items() if value is not None}


class ExportedNetwork(nn.Module):
    """A program in the place of the `MaskRCNN` that it was made from."""

    def __init__(self, program: nn.Module, smallest_side: int) -> None:
        """program: what `ExportedProgram.module` gives; smallest_side: of the images it takes, in pixels."""
        super().__init__()
        self.program = program
        self.smallest_side = smallest_side

    def train(self, mode: bool = True) -> ExportedNetwork:
        """Does nothing: a program was written down in evaluation mode, and raises when asked for any."""
        return self

    def forward(self, batch: Batch) -> ModelOutput:
        """Detections of a batch, of which narrow images are padded further, as beside larger ones."""
        height, width = batch.images.shape[-2:]
        missing = (0, max(0, self.smallest_side - width), 0, max(0, self.smallest_side - height))
        images = functional.pad(batch.images, missing)
        return ModelOutput(None, Detections(**self.program(images, batch.image_sizes, batch.original_sizes)))


def smallest_side(network: MaskRCNN) -> int:
    """Height and width, in pixels, that images of a program need at least, a multiple of `image.size_divisor`.

    The coarsest map must not be a single cell high or wide: PyTorch decides by that in which order maps lie in memory,
    and a program has one answer.
    """
    divisor = network.config.image.size_divisor
    return max(2, max(network.pyramid.strides) // divisor + 1) * divisor


def exported(network: MaskRCNN) -> ExportedProgram:
    """The network in evaluation mode as a program of (images, image_sizes, original_sizes), on the device it is on.

    It takes any number B of images (B, 3, H, W), whose H and W are any multiples of `image.size_divisor` from
    `smallest_side` on, float32; no autocast is written down, whatever is on while exporting. Raises ValueError for a
    network folded in bfloat16 (`maskrcnn.model.folded`), whose weights would not fit.
    """
    if any(parameter.dtype == torch.bfloat16 for parameter in network.parameters()):
        raise ValueError("found a network folded in bfloat16, expected its original, or one folded in float32")
    network = copy.deepcopy(network).eval().requires_grad_(False)
    # A file stores tensors in the order of their dimensions; other layouts it takes for views of something larger.
    network = network.to(memory_format=torch.contiguous_format)
    device = next(network.parameters()).device
    divisor, least = network.config.image.size_divisor, smallest_side(network) // network.config.image.size_divisor
    # Two images of different sides: a compiler takes what is 1 or equal in its example for 1 or equal for ever.
    example = torch.zeros(2, 3, divisor * (least + 1), divisor * (least + 2), device=device)
    example = example.contiguous(memory_format=torch.channels_last)
    sizes = torch.tensor([example.shape[2:]] * 2, device=device)
    examples = (example, sizes, sizes.clone())  # one tensor given twice would be one argument
    batch, height, width = Dim("batch"), Dim("height", min=least), Dim("width", min=least)
    if divisor > 1:
        height, width = divisor * height, divisor * width
    shapes = ({0: batch, 2: height, 3: width}, {0: batch}, {0: batch})
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        program = torch.export.export(DetectionProgram(network), examples, dynamic_shapes=shapes)
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # where the source lies on this machine is nobody's business
    return program


def export_detector(detector: Detector, path: str | os.PathLike) -> None:
    """Writes `exported` and the configuration to a file, whose name should end in .pt2; see `load_exported`.

    It runs on the kind of device that the detector is on. Raises OSError, in one line, if writing fails; the previous
    file survives.
    """
    description = {
        "config": detector.config.to_dict(),
        "smallest_side": smallest_side(detector.model),
        "maskrcnn": maskrcnn.__version__,
        "torch": str(torch.__version__),
    }
    content = io.BytesIO()
    torch.export.save(exported(detector.model), content, extra_files={_DESCRIPTION: json.dumps(description)})
    write_and_rename(Path(path), content.getbuffer())


def load_exported(path: str | os.PathLike) -> Detector:
    """The detector in a file of `export_detector`, to be called on pictures like that of `maskrcnn.load`.

    Load only what you would run: such a file is a program. PyTorch 2.13 unpickles whatever in it asks for that and
    evaluates its sizes as Python, so that a file made for the purpose runs any code while it is read. Weights files,
    which `maskrcnn.load` reads, cannot.

    Raises ValueError, in one line, if there is no such file, or if it is damaged or another one.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise ValueError(f"{path}: found {found}, expected an exported detector")
    description = _description(path)
    side = description.get("smallest_side")
    if not isinstance(side, int):
        raise ValueError(f"{path}: found the smallest side {side!r}, expected a number of pixels")
    try:
        config = Config.from_dict(description.get("config"))
    except ValueError as error:
        raise ValueError(f"{path}: its configuration cannot be read: {error}") from error
    try:
        program = torch.export.load(path).module()
    except Exception as error:  # What PyTorch cannot read, it says in many ways, of which none is a mistake in here.
        made_by = f"written by PyTorch {description.get('torch')}, this is {torch.__version__}"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ValueError(f"{path}: its program cannot be read ({made_by}): {reason}") from error
    return Detector(ExportedNetwork(program, side), config)


def _description(path: Path) -> dict:
    """What `export_detector` wrote beside the program. PyTorch gets to see no file that has none or is damaged."""
    expected = "expected a detector written by `python -m maskrcnn export`"
    try:
        with zipfile.ZipFile(path) as file:
            names = [name for name in file.namelist() if name.endswith(f"/extra/{_DESCRIPTION}")]
            if len(names) != 1:
                raise ValueError(f"{path}: found no {_DESCRIPTION} in it, {expected}")
            damaged = file.testzip()
            if damaged is not None:
                raise ValueError(f"{path}: damaged: {damaged} in it is not what was written")
            text = file.read(names[0])
    except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
        raise ValueError(f"{path}: found a file that is truncated or no archive, {expected}") from error
    try:
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {_DESCRIPTION} in it cannot be read: {error}") from error
    if not isinstance(description, dict):
        raise ValueError(f"{path}: {_DESCRIPTION} in it is no description of a detector")
    return description
