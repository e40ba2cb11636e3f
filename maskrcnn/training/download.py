"""Fetching files that others have published: whole and right under their name, or not at all.

What arrives is kept in NAME.part and goes on from there after an interruption, in this run or the next. Only when its
SHA-256 is the published one does the file get its name: until then nothing that a server says is believed, neither the
length it announces nor that it sends what was asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn
from urllib.parse import urlsplit

from maskrcnn.files import sync_folder

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LARGEST = 2 * 2**30
"""Bytes; no published file has half of it."""
TIMEOUT = 30.0
"""Seconds that a server may say nothing."""
ATTEMPTS = 5
"""How often in a row a server may break off after a few bytes or none."""
PAUSE = 1.0
"""Seconds after the first of them; each is twice as long as the one before."""

_BLOCK = 2**18


@dataclass(frozen=True)
class PublicFile:
    """A file and how to know it."""

    url: str
    family: str
    """What `import` has to be told."""
    what: str
    sha256: str = ""
    """All of it, where it is known; otherwise the eight digits that the file's name ends with."""

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.url.rpartition("/")[2]

    @property
    def digest(self) -> str:
        """The first digits of the SHA-256, or all."""
        return self.sha256 or re.search(r"-([0-9a-f]{8})\.", self.name)[1]


_PYTORCH = "https://download.pytorch.org/models/"
_MMDETECTION = "https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/"
_MMOCR = "https://download.openmmlab.com/mmocr/textdet/maskrcnn/"
_DETECTRON2 = "https://dl.fbaipublicfiles.com/detectron2/COCO-InstanceSegmentation/"

PUBLIC_FILES = {
    "resnet18": PublicFile(_PYTORCH + "resnet18-f37072fd.pth", "torchvision", "ResNet-18 of ImageNet"),
    "resnet34": PublicFile(_PYTORCH + "resnet34-b627a593.pth", "torchvision", "ResNet-34 of ImageNet"),
    "resnet50": PublicFile(_PYTORCH + "resnet50-0676ba61.pth", "torchvision", "ResNet-50 of ImageNet"),
    "resnet101": PublicFile(_PYTORCH + "resnet101-63fe2227.pth", "torchvision", "ResNet-101 of ImageNet"),
    "torchvision_maskrcnn": PublicFile(
        _PYTORCH + "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth", "torchvision", "Mask R-CNN, COCO, mask AP 34.6"
    ),
    "torchvision_keypointrcnn": PublicFile(
        _PYTORCH + "keypointrcnn_resnet50_fpn_coco-fc266e95.pth", "torchvision", "Keypoint R-CNN, COCO, AP 65.0"
    ),
    "mmdetection_r50": PublicFile(
        _MMDETECTION + "mask_rcnn_r50_fpn_1x_coco/mask_rcnn_r50_fpn_1x_coco_20200205-d4b0c5d6.pth",
        "mmdetection",
        "Mask R-CNN, COCO, mask AP 34.7",
    ),
    "mmdetection_r101": PublicFile(
        _MMDETECTION + "mask_rcnn_r101_fpn_1x_coco/mask_rcnn_r101_fpn_1x_coco_20200204-1efe0ed5.pth",
        "mmdetection",
        "Mask R-CNN with ResNet-101, COCO, mask AP 36.1",
    ),
    "mmocr_icdar2015": PublicFile(
        _MMOCR + "mask_rcnn_r50_fpn_160e_icdar2015_20210219-8eb340a3.pth", "mmdetection", "text, hmean 0.825"
    ),
    "mmocr_icdar2017": PublicFile(
        _MMOCR + "mask_rcnn_r50_fpn_160e_icdar2017_20210218-c6ec3ebb.pth", "mmdetection", "text, hmean 0.789"
    ),
    "mmocr_ctw1500": PublicFile(
        _MMOCR + "mask_rcnn_r50_fpn_160e_ctw1500_20210219-96497a76.pth", "mmdetection", "curved text, hmean 0.732"
    ),
    # Its name has six digits of something else; the sum is that of a public copy which calls itself unmodified.
    "detectron2_r50": PublicFile(
        _DETECTRON2 + "mask_rcnn_R_50_FPN_3x/137849600/model_final_f10217.pkl",
        "detectron2",
        "Mask R-CNN, COCO, mask AP 37.2",
        "9a737e290372f1f70994ebcbd89d8004dbb3ae30a605fd915a190fa4a782dd66",
    ),
}
"""By the names that `download` takes."""

Progress = Callable[[int, int | None], None]
"""Told how many bytes are there, and of how many, if the server has said so."""


class _Interrupted(Exception):
    """A connection that broke off, stalled or never came about: worth another attempt."""


def download(file: PublicFile, folder: Path, progress: Progress = lambda done, total: None) -> Path:
    """The path of `file` in `folder`, where it is put unless it is there already.

    Raises ValueError if what the server sends, or what lies there under that name, is not the published file, and if
    another process is fetching it; OSError if the server cannot be reached or the disk not be written to. Whatever was
    right so far is kept, and the next call goes on from there.
    """
    target = Path(folder) / file.name
    if target.exists():
        found = _sha256(target)
        if not found.startswith(file.digest):
            raise ValueError(f"{target}: found SHA-256 {found[:16]}..., expected {file.digest}; remove it first")
        return target
    path = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(path) as part:
            _fetch(file, part, path, progress)
            os.fsync(part.fileno())
            if fcntl is None:
                part.close()  # Windows renames no open file
            os.replace(path, target)
        sync_folder(target.parent)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(f"{target}: cannot be saved: {error.strerror}; what has arrived is kept") from error
    return target


@contextlib.contextmanager
def locked(path: Path) -> Iterator[BinaryIO]:
    """A file to go on writing, which no other process writes. Raises ValueError if one does."""
    while True:
        # Follows no link that somebody has put there.
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        # Without a buffer: what has arrived survives the end of this process, however it comes.
        with open(os.open(path, flags, 0o644), "r+b", buffering=0) as part:
            if fcntl is not None:
                try:
                    fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise ValueError(f"{path}: another process is fetching it") from error
                # Between opening and locking, the process that had the lock may have given the file its final name.
                if not path.exists() or not os.path.samestat(os.fstat(part.fileno()), os.stat(path)):
                    continue
            yield part
            return


def _fetch(file: PublicFile, part: BinaryIO, path: Path, progress: Progress) -> None:
    """Fills `part`, which lies at `path`, until it is the published file.

    Raises ValueError if what the server has is another one, OSError if it fails too often.
    """
    failures, restarted = 0, False
    while True:
        start = part.seek(0, os.SEEK_END)
        try:
            _receive(file.url, part, start, progress)
        except _Interrupted as error:
            done = part.seek(0, os.SEEK_END)
            failures = failures + 1 if done < start + _BLOCK else 1
            if failures >= ATTEMPTS:
                kept = f"{done:,} bytes are kept, and the same command goes on from there"
                raise OSError(f"{file.url}: {error}, {ATTEMPTS} times; {kept}") from error
            time.sleep(PAUSE * 2 ** (failures - 1))
            continue
        found = _sha256(path)
        if found.startswith(file.digest):
            return
        part.seek(0)
        beginning = part.read(20)
        part.truncate(0)
        if start == 0 or restarted:
            raise ValueError(
                f"{file.url}: what it sends begins {beginning!r} and has SHA-256 {found[:16]}..., expected "
                f"{file.digest}: not the published file; nothing is kept"
            )
        restarted = True  # What an earlier attempt has left may have been bad: once more from the start.


def _receive(url: str, part: BinaryIO, start: int, progress: Progress) -> None:
    """Appends to `part` what the server has from byte `start` on, or all of it if the server knows no better."""
    headers = {"User-Agent": "maskrcnn", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with _open(url, headers) as response:
        if response is None:  # nothing from `start` on: either all of it is there, or too much
            return
        total = response.headers.get("Content-Length")
        total = int(total) if total is not None and total.isdecimal() and len(total) < 16 else None
        if response.status == 206:
            found = re.match(r"bytes (\d{1,15})-", response.headers.get("Content-Range", ""))
            if not start or not found or int(found[1]) != start:
                part.truncate(0)
                raise _Interrupted("the server sent another part than was asked for")
            total = None if total is None else start + total
        else:
            part.truncate(0)
            start = 0
        done = part.seek(0, os.SEEK_END)
        while True:
            progress(done, total)
            if max(done, total or 0) > LARGEST:
                part.truncate(0)
                raise ValueError(f"{url}: sends more than {LARGEST:,} bytes, expected a file of weights")
            try:
                block = response.read1(_BLOCK)
            except (OSError, http.client.HTTPException) as error:
                raise _Interrupted(_reason(error)) from error
            if not block:
                break
            done += len(block)
            while block:  # A full disk may take a part of it before it refuses.
                block = block[part.write(block) :]
        if total is not None and done < total:
            raise _Interrupted(f"the connection ended after {done:,} of {total:,} bytes")


@contextlib.contextmanager
def _open(url: str, headers: dict[str, str]) -> Iterator[http.client.HTTPResponse | None]:
    """The response to a request; None if the file ends before the part that is asked for."""
    opener = urllib.request.build_opener(SafeRedirects)
    try:
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and "Range" in headers:
            yield None
            return
        _refuse(url, error)
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(_reason(error)) from error
    with response:
        yield response


def _refuse(url: str, error: urllib.error.HTTPError) -> NoReturn:
    reason = " ".join(f"{error.code} {error.reason}".split())[:200]
    if error.code in (408, 429) or error.code >= 500:
        raise _Interrupted(f"the server answers {reason}") from error
    raise ValueError(f"{url}: the server answers {reason}") from error


class SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirection from https to where anybody on the way may read and change what is sent."""

    def redirect_request(self, request, response, code, message, headers, url):
        """The request to follow with. Raises ValueError."""
        before, after = urlsplit(request.full_url).scheme, urlsplit(url).scheme
        if after not in ("https", before):
            raise ValueError(f"{request.full_url}: redirects to {url[:200]!r}, expected {before}")
        return super().redirect_request(request, response, code, message, headers, url)


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", error)
    if isinstance(inner, TimeoutError):
        return f"the server said nothing for {TIMEOUT:g} s"
    return " ".join(str(inner).split())[:200] or type(inner).__name__


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
