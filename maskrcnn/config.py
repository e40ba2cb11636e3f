"""Everything that can be tuned: frozen dataclasses, checked when they are made, saved with every checkpoint.

The sections of the network are in `model_config.py` and `variant.py`, and can be had from here as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from maskrcnn.model_config import (
    AnchorConfig,
    BackboneConfig,
    BoxHeadConfig,
    ImageConfig,
    KeypointHeadConfig,
    MaskHeadConfig,
    ModelConfig,
    RPNConfig,
    unused_class,
)
from maskrcnn.settings import (
    ConfigurationError,
    Count,
    Decay,
    Epochs,
    Fraction,
    Interval,
    NotNegative,
    Section,
    Sides,
    Whole,
    as_assignments,
    override,
    section_from_dict,
    setting_names,
)
from maskrcnn.variant import VariantConfig

__all__ = [
    "AnchorConfig",
    "BackboneConfig",
    "BoxHeadConfig",
    "Config",
    "ConfigurationError",
    "DataConfig",
    "ImageConfig",
    "KeypointHeadConfig",
    "MaskHeadConfig",
    "ModelConfig",
    "RPNConfig",
    "TextConfig",
    "TrainingConfig",
    "VariantConfig",
    "setting_names",
    "unused_class",
]


_FIXED = {
    "contour": {},
    "pixels": {"mask_threshold": 0.5},
    "planes": {"shape": "quadrilateral", "piece": "largest", "mask_threshold": 0.5},
}
"""What some of `TextConfig.outlines` ask of the settings beside them: the rules that they follow leave no choice."""


@dataclass(frozen=True)
class TextConfig(Section):
    """From masks to the outlines that text benchmarks score."""

    shape: Literal["quadrilateral", "polygon"] = "quadrilateral"
    """quadrilateral: the minimum-area rectangle, or what four planes say; polygon: the outline itself."""
    outlines: Literal["contour", "pixels", "planes"] = "contour"
    """contour: where the values between the cells of a mask reach `mask_threshold`, polygons simplified to the corners
    that matter; pixels: through the integer coordinates of the pixels that the mask covers in the picture (MMOCR);
    planes: the base of a pyramid (Pyramid Mask Text Detector), for masks that are pyramids and nothing else."""
    piece: Literal["largest", "all", "last"] = "largest"
    """Of a mask in several pieces. largest: a stray cell at the edge of a box would otherwise turn the rectangle; all:
    the rectangle around them (MMOCR's quadrilaterals); last: the one whose top lies lowest (MMOCR's polygons)."""
    mask_threshold: Fraction = 0.5
    score_threshold: Fraction = 0.5
    """Below it nothing is drawn or submitted; `evaluate` measures it and its neighbours."""
    polygon_nms_iou: Fraction = 1.0
    """Outlines overlapping a better one by more are dropped; 1 keeps all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape == "polygon" and self.piece == "all":
            raise ConfigurationError("TextConfig.piece: found 'all' with shape polygon, expected 'largest' or 'last'")
        for name, expected in _FIXED[self.outlines].items():
            found = getattr(self, name)
            if found != expected:
                raise ConfigurationError(
                    f"TextConfig.{name}: found {found!r} with outlines {self.outlines}, expected {expected!r}"
                )


@dataclass(frozen=True)
class DataConfig(Section):
    """Which files are read, and how training pictures are cut and changed."""

    format: Literal["icdar2015", "icdar2017", "ctw1500", "totaltext", "mmocr", "coco"] = "icdar2015"
    """The layout of the folder after --data; `evaluate` scores by the rules of that benchmark (see `finds_text`)."""
    crop: Whole = 512
    """Side of the square crops that training sees, in pixels; 0: whole pictures."""
    short_sides: tuple[Count, ...] = ()
    """Of whole pictures: scaled as when looking for objects, but to a short side drawn from these (the long side has
    the same limit); none: they stay as they are."""
    padded_sizes: tuple[tuple[Count, Count], ...] = ()
    """Of whole pictures: height and width of the few sizes that batches have, the first that holds a picture; those of
    one batch go into the same. Nothing waits for new shapes then, and little is computed on padding. None: each batch
    is padded to its own largest."""
    scale_range: Interval = (0.5, 2.0)
    """Factors by which pictures are scaled, drawn log-uniformly."""
    aspect_range: Interval = (0.8, 1.25)
    """Further factor of the width over the height, log-uniform."""
    independent_sides: Sides = ()
    """Of crops, instead of the two above: the picture is scaled to a width and to a height that are drawn each for
    itself, uniformly from the first number of pixels to one less than the second; none: by the two above."""
    crop_around: Literal["one_object", "all_objects"] = "one_object"
    """A crop holds one legible object, or lies, by MMOCR's rule, somewhere around and before all of them."""
    around_object_probability: Fraction = 0.8
    """Of a crop that is placed so; otherwise it lies anywhere."""
    cut: Literal["polygons", "boxes"] = "polygons"
    """What of an object a crop leaves: the box of the rest of it, or the rest of its box, as in MMOCR."""
    minimum_visible_fraction: Fraction = 0.5
    """An object of which a crop shows less becomes don't-care."""
    flip_probability: Fraction = 0.0
    rotation_degrees: NotNegative = 0.0
    colour_probability: Fraction = 0.5
    ignored: Literal["ignore", "background", "paint", "object"] = "ignore"
    """Don't-care regions: neither object nor background; background, as in MMOCR; painted over; or objects as others
    are, as in MMOCR's CTW1500."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop and self.short_sides:
            raise ConfigurationError(
                f"DataConfig.short_sides: found {self.short_sides} with crops of {self.crop}, expected one of the two"
            )
        if self.crop and self.padded_sizes:
            raise ConfigurationError(
                f"DataConfig.padded_sizes: found {self.padded_sizes} with crops of {self.crop}, which all have one size"
            )
        if self.rotation_degrees and self.padded_sizes:
            raise ConfigurationError(
                f"DataConfig.padded_sizes: found {self.padded_sizes} with rotation_degrees {self.rotation_degrees:g}, "
                "which makes pictures larger than they fit; expected one of the two"
            )
        if self.independent_sides and not 0 < self.crop <= self.independent_sides[0]:
            raise ConfigurationError(
                f"DataConfig.independent_sides: found {self.independent_sides} with crops of {self.crop}, expected "
                "crops, none larger than the least side"
            )
        for name in ("crop_around", "cut"):
            value, default = getattr(self, name), getattr(DataConfig, name)
            if value != default and not self.crop:
                raise ConfigurationError(f"DataConfig.{name}: found {value!r} without crops, expected {default!r}")


@dataclass(frozen=True)
class TrainingConfig(Section):
    """The optimiser and its schedule."""

    steps: Count = 1000
    epochs: Epochs = 0.0
    """If not 0, `steps` is set to as many as these passes over the data set take (`for_pictures`)."""
    batch_size: Count = 4
    """Pictures of one step, over all processes and parts."""
    parts: Count = 1
    """In which each process computes its pictures of a step, one part after the other: so much less memory, and almost
    the same gradient (gradient accumulation; each part divides its losses by its own counts)."""
    denominators: Literal["all_ranks", "each_rank"] = "all_ranks"
    """What the losses of several processes are divided by. all_ranks: the samples of the whole batch, as if one process
    had computed it; each_rank: their own, as other libraries do."""
    optimiser: Literal["sgd", "adamw"] = "sgd"
    learning_rate: NotNegative = 0.02
    learning_rate_batch: Whole = 0
    """If not 0, `learning_rate` is that of batches of so many pictures, and is scaled in proportion to `batch_size`
    (`for_pictures`; arXiv 1706.02677)."""
    momentum: Decay = 0.9
    weight_decay: NotNegative = 1e-4
    warmup_steps: Whole = 500
    warmup_epochs: Epochs = 0.0
    """If not 0, `warmup_steps` is set to as many as these take (`for_pictures`)."""
    warmup_factor: Fraction = 0.001
    schedule: Literal["steps", "cosine"] = "steps"
    milestones: tuple[Fraction, ...] = (0.5, 0.8)
    """Fractions of the training after which the rate falls to a tenth (steps only)."""
    gradient_clip: NotNegative = 0.0
    """Largest norm of all gradients together; 0: no clipping."""
    average_decay: Decay = 0.0
    """Of the moving average of the weights that is evaluated and shipped; 0: none."""
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: Whole = 0
    checkpoint_every: Whole = 500
    """Steps; 0: only at the end."""
    workers: Whole = 1
    """Processes that prepare pictures for each process that trains; 0: it does so itself."""

    def for_pictures(self, count: int) -> TrainingConfig:
        """A copy for a data set of `count` pictures, in which steps and rates are written out and epochs are 0."""
        steps_in_epoch = count / self.batch_size
        changes: dict[str, float] = {}
        if self.epochs:
            changes |= {"epochs": 0.0, "steps": max(1, round(self.epochs * steps_in_epoch))}
        if self.warmup_epochs:
            changes |= {"warmup_epochs": 0.0, "warmup_steps": round(self.warmup_epochs * steps_in_epoch)}
        if self.learning_rate_batch:
            rate = self.learning_rate * self.batch_size / self.learning_rate_batch
            changes |= {"learning_rate_batch": 0, "learning_rate": rate}
        return replace(self, **changes)


@dataclass(frozen=True)
class Config(Section):
    """A whole recipe."""

    name: str = "custom"
    model: ModelConfig = field(default_factory=ModelConfig)
    text: TextConfig = field(default_factory=TextConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        pyramids = self.model.mask_head.enabled and self.model.mask_head.targets == "pyramid"
        if pyramids and self.data.format == "coco":
            raise ConfigurationError(
                "MaskHeadConfig.targets: found 'pyramid' with data.format coco, whose layout asks for objects, also "
                "where they are called 'text'; expected it with a format of text"
            )
        if pyramids and not self.finds_text:
            raise ConfigurationError(
                f"MaskHeadConfig.targets: found 'pyramid' for classes {self.model.class_names} of "
                f"{self.data.format}, expected it only where text is found"
            )
        if pyramids != (self.text.outlines == "planes"):
            targets = "pyramid" if pyramids else "that are no pyramids"
            expected = "'planes'" if pyramids else "'contour' or 'pixels'"
            raise ConfigurationError(
                f"TextConfig.outlines: found {self.text.outlines!r} with mask targets {targets}, expected {expected}"
            )

    @property
    def finds_text(self) -> bool:
        """Whether this is a text detector: what it finds are outlines of words, and scored as such.

        The only class that a training has seen is text then. COCO's layout asks for objects, also where they are called
        "text".
        """
        used = [self.model.class_names[label - 1] for label in self.model.used_labels]
        return used == ["text"] and self.data.format != "coco"

    def for_classes(self, names: Sequence[str]) -> Config:
        """A copy for objects of other classes. Raises ConfigurationError if there are none, or two of one name."""
        return replace(self, model=replace(self.model, class_names=tuple(names)))

    def for_keypoints(self, names: Sequence[str], skeleton: Sequence[tuple[str, str]]) -> Config:
        """A copy that finds other keypoints. Raises ConfigurationError as `KeypointHeadConfig` does."""
        head = replace(self.model.keypoint_head, names=tuple(names), skeleton=tuple(skeleton))
        return replace(self, model=replace(self.model, keypoint_head=head))

    def for_pictures(self, count: int) -> Config:
        """A copy for a data set of `count` pictures: `TrainingConfig.for_pictures`."""
        return replace(self, training=self.training.for_pictures(count))

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and text, ready for JSON."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Config:
        """The inverse of `to_dict`; raises ConfigurationError for unknown and for wrong settings."""
        return section_from_dict(Config, values)

    def assignments(self) -> list[str]:
        """Every setting as "training.steps=200": given to `override`, they change nothing.

        Numbers of steps for which epochs stand are left out.
        """
        training = self.training
        replaced = {"training.steps": training.epochs, "training.warmup_steps": training.warmup_epochs}
        return [line for line in as_assignments(self) if not replaced.get(line.partition("=")[0])]

    def override(self, assignments: list[str]) -> Config:
        """A copy with changes such as "training.steps=200" or "model.backbone.depth=18".

        Who asks for a number of steps does not want that of the recipe's epochs, which become 0; and the warm-up that
        a recipe counts in epochs stays the same share of the training, however long that is to be. Who asks for a
        learning rate wants it for the batches there are.

        Raises ConfigurationError for an unknown key, with the nearest valid ones, for a value that it cannot have, or
        if both steps and epochs are asked for.
        """
        changed = override(self, assignments)
        before, training = self.training, changed.training
        asked = {assignment.partition("=")[0].removeprefix("training.") for assignment in assignments}
        changes: dict[str, float] = {}
        if before.epochs and not asked & {"warmup_steps", "warmup_epochs"}:
            share = before.warmup_epochs / before.epochs
            changes = {"warmup_epochs": training.epochs * share}
            if "steps" in asked:
                changes = {"warmup_epochs": 0.0, "warmup_steps": round(training.steps * share)}
        for steps, epochs in (("steps", "epochs"), ("warmup_steps", "warmup_epochs")):
            if steps in asked:
                if epochs in asked and getattr(training, epochs):
                    raise ConfigurationError(f"training.{steps}, training.{epochs}: found both, expected one of them")
                changes[epochs] = 0.0
        if "learning_rate" in asked and "learning_rate_batch" not in asked:
            changes["learning_rate_batch"] = 0
        return replace(changed, training=replace(training, **changes))
