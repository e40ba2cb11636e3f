"""Where the parts of a COCO-style data set are: its annotation file and the folder of its pictures.

COCO's own layout and those that annotation tools write hold the same two things under different names. What is taken
for a split S ("train", "val", "test", or any name such as val2017):

    annotations/instances_train2017.json        train2017/                  COCO
    annotations/instances_default.json          images/                     CVAT
    train/_annotations.coco.json                train/                      Roboflow
    instances_training.json                     imgs/                       MMOCR
    any.json                                    beside it, or images/       one file, for every split

With keypoints, `person_keypoints_...` in the place of `instances_...`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

FOLDERS_OF_PICTURES = ("images", "imgs", "data", "")
"""Where pictures are looked for, beside the folders that are called as the split is; "" is the folder itself."""

_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_TRIED = 100
"""So many pictures say which folder is meant."""
_NOT_OBJECTS = ("captions", "panoptic", "stuff", "image")
"""How the names of COCO's other annotation files begin."""


def find_annotations(root: str | os.PathLike, split: str, keypoints: bool = False) -> Path:
    """The annotation file for a split, below a folder, or the file itself that `root` names.

    "validation" means "val", and so with the other words for a split. "test" is the validation pictures where there are
    no others: COCO keeps the truth about its test pictures.
    Raises ValueError, saying what is there, if there is none or more than one.
    """
    root = Path(root)
    if root.is_file():
        return root
    if not root.is_dir():
        raise ValueError(f"{root}: found nothing, expected a folder with a COCO annotation file, or that file")
    kind, other = ("person_keypoints", "instances")[:: 1 if keypoints else -1]
    files = [path for path in _annotation_files(root) if not path.name.startswith(other)]
    meant = next((name for name, synonyms in _WORDS.items() if split in synonyms), split)
    for wanted in dict.fromkeys((split, meant, "val" if meant == "test" else meant)):
        found = [path for path in files if _names_split(path, wanted)]
        if len(found) > 1:
            names = ", ".join(map(str, found))
            raise ValueError(f"{root}: found {names} for the split {split}; name one of them with --data or --split")
        if found:
            return root / found[0]
    if len(files) == 1 and not _splits(files[0].stem) and not _splits(files[0].parent.name):
        return root / files[0]
    names = ", ".join(map(str, files[:8])) or f"no {kind} annotations"
    expected = f"one for the split {split}, such as annotations/{kind}_{split}.json"
    raise ValueError(f"{root}: found {names}; expected {expected}")


def find_pictures(annotations: Path, root: str | os.PathLike, file_names: Sequence[str]) -> Path:
    """The folder that the file names in an annotation file begin from: of the usual ones, that with most of them.

    Raises ValueError, naming the first few, if pictures are missing.
    """
    root = Path(root) if Path(root).is_dir() else annotations.parent
    bases = dict.fromkeys((root, annotations.parent, annotations.parent.parent))
    own = [word for word in _words(annotations.stem) if _splits(word)]
    inside = [Path(*parts) for parts in ((name, *inner) for name in own for inner in ((), ("images",)))]
    inside += [Path("images", name) for name in own] + [Path(name) for name in FOLDERS_OF_PICTURES]
    folders = [base / folder for base in bases for folder in inside]
    some = file_names[:_TRIED]
    best = max(folders, key=lambda folder: sum(os.path.isfile(folder / name) for name in some))
    # Not Path.is_file, for which a name that is too long is an error of its own.
    missing = [name for name in file_names if not os.path.isfile(best / name)]
    if missing:
        names = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        found = f"{len(file_names)} pictures, {len(missing)} of them missing in {best}"
        raise ValueError(f"{annotations}: found {found}: {names}")
    return best


def _annotation_files(root: Path) -> list[Path]:
    """Relative to `root`, since what the folder itself is called means nothing."""
    folders = [root, root / "annotations", *(path for path in sorted(root.iterdir()) if _splits(path.name))]
    files = [path.relative_to(root) for folder in folders for path in sorted(folder.glob("*.json"))]
    return [path for path in files if not path.name.startswith(_NOT_OBJECTS)]


def _names_split(path: Path, split: str) -> bool:
    """Whether a file, or the folder that it lies in, is called by the name of a split, or by a word that means it."""
    if split in (*_words(path.stem), path.parent.name):
        return True
    return split in _splits(path.stem) | _splits(path.parent.name)


def _splits(name: str) -> set[str]:
    """Which of train, val and test a name speaks of, whatever their year: val for instances_val2017."""
    words = {re.sub(r"[0-9]+$", "", word).lower() for word in _words(name)}
    return {split for split, synonyms in _WORDS.items() if words & set(synonyms)}


def _words(name: str) -> list[str]:
    return re.findall(r"[A-Za-z0-9]+", name)
