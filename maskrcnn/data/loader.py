"""From samples to batches: scaling, normalising, padding, bitmaps; and the stream of batches that training eats.

The stream is a pure function: batch k of a training run follows from the seed and k alone, whichever process makes
it and whatever was made before. A resumed run asks for batch k and gets the one that the interrupted run would have.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from maskrcnn.config import ImageConfig
from maskrcnn.data.batch_order import BatchOrder
from maskrcnn.data.batch_targets import Ignored, batch_targets
from maskrcnn.data.batch_targets import ObjectsLeftOut as ObjectsLeftOut
from maskrcnn.data.transforms import fitted_size, moved
from maskrcnn.structures import Batch, Sample


class Samples(Protocol):
    """Any data set: pictures by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


class DataSet(Samples, Protocol):
    """A data set that can be trained on and measured: it knows its classes and the names of its pictures."""

    class_names: tuple[str, ...]
    names: list[str]


class Remembered:
    """A data set that keeps every sample it has given, for pictures that cost more to make than to keep.

    Each process that makes batches has a memory of its own: a training that looks at every picture several times
    makes each of them once per worker.
    """

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        """The sample as the data set itself gives it. Raises what the data set raises."""
        if index not in self._kept:
            self._kept[index] = self._samples[index]
        return self._kept[index]


def normalise(pixels: np.ndarray, image: ImageConfig) -> np.ndarray:
    """(H, W, 3) float32: (rgb / 255 - mean) / deviation of pixels (H, W, 3) from 0 to 255."""
    height, width, channels = pixels.shape
    deviation = np.array(image.deviation)
    scale, shift = 1 / (255 * deviation), np.array(image.mean) / deviation
    # Whole rows at once: numpy is several times slower on an innermost dimension of three.
    rows = pixels.reshape(height, width * channels).astype(np.float32)
    rows *= np.tile(scale.astype(np.float32), width)
    rows -= np.tile(shift.astype(np.float32), width)
    return rows.reshape(height, width, channels)


def network_size(height: int, width: int, image: ImageConfig) -> tuple[int, int]:
    """Height and width of a picture scaled until its short or its long side reaches its limit (spec 2.7).

    Pictures are enlarged as well, by at most `image.largest_enlargement`; no side becomes less than one pixel.
    """
    largest = image.largest_enlargement or math.inf
    short_side = min(image.short_side, largest * min(height, width))
    long_side = min(image.long_side, largest * max(height, width))
    return fitted_size(height, width, short_side, long_side, image.rounding)


def to_network_size(sample: Sample, image: ImageConfig) -> tuple[np.ndarray, tuple[float, float]]:
    """A picture as the network wants it when looking for objects: normalised and scaled.

    Returns pixels (H, W, 3) float32 of `network_size`, and the factors by which x and y of its points grow.
    """
    height, width = sample.image.shape[:2]
    new_height, new_width = network_size(height, width, image)
    if (new_height, new_width) == (height, width):
        pixels = sample.image
    elif image.interpolation == "antialias":
        picture = Image.fromarray(sample.image)
        pixels = np.asarray(picture.resize((new_width, new_height), Image.Resampling.BILINEAR))
    else:
        channels = torch.from_numpy(sample.image.astype(np.float32)).permute(2, 0, 1)[None]
        # Normalising is affine and bilinear weights sum to one: it makes no difference which of the two comes first.
        channels = functional.interpolate(channels, (new_height, new_width), mode="bilinear", align_corners=False)
        pixels = channels[0].permute(1, 2, 0).numpy()
        if image.interpolation == "bytes":
            pixels = np.floor(pixels + 0.5)
    return normalise(pixels, image), (new_width / width, new_height / height)


def inference_batch(sample: Sample, image: ImageConfig, *, targets: bool = True) -> Batch:
    """A batch of one picture at the size at which objects are looked for; its detections come in original pixels.

    Its targets (don't-care regions are ignored) make a validation loss possible; without them, the model saves
    the work.
    """
    pixels, scale = to_network_size(sample, image)
    images, sizes = _padded([pixels], image.size_divisor, ())
    scaled = moved(sample, sample.image, lambda points: points * scale)
    return Batch(
        images=images,
        image_sizes=sizes,
        original_sizes=torch.tensor([sample.image.shape[:2]]),
        names=(sample.name,),
        targets=batch_targets([scaled], sizes.tolist(), "ignore", None) if targets else None,
    )


def collate(
    samples: Sequence[Sample],
    image: ImageConfig,
    *,
    ignored: Ignored,
    slots: int | None = None,
    padded_sizes: Sequence[tuple[int, int]] = (),
) -> Batch:
    """One batch of B samples as they are: normalised, padded to a common size, objects in G slots.

    ignored: what becomes of don't-care regions. ignore: they go to `Targets.ignore`; background: they are left out
    of the targets; paint: as ignore, for those that remain after a transform has painted over the data set's own,
    such as words that a crop cut in two.
    slots: G. None: as many as the fullest image needs, at least 1. An image with more objects than slots gets more
    slots: nothing is dropped.
    padded_sizes: the common size is the first of these (height, width) that holds all samples; without one, it is that
    of the largest sample, up to the next multiple of `image.size_divisor`.

    Objects of which the picture shows no area cannot become targets; a warning `ObjectsLeftOut` counts them.
    Raises ValueError, naming the picture, for a corner that is not finite or a label below 1.
    """
    if not samples:
        raise ValueError("a batch needs at least one sample")
    pictures = [normalise(sample.image, image) for sample in samples]
    images, sizes = _padded(pictures, image.size_divisor, padded_sizes)
    return Batch(
        images=images,
        image_sizes=sizes,
        original_sizes=sizes.clone(),
        names=tuple(sample.name for sample in samples),
        targets=batch_targets(samples, sizes.tolist(), ignored, slots),
    )


class Share(NamedTuple):
    """Which part of each step's batch a process makes: `rank` of `ranks`, which computes it in `parts`, one by one."""

    rank: int = 0
    ranks: int = 1
    parts: int = 1


EVERYTHING = Share()


def first_that_holds(sizes: Sequence[tuple[int, int]], height: int, width: int) -> int | None:
    """The number of the first of `sizes` (height, width) in which a picture has room; None if there is none."""
    return next((number for number, (h, w) in enumerate(sizes) if h >= height and w >= width), None)


class TrainingBatches(Dataset):
    """The batches of a training run by number: item `step` is the whole `Batch` of that step.

    What is in a batch, `maskrcnn.data.batch_order` says. Each sample is augmented with a generator made from (seed,
    step, position in the batch), and from the same three follows what is sampled of it later (`Targets.seeds`).

    share: of several processes, or of a batch in several parts, items are smaller: item `step * parts + part` holds the
    neighbours in the batch of `step` that are this process's. Together, all shares are the whole batch.
    """

    def __init__(
        self,
        samples: Samples,
        augment: Callable[[Sample, np.random.Generator], Sample],
        image: ImageConfig,
        *,
        batch_size: int,
        seed: int,
        ignored: Ignored = "ignore",
        slots: int | None = None,
        padded_sizes: Sequence[tuple[int, int]] = (),
        groups: Sequence[int] | None = None,
        share: Share = EVERYTHING,
    ) -> None:
        """groups: of each sample the number of a group; no batch holds samples of two.

        Raises ValueError if there are no samples, or if a batch cannot be shared equally.
        """
        self.samples, self.augment, self.image = samples, augment, image
        self.seed, self.ignored, self.slots, self.share = seed, ignored, slots, share
        self.padded_sizes, self.order = padded_sizes, BatchOrder(len(samples), batch_size, seed, groups)
        if batch_size % (share.ranks * share.parts):
            parts = f"{share.ranks} processes" + (f" of {share.parts} parts" if share.parts > 1 else "")
            raise ValueError(f"found batch size {batch_size} for {parts}, expected a multiple of that")

    def __getitem__(self, item: int) -> Batch:
        step, part = divmod(item, self.share.parts)
        size = self.order.batch_size // (self.share.ranks * self.share.parts)
        first = (self.share.rank * self.share.parts + part) * size
        indices, slots = self.order(step), range(first, first + size)
        samples = [
            self.augment(self.samples[indices[slot]], np.random.default_rng([self.seed, step, slot])) for slot in slots
        ]
        batch = collate(
            samples, self.image, ignored=self.ignored, slots=self.slots, padded_sizes=self.padded_sizes
        )
        seeds = [np.random.SeedSequence([self.seed, step, slot, 2]).generate_state(1).item() for slot in slots]
        return replace(batch, targets=replace(batch.targets, seeds=torch.tensor(seeds)))


def training_loader(batches: TrainingBatches, *, steps: int, start: int = 0, workers: int = 1) -> Iterator[Batch]:
    """Yields the batches of steps start to steps - 1, made ahead by `workers` processes (0: by this one).

    Of a share in several parts, each step has so many. The batches do not depend on `workers`. A ValueError or OSError
    while making one is raised here as it was there, one line, with the traceback of the worker as a note.
    """
    parts = batches.share.parts
    loader = DataLoader(
        _ErrorsAsItems(batches),
        batch_size=None,
        sampler=range(start * parts, steps * parts),
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        pin_memory=torch.cuda.is_available(),
        # Starting at once, with whatever data set a notebook has defined, needs fork; only Linux forks safely. The
        # loader sets each worker to one thread, so a worker never waits for a thread pool that fork did not copy.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        worker_init_fn=_end_with_the_parent_only,
        # Its own generator: otherwise starting the workers would draw from the one that the training draws from.
        generator=torch.Generator().manual_seed(0),
    )
    for item in loader:
        if isinstance(item, Exception):
            raise item
        yield item


class _ErrorsAsItems(Dataset):
    """Passes errors on as items: thrown in a worker, the loader would wrap them in its own traceback as text."""

    def __init__(self, batches: TrainingBatches) -> None:
        self.batches = batches

    def __getitem__(self, item: int) -> Batch | Exception:
        try:
            return self.batches[item]
        except (ValueError, OSError) as error:
            error.add_note(traceback.format_exc())
            return error


def _end_with_the_parent_only(worker: int) -> None:
    """Lets a worker survive the signals that ask the training process to save and stop.

    Ctrl-C and `timeout` signal the whole process group, a batch system every process of a job; the training process
    still needs a batch to finish its step, and ends its workers itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # Linux
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_wait_for_the_parent, args=(os.getppid(),), daemon=True).start()


def _wait_for_the_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def _padded(
    pictures: Sequence[np.ndarray], divisor: int, padded_sizes: Sequence[tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) channels-last with zeros below and to the right, and (B, 2) sizes, of pictures (h, w, 3)."""
    sizes = np.array([picture.shape[:2] for picture in pictures])
    largest = sizes.max(axis=0)
    size = first_that_holds(padded_sizes, *largest.tolist())
    height, width = (-(-largest // divisor) * divisor).tolist() if size is None else padded_sizes[size]
    # Rows of pixels, each three values side by side, are what channels-last means: no transposition anywhere.
    images = np.zeros((len(pictures), height, width, 3), dtype=np.float32)
    for image, picture in zip(images, pictures, strict=True):
        image[: picture.shape[0], : picture.shape[1]] = picture
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(sizes)
