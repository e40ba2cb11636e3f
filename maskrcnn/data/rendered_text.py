"""A data set of text that needs no download: each picture is rendered when it is asked for.

The plan of a picture (`rendered_layout`) says what stands where: words set on sheets (`rendered_sheet`), bent and
tilted (`rendered_surface`). To draw it, a background (`rendered_background`) gets clutter (`rendered_clutter`) and ink
(`rendered_ink`), and a camera (`rendered_camera`) takes the picture.
"""

from __future__ import annotations

import numpy as np

from maskrcnn.data.rendered_background import draw_background
from maskrcnn.data.rendered_camera import take_photograph
from maskrcnn.data.rendered_clutter import draw_clutter
from maskrcnn.data.rendered_ink import draw_block
from maskrcnn.data.rendered_layout import PicturePlan, plan_picture
from maskrcnn.data.rendered_settings import DEMO, SCENE, RenderSettings
from maskrcnn.sample import Sample

__all__ = ["DEMO", "SCENE", "RenderSettings", "RenderedText"]


class RenderedText:
    """`count` pictures of words and curved lines; picture i depends on the seed, the settings and i alone."""

    class_names = ("text",)

    def __init__(self, count: int, seed: int, settings: RenderSettings = DEMO) -> None:
        if count < 0 or seed < 0:
            raise ValueError(f"count and seed: expected 0 or more, found {count}, {seed}")
        self.count = count
        self.seed = seed
        self.settings = settings

    def __len__(self) -> int:
        return self.count

    @property
    def names(self) -> list[str]:
        """The name of every picture."""
        return [_name(index) for index in range(self.count)]

    def __getitem__(self, index: int) -> Sample:
        """The sample, drawn afresh: the same each time. Raises IndexError beyond the last picture."""
        rng, plan = self._start(index)
        texts = plan.texts
        return Sample(
            name=_name(index),
            image=draw_picture(rng, plan),
            polygons=tuple(text.polygon for text in texts),
            labels=np.ones(len(texts), np.int64),
            ignore=np.array([text.ignore for text in texts], bool),
            transcriptions=tuple(text.transcription for text in texts),
        )

    def describe(self, index: int) -> PicturePlan:
        """The plan that picture `index` is drawn from: its clutter, and for each annotation its height, rotation,
        perspective and whether it is curved, low in contrast or blurred."""
        return self._start(index)[1]

    def _start(self, index: int) -> tuple[np.random.Generator, PicturePlan]:
        if not 0 <= index < self.count:
            raise IndexError(f"found picture {index}, expected 0 to {self.count - 1}")
        rng = np.random.default_rng([self.seed, index])
        return rng, plan_picture(rng, self.settings)


def _name(index: int) -> str:
    return f"rendered_{index:06}.png"


def draw_picture(rng: np.random.Generator, plan: PicturePlan) -> np.ndarray:
    """(H, W, 3) uint8: a photograph of what was planned. Colours, background and camera are drawn by lot."""
    picture = draw_background(rng, plan.height, plan.width)
    for kind in plan.clutter:
        draw_clutter(rng, picture, kind)
    for block in plan.blocks:
        draw_block(rng, picture, block, plan.light)
    return take_photograph(rng, picture, plan.light)
