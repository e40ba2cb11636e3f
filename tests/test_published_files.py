"""Tensors in the files of PyTorch and numpy: the numbers that are there, and no file can do harm."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from maskrcnn.training import published_files
from maskrcnn.training.pickled import Unreadable
from maskrcnn.training.published_files import read_published

ZIP, EARLIER = {}, {"_use_new_zipfile_serialization": False}
"""How torch.save writes its two formats."""


class HistoryBuffer:
    """Stands for what MMEngine leaves in its files: objects of classes that nobody here has."""

    def __init__(self) -> None:
        self.history, self.mean, self.function = np.arange(3.0), np.float64(0.5), max

    def __reduce__(self):
        return HistoryBuffer, (), self.__dict__


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    shared = torch.randn(10)
    return {
        "plain": torch.randn(3, 4),
        "channels_last": torch.randn(2, 3, 5, 4).to(memory_format=torch.channels_last),
        "transposed": torch.randn(3, 4).t(),
        "part": shared[2:7],
        "other part": shared[5:],
        "expanded": torch.randn(1).expand(4),
        "number": torch.tensor(4),
        "empty": torch.zeros(0, 3),
        "half": torch.randn(3).half(),
        "bfloat16": torch.randn(3).bfloat16(),
        "double": torch.randn(3).double(),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "flags": torch.tensor([True, False]),
        "parameter": torch.nn.Parameter(torch.randn(2)),
    }


@pytest.mark.parametrize("how", [ZIP, EARLIER])
@pytest.mark.parametrize(
    "wrap", [dict, OrderedDict, lambda state: {"model": state}, lambda state: {"state_dict": state}]
)
def test_tensors_of_pytorch_come_back(tmp_path, how, wrap):
    expected = tensors()
    torch.save(wrap(expected), tmp_path / "x.pth", **how)
    file = read_published(tmp_path / "x.pth")
    assert file.tensors.keys() == expected.keys() and file.others == {}
    for name, stored in file.tensors.items():
        found = stored.read()
        assert stored.shape == tuple(expected[name].shape) and found.dtype == expected[name].dtype
        assert torch.equal(found, expected[name].detach()) and found.is_contiguous(), name


@pytest.mark.parametrize("how", [ZIP, EARLIER])
def test_the_state_dict_of_a_module(tmp_path, how):
    """An ordered dictionary with attributes of its own."""
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.save(module.state_dict(), tmp_path / "x.pth", **how)
    file = read_published(tmp_path / "x.pth")
    assert all(torch.equal(stored.read(), module.state_dict()[name]) for name, stored in file.tensors.items())
    assert len(file.tensors) == 7


@pytest.mark.parametrize("how", [ZIP, EARLIER])
def test_objects_of_unknown_classes_beside_the_tensors_do_no_harm(tmp_path, how):
    meta = {"CLASSES": ("word",), "config": "model = dict()", "epoch": np.float64(3), "hub": HistoryBuffer(), 5: {1, 2}}
    content = {"meta": meta, "state_dict": {"w": torch.ones(2)}, "message_hub": {"loss": HistoryBuffer()}}
    torch.save(content, tmp_path / "x.pth", **how)
    file = read_published(tmp_path / "x.pth")
    assert torch.equal(file.tensors["w"].read(), torch.ones(2))
    assert file.meta["CLASSES"] == ("word",) and file.meta["config"] == "model = dict()"


def test_what_stands_among_the_tensors_and_is_none_is_named(tmp_path):
    state = {"w": torch.ones(2), "epoch": 3, "hub": HistoryBuffer(), "sparse": torch.eye(2).to_sparse()}
    torch.save(state, tmp_path / "x.pth")
    others = read_published(tmp_path / "x.pth").others
    assert others["epoch"] == "a int" and others["hub"].endswith("HistoryBuffer")
    assert others["sparse"] == "an object of torch._utils._rebuild_sparse_tensor"


ARRAYS = {
    "float32": np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
    "columns first": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "big-endian": np.arange(3, dtype=">f4"),
    "whole": np.arange(4, dtype=np.int64),
    "number": np.float32(1.5),
    "nothing": np.zeros((0, 3), np.float32),
    "none at all": np.array(2.5),
}


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_in_a_plain_pickle(tmp_path, protocol):
    content = {"model": ARRAYS, "__author__": "Detectron2 Model Zoo"}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, protocol))
    file = read_published(tmp_path / "x.pkl")
    assert file.tensors.keys() == ARRAYS.keys()
    for name, stored in file.tensors.items():
        np.testing.assert_array_equal(stored.read().numpy(), ARRAYS[name])


def test_arrays_as_python_2_wrote_them(tmp_path):
    """Bytes are text there; this is `{"model": {"w": array([1, 2], float32)}}`, by its instructions."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR"
        b"(K\x01(K\x02tcnumpy\ndtype\n(U\x02f4K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x08" + np.array([1, 2], "<f4").tobytes() + b"tb"
    )
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02}U\x05model}U\x01w" + array + b"ss.")
    stored = read_published(tmp_path / "x.pkl").tensors["w"]
    assert stored.read().tolist() == [1.0, 2.0]


# Hostile files


def one_line(path: Path) -> str:
    with pytest.raises(ValueError) as error:
        read_published(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value) and len(str(error.value)) < 600
    return str(error.value).removeprefix(f"{path}: ")


class Harm:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def save_plain(value: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(value))


@pytest.mark.parametrize(
    "save",
    [torch.save, lambda value, path: torch.save(value, path, **EARLIER), save_plain],
    ids=["zip", "earlier", "pkl"],
)
def test_code_is_refused_and_not_run(tmp_path, save):
    harm = tmp_path / "harm"
    save({"model": {"w": torch.ones(2) if save is not save_plain else np.ones(2)}, "x": Harm(harm)}, tmp_path / "x.pth")
    assert "refused: it asks to call posix.system while loading" in one_line(tmp_path / "x.pth")
    assert not harm.exists()


def test_a_plain_pickle_may_name_nothing_but_arrays(tmp_path):
    """Its format has no reason to; PyTorch's has, and leaves what it does not know where it is."""
    save_plain({"model": {"w": np.ones(2)}, "x": HistoryBuffer()}, tmp_path / "x.pkl")
    assert "it asks to call " in one_line(tmp_path / "x.pkl") and "HistoryBuffer" in one_line(tmp_path / "x.pkl")
    save_plain({"model": {"w": torch.ones(2)}}, tmp_path / "x.pkl")
    assert "it asks to call torch" in one_line(tmp_path / "x.pkl")


@pytest.mark.parametrize("how", [ZIP, EARLIER])
@pytest.mark.parametrize("kept", [0, 1, 30, 0.3, 0.6, 0.9, 0.999])
def test_truncated_files(tmp_path, how, kept):
    torch.save({name: value for name, value in tensors().items() if name != "empty"}, tmp_path / "whole.pth", **how)
    content = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "x.pth").write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    assert one_line(tmp_path / "x.pth").startswith("refused: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "refused: it is empty"),
        (b"<!DOCTYPE html><html><head>", "refused: it is a web page (b'<!DOCTYPE html><html'...), as a failed"),
        (b"\n\n  <HTML>", "refused: it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "refused: it begins b'version https://', expected what"),
        (b"PK\x03\x04", "refused: truncated or damaged zip"),
        (b"\x80\x02}.", None),
        (b"\x80\x02K\x05.", "refused: it holds a number, expected weights"),
        (b"\x80\x02]K\x05a.", "refused: it holds a list, expected weights by name"),
    ],
)
def test_what_is_no_file_of_weights(tmp_path, content, message):
    (tmp_path / "x.pth").write_bytes(content)
    if message is None:
        assert read_published(tmp_path / "x.pth").tensors == {}
    else:
        assert one_line(tmp_path / "x.pth").startswith(message)


def test_other_formats_and_places(tmp_path):
    safetensors.torch.save_file({"w": torch.ones(2)}, tmp_path / "x.safetensors")
    assert "it is a safetensors file" in one_line(tmp_path / "x.safetensors")
    assert one_line(tmp_path) == "found a folder, expected a file of weights"
    assert one_line(tmp_path / "none") == "found no such file, expected a file of weights"
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth", **EARLIER)
    assert "it holds a whole program, expected weights" in one_line(tmp_path / "module.pth")
    torch.save({"w": torch.ones(2)}, tmp_path / "script.pth")
    with zipfile.ZipFile(tmp_path / "script.pth", "a") as archive:
        archive.writestr("script/constants.pkl", b"")
    assert "it is a TorchScript program" in one_line(tmp_path / "script.pth")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    assert "a zip with 0 data.pkl" in one_line(tmp_path / "other.zip")


def rewrite_zip(path: Path, change) -> None:
    """Writes the entries of a zip again, as `change` gives them: (name, content) -> (content, compression)."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            changed, compression = change(name, content)
            archive.writestr(name, changed, compression)


def test_numbers_that_are_packed_or_of_another_count_are_refused(tmp_path):
    """A deflated entry of a kilobyte may claim a gigabyte."""
    path = tmp_path / "x.pth"
    torch.save({"w": torch.zeros(1000)}, path)
    rewrite_zip(path, lambda name, content: (content, 8 if "/data/" in name else 0))
    assert "the numbers of storage 0 are missing, packed, or not 1,000" in one_line(path)
    torch.save({"w": torch.zeros(1000)}, path)
    rewrite_zip(path, lambda name, content: (content[:-4] if "/data/" in name else content, 0))
    assert "the numbers of storage 0" in one_line(path)


def test_a_pickle_that_claims_to_be_huge_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(published_files, "LARGEST_PICKLE", 100)
    torch.save(tensors(), tmp_path / "x.pth")
    assert "its data.pkl claims" in one_line(tmp_path / "x.pth")


def test_a_wrong_sum_is_noticed_when_the_numbers_are_read(tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"w": torch.full((1000,), 3.0)}, path)
    content = bytearray(path.read_bytes())
    place = content.index(np.full(4, 3.0, np.float32).tobytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(Unreadable, match="damaged zip"):
        read_published(path).tensors["w"].read()


def test_a_tensor_that_claims_more_than_there_is(tmp_path):
    """Its shape and strides are text in the pickle: a view of terabytes, or one beyond its numbers."""
    path = tmp_path / "x.pth"
    torch.save({"w": torch.zeros(1).expand(10**6, 10**6)}, path)
    assert read_published(path).tensors["w"].shape == (10**6, 10**6)  # known without any memory
    torch.save({"w": torch.zeros(6)[2:5]}, path)
    rewrite_zip(path, lambda name, content: (content.replace(b"K\x02K\x03\x85", b"K\x04K\x03\x85"), 0))
    with pytest.raises(Unreadable, match="reaches beyond its numbers"):
        read_published(path).tensors["w"].read()
    rewrite_zip(path, lambda name, content: (content.replace(b"K\x04K\x03\x85", b"K\x04J\xff\xff\xff\xff\x85"), 0))
    assert read_published(path).others == {"w": "an object of torch._utils._rebuild_tensor_v2"}


def test_a_storage_larger_than_any_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(published_files, "LARGEST_STORAGE", 1000)
    for how in (ZIP, EARLIER):
        torch.save({"w": torch.zeros(1000)}, tmp_path / "x.pth", **how)
        assert "claims 1,000 numbers" in one_line(tmp_path / "x.pth")


def test_arrays_of_objects_or_of_another_length_are_none(tmp_path):
    save_plain({"model": {"o": np.array([{}], dtype=object), "t": np.array(["text"])}}, tmp_path / "x.pkl")
    assert set(read_published(tmp_path / "x.pkl").others) == {"o", "t"}
    content = pickle.dumps({"model": {"w": np.arange(300, dtype=np.float32)}}, 2)
    assert content.count(b"M,\x01\x85") == 1
    (tmp_path / "x.pkl").write_bytes(content.replace(b"M,\x01\x85", b"M-\x01\x85"))
    with pytest.raises(Unreadable, match="damaged array"):
        read_published(tmp_path / "x.pkl").tensors["w"].read()


def test_names_that_a_terminal_would_obey_are_refused(tmp_path):
    torch.save({"\x1b[31mw": torch.ones(1)}, tmp_path / "x.pth")
    assert "the name of a tensor is no text that can be printed" in one_line(tmp_path / "x.pth")
    torch.save({("a", 1): torch.ones(1)}, tmp_path / "x.pth")
    assert "the name of a tensor" in one_line(tmp_path / "x.pth")


@pytest.mark.parametrize("how", [ZIP, EARLIER])
def test_any_wrong_byte_gives_tensors_or_one_line(tmp_path, how):
    content = io.BytesIO()
    torch.save({"meta": {"CLASSES": ("a",)}, "state_dict": OrderedDict(tensors())}, content, **how)
    random = np.random.default_rng(1)
    refused = 0
    for _ in range(150):
        changed = bytearray(content.getvalue())
        for _ in range(random.integers(1, 4)):
            changed[random.integers(len(changed))] = random.integers(256)
        (tmp_path / "x.pth").write_bytes(changed)
        try:
            for stored in read_published(tmp_path / "x.pth").tensors.values():
                if np.prod(stored.shape, dtype=float) < 1e6:
                    stored.read()
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 15
