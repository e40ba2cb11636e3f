"""What can be chosen about rendered pictures, and the choices for two uses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RenderSettings:
    """What rendered pictures are like; pairs are (least, most), lengths in pixels.

    Raises ValueError when a value makes no sense.
    """

    height: tuple[int, int] = (256, 320)
    width: tuple[int, int] = (256, 320)
    texts: tuple[int, int] = (1, 8)
    """Legible words and curved lines in one picture. Where they find no place there are fewer, but at least one."""
    text_height: tuple[float, float] = (10.0, 64.0)
    """Between the long sides of a legible text's polygon."""
    rotation: float = 30.0
    """Most degrees between the reading direction and the horizontal."""
    tilt: float = 40.0
    """Most degrees that a text may be turned away from the camera, about either axis."""
    curved_fraction: float = 0.42
    """Of the legible texts."""
    low_contrast_fraction: float = 0.16
    """Of the blocks of text."""
    blurred_fraction: float = 0.16
    """Of the blocks of text that are not low in contrast; still legible."""
    plate_fraction: float = 0.35
    """Of the blocks of text: they stand on a plate of one colour."""
    block_lines: int = 2
    """Most lines of words that share one surface."""
    line_words: int = 1
    """Most words on such a line."""
    ignored: tuple[int, int] = (0, 3)
    """Blocks of don't-care words, which are tiny, smeared or scrambled."""
    clutter: tuple[int, int] = (2, 9)
    """Objects behind the text that are not text."""
    dark_fraction: float = 0.15
    """Of the pictures: taken in poor light, with the noise and shake that come with it."""

    def __post_init__(self) -> None:
        for name in ("height", "width", "texts", "text_height", "ignored", "clutter"):
            least, most = getattr(self, name)
            if not 0 <= least <= most:
                raise ValueError(f"{name}: expected 0 <= least <= most, found {(least, most)}")
        for name in ("curved", "low_contrast", "blurred", "plate", "dark"):
            value = getattr(self, f"{name}_fraction")
            if not 0 <= value <= 1:
                raise ValueError(f"{name}_fraction: expected 0 to 1, found {value}")
        for name in ("texts", "block_lines", "line_words"):
            value = getattr(self, name)
            if (value[0] if name == "texts" else value) < 1:
                raise ValueError(f"{name}: expected at least 1, found {value}")
        for name, most in (("rotation", 90), ("tilt", 60)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name}: expected 0 to {most} degrees, found {getattr(self, name)}")
        if self.text_height[0] < 4:
            raise ValueError(f"text_height: expected at least 4 pixels, found {self.text_height}")
        if min(self.height[0], self.width[0]) < 12 * self.text_height[0]:
            raise ValueError(
                f"the smallest picture must be 12 times the smallest text_height {self.text_height[0]} or more, "
                f"found height {self.height[0]}, width {self.width[0]}"
            )


DEMO = RenderSettings()
"""The pictures of the demo: hard enough to be worth learning, and learnt in minutes."""

SCENE = RenderSettings(
    height=(512, 512),
    width=(512, 512),
    texts=(1, 12),
    text_height=(8.0, 80.0),
    rotation=25.0,
    curved_fraction=0.06,
    low_contrast_fraction=0.15,
    blurred_fraction=0.2,
    plate_fraction=0.6,
    block_lines=4,
    line_words=4,
    ignored=(0, 5),
    clutter=(4, 20),
    dark_fraction=0.35,
)
"""Street scenes, for a first training before real photographs: crops with the statistics of ICDAR2015."""
