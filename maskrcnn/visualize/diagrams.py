"""What the notebooks draw with: pictures, maps and boxes on matplotlib's axes, in the coordinates of the library.

Pixel i covers [i, i + 1) here as everywhere (maskrcnn/__init__.py), so a box drawn over a picture lies where it says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO

import numpy as np
import torch
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from maskrcnn.visualize.canvas import BLUE, GREEN, ORANGE, PURPLE, VERMILLION

_LINE_STYLES = ("-", "--", "-.", ":")
_TEXTBOOK = {
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": pyplot.cycler(
        color=["#000000", BLUE, VERMILLION, GREEN, ORANGE, PURPLE], linestyle=["-", "-", "--", "-.", ":", "--"]
    ),
    "image.cmap": "cividis",
    "image.interpolation": "nearest",
    "legend.frameon": False,
    "lines.linewidth": 2,
}


def textbook_style() -> None:
    """Sets how all later diagrams of this process look: colours that everybody can tell apart, no clutter."""
    pyplot.rcParams.update(_TEXTBOOK)


def describe(**tensors: Tensor | np.ndarray | Sequence[Tensor]) -> None:
    """Prints a line for each tensor: name, shape, type, and its smallest and largest value.

    Of a sequence of tensors, such as the levels of a pyramid, each has a line. NaN and infinities are counted, since
    they are what one looks for.
    """
    lines = []
    for name, value in tensors.items():
        if isinstance(value, list | tuple):
            lines += [(f"{name}[{index}]", one) for index, one in enumerate(value)]
        else:
            lines.append((name, value))
    width = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        print(f"{name:<{width}}  {_described(torch.as_tensor(value))}")


def show_picture(axes: Axes, image: np.ndarray | Image.Image | Tensor, title: str = "", dimmed: bool = False) -> None:
    """Draws a picture (H, W, 3) uint8, or a tensor (3, H, W) of values from 0 to 1, without ticks.

    dimmed: pale, so that what is drawn over it stands out.
    """
    if isinstance(image, Tensor):
        image = (image.detach().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"a picture must be (H, W, 3) uint8 or (3, H, W), found {pixels.shape} {pixels.dtype}")
    if dimmed:
        pixels = (255 - (255 - pixels.astype(np.float32)) * 0.45).astype(np.uint8)
    height, width = pixels.shape[:2]
    axes.imshow(pixels, extent=(0, width, height, 0), interpolation="antialiased")
    _as_a_picture(axes, title)


def show_map(
    axes: Axes,
    values: Tensor | np.ndarray,
    title: str = "",
    label: str = "",
    stride: float = 1.0,
    limits: tuple[float, float] | None = None,
    diverging: bool = False,
    opacity: float = 1.0,
) -> None:
    """Draws a map (H, W) of numbers as colours, with a bar that says which colour is which number.

    label: what the numbers are, written at the bar; without one there is no bar. stride: pixels of the picture
    that a cell covers, so that a feature map and boxes in pixels share the axes. limits: the values of the first
    and the last colour. diverging: zero is white, below it is blue and above it is red, as far on either side.
    """
    cells = torch.as_tensor(values).detach().float().cpu().numpy()
    if cells.ndim != 2:
        raise ValueError(f"a map must be (H, W), found {cells.shape}")
    if diverging and limits is None:
        furthest = float(np.abs(cells).max(initial=0)) or 1.0
        limits = (-furthest, furthest)
    height, width = cells.shape
    picture = axes.imshow(
        cells,
        extent=(0, width * stride, height * stride, 0),
        cmap="RdBu_r" if diverging else "cividis",
        vmin=limits[0] if limits else None,
        vmax=limits[1] if limits else None,
        alpha=opacity,
    )
    if label:
        axes.figure.colorbar(picture, ax=axes, label=label, shrink=0.8)
    _as_a_picture(axes, title)


def show_boxes(
    axes: Axes,
    boxes: Tensor | np.ndarray,
    colour: str = ORANGE,
    style: str = "-",
    width: float = 2.0,
    labels: Sequence[str] = (),
    legend: str = "",
) -> None:
    """Draws boxes (N, 4), each with its label above it, and names them all in the legend.

    Raises ValueError if there are labels, but not one for each box.
    """
    boxes = torch.as_tensor(boxes).detach().float().reshape(-1, 4).cpu().numpy()
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    show_outlines(axes, corners, colour, style, width, legend)
    if labels and len(labels) != len(boxes):
        raise ValueError(f"found {len(labels)} labels, expected one for each of {len(boxes)} boxes")
    for (x1, y1, *_), label in zip(boxes, labels, strict=False):
        paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
        axes.text(x1, y1, label, color=colour, va="bottom", fontsize=9, bbox=paper, clip_on=True)


def show_outlines(
    axes: Axes,
    outlines: Sequence[np.ndarray],
    colour: str = ORANGE,
    style: str = "-",
    width: float = 2.0,
    legend: str = "",
) -> None:
    """Draws closed outlines, each (P, 2), and names them all in the legend."""
    if style not in _LINE_STYLES:
        raise ValueError(f"style: found {style!r}, expected one of {', '.join(map(repr, _LINE_STYLES))}")
    closed = [np.concatenate([outline, outline[:1]]) for outline in map(np.asarray, outlines)]
    lines = LineCollection(closed, colors=colour, linestyles=style, linewidths=width, label=legend or None)
    axes.add_collection(lines)


def explore(draw: Callable[..., Figure], stills: Sequence[float], **ranges: tuple[float, float, float]) -> None:
    """Shows what `draw` draws for some values of its first parameter, and below that sliders that try all others.

    stills: values of the first parameter, drawn side by side with all other parameters in the middle of their ranges;
    these show on paper and where no kernel runs. ranges: for each parameter of `draw` its lowest value, its highest
    and the step. The sliders come where a kernel runs, if the package ipywidgets is there.

    Raises ValueError without ranges.
    """
    if not ranges:
        raise ValueError("found no ranges, expected one for each parameter: name=(lowest, highest, step)")
    from IPython.display import display  # here, as the notebooks alone need it

    middle = {name: low + step * round((high - low) / 2 / step) for name, (low, high, step) in ranges.items()}
    first = next(iter(ranges))
    display(_side_by_side([_rendered(draw(**{**middle, first: value})) for value in stills]))
    try:
        import ipywidgets
    except ImportError:
        return
    sliders = {
        name: (ipywidgets.IntSlider if isinstance(step, int) else ipywidgets.FloatSlider)(
            value=middle[name], min=low, max=high, step=step, description=name.replace("_", " "),
            continuous_update=False,
        )
        for name, (low, high, step) in ranges.items()
    }  # fmt: skip

    def redraw(**values: float) -> None:
        display(_rendered(draw(**values)))

    display(ipywidgets.VBox([*sliders.values(), ipywidgets.interactive_output(redraw, sliders)]))


def _described(value: Tensor) -> str:
    kind = f"{tuple(value.shape)!s:<20} {str(value.dtype).removeprefix('torch.'):<8}"
    if value.numel() == 0:
        return f"{kind} empty"
    if value.dtype == torch.bool:
        return f"{kind} {int(value.sum())} of {value.numel()} true"
    finite = value[value.isfinite()]
    said = f"{finite.min().item():.4g} to {finite.max().item():.4g}" if finite.numel() else "nothing finite"
    others = value.numel() - finite.numel()
    return f"{kind} {said}" + (f", {others} not finite" if others else "")


def _as_a_picture(axes: Axes, title: str) -> None:
    axes.set(xticks=[], yticks=[], title=title)
    axes.spines[:].set_visible(False)


def _rendered(figure: Figure) -> Image.Image:
    """The diagram as a picture; pyplot forgets it, or a notebook would show it once more."""
    file = BytesIO()
    figure.savefig(file, format="png")
    pyplot.close(figure)
    return Image.open(file).convert("RGB")


def _side_by_side(pictures: Sequence[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (sum(p.width for p in pictures), max(p.height for p in pictures)), "white")
    x = 0
    for picture in pictures:
        sheet.paste(picture, (x, 0))
        x += picture.width
    return sheet
