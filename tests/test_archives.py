"""Folders and zips read alike; hostile and damaged zips refused."""

import io
import multiprocessing
import pickle
import struct
import tracemalloc
import zipfile

import pytest

from maskrcnn.data import archives
from maskrcnn.data.archives import Files, find_files


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.fixture
def folder_and_zip(tmp_path):
    contents = {"b.txt": b"second", "a.txt": b"first", "empty.txt": b""}
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (tmp_path / "flat.zip").write_bytes(zipped(contents))
    (tmp_path / "nested.zip").write_bytes(zipped({f"inner/{name}": content for name, content in contents.items()}))
    return [folder, tmp_path / "flat.zip", tmp_path / "nested.zip"]


def test_a_folder_and_zips_of_it_read_alike(folder_and_zip):
    for path in folder_and_zip:
        files = Files(path)
        assert files.names == ["a.txt", "b.txt", "empty.txt"]
        assert [files.read(name) for name in files.names] == [b"first", b"second", b""]


def test_what_systems_add_is_no_file(tmp_path):
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "a.txt").write_bytes(b"x")
    (folder / "lost.txt").symlink_to("nowhere.txt")
    assert Files(folder).names == ["a.txt"]
    assert Files(folder).others == ["inner", "lost.txt"], "what is no file is not passed over without a word"
    archive = tmp_path / "x.zip"
    archive.write_bytes(zipped({"inner/": b"", "inner/a.txt": b"x", "__MACOSX/inner/._a.txt": b"x", ".DS_Store": b"x"}))
    assert Files(archive).names == ["a.txt"] and Files(archive).others == []


def test_the_folder_comes_before_the_zip(tmp_path):
    assert find_files(tmp_path, "data") is None
    (tmp_path / "data.zip").write_bytes(zipped({"z.txt": b"z"}))
    assert find_files(tmp_path, "data").names == ["z.txt"]
    (tmp_path / "data").mkdir()
    assert find_files(tmp_path, "data").names == []


def test_survives_being_sent_to_another_process(folder_and_zip):
    for path in folder_and_zip:
        files = Files(path)
        assert files.read("a.txt") == b"first"
        assert pickle.loads(pickle.dumps(files)).read("b.txt") == b"second"


def read_many(files: Files, wrong: multiprocessing.Value) -> None:
    for _ in range(300):
        for number in range(10):
            if files.read(f"{number}.txt") != str(number).encode() * 2000:
                wrong.value = 1


def test_forked_processes_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(zipped({f"{number}.txt": str(number).encode() * 2000 for number in range(10)}, zipfile.ZIP_STORED))
    files = Files(path)
    files.read("0.txt")  # the parent has the zip open
    context = multiprocessing.get_context("fork")
    wrong = context.Value("i", 0)
    workers = [context.Process(target=read_many, args=(files, wrong)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert wrong.value == 0


# errors


def test_missing_files_are_named(folder_and_zip, tmp_path):
    for path in folder_and_zip:
        with pytest.raises(ValueError, match=r"c\.txt: no such"):
            Files(path).read("c.txt")
    with pytest.raises(ValueError, match="found nothing there, expected a folder or a zip"):
        Files(tmp_path / "none.zip")


@pytest.mark.parametrize(
    "name", ["../../evil.txt", "/etc/evil.txt", "a/../../evil.txt", "C:\\evil.txt", "..\\evil.txt"]
)
def test_entries_that_try_to_leave_are_refused(tmp_path, name):
    path = tmp_path / "x.zip"
    path.write_bytes(zipped({"a.txt": b"", name: b"x"}))
    with pytest.raises(ValueError, match=r"found entry .*evil\.txt.*, expected a plain relative path"):
        Files(path)


@pytest.mark.parametrize("name", [".", "./.", ".\\."])
def test_entries_without_a_name_are_refused(tmp_path, name):
    path = tmp_path / "x.zip"
    path.write_bytes(zipped({"a.txt": b"", name: b"x"}))
    with pytest.raises(ValueError, match=r"x\.zip: found entry '.*', expected a plain relative path"):
        Files(path)


@pytest.mark.parametrize("name", ["\x1b[2Ja.txt", "a\n.txt", "a\r.txt", "in\tner/a.txt", "a\x85.txt", "a\u2028.txt"])
def test_names_with_control_characters_are_refused_and_quoted(tmp_path, name):
    (tmp_path / "x.zip").write_bytes(zipped({name: b"x"}))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name.replace("/", "")).write_bytes(b"x")
    for path in (tmp_path / "x.zip", tmp_path / "folder"):
        with pytest.raises(ValueError, match=r"found name '.*', expected one without control characters") as error:
            Files(path)
        assert str(error.value).isprintable()


def test_a_name_longer_than_that_of_any_file_is_refused(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(zipped({"a/" * 300 + "b" * 255: b"x"}))
    assert len(Files(path).names) == 1
    path.write_bytes(zipped({"b" * 256: b"x"}))
    with pytest.raises(ValueError, match=r"x\.zip: found a name of 256 letters, expected at most 255, as files have$"):
        Files(path)


def test_names_in_other_scripts_are_fine(tmp_path):
    names = ["Straße 1.txt", "夏\u3000の日.txt", "\N{FAMILY}.txt"]
    (tmp_path / "x.zip").write_bytes(zipped(dict.fromkeys(names, b"x")))
    assert Files(tmp_path / "x.zip").names == sorted(names)


def test_a_name_that_comes_twice_is_refused(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(zipped({"one/a.txt": b"1", "two/a.txt": b"2"}))
    with pytest.raises(ValueError, match=r"found a\.txt twice"):
        Files(path)


@pytest.mark.parametrize(
    "content", [b"", b"no zip at all", zipped({"a.txt": b"x" * 500})[:-30]], ids=["empty", "text", "cut off"]
)
def test_a_file_that_is_no_zip_is_named(tmp_path, content):
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.zip: found a file that is no complete zip"):
        Files(path)


def test_a_damaged_entry_is_named(tmp_path):
    data = bytearray(zipped({"a.txt": b"some text", "b.txt": b"more"}, zipfile.ZIP_STORED))
    data[data.index(b"some text")] ^= 1
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    files = Files(path)
    with pytest.raises(ValueError, match=r"x\.zip/a\.txt: found a damaged or encrypted entry \(Bad CRC"):
        files.read("a.txt")
    assert files.read("b.txt") == b"more"


def test_an_encrypted_entry_is_named(tmp_path):
    data = bytearray(zipped({"a.txt": b"some text"}))
    data[6] |= 1  # the flag, in the entry's own header and in the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.txt: found a damaged or encrypted entry"):
        Files(path).read("a.txt")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_FILE", 1000)
    path = tmp_path / "x.zip"
    path.write_bytes(zipped({"a.txt": b"0" * 100_000, "b.txt": b"0" * 1000}))
    files = Files(path)
    with pytest.raises(ValueError, match=r"a\.txt: found 100,000 bytes, expected at most 1,000"):
        files.read("a.txt")
    assert len(files.read("b.txt")) == 1000
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"0" * 1001)
    with pytest.raises(ValueError, match=r"a\.txt: found 1,001 bytes, expected at most 1,000"):
        Files(folder).read("a.txt")


@pytest.mark.parametrize("claimed", [0, 10, 5000])
def test_a_bomb_that_lies_about_its_size_unpacks_no_more_than_it_claims(tmp_path, claimed):
    data = bytearray(zipped({"a.txt": b"0" * 2**24}))
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, claimed)
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    files = Files(path)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"a\.txt: found a damaged or encrypted entry"):
        files.read("a.txt")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**20


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packing_that_cannot_be_undone_in_small_parts_is_refused(tmp_path, compression):
    path = tmp_path / "x.zip"
    path.write_bytes(zipped({"a.txt": b"text"}, compression))
    with pytest.raises(ValueError, match=r"a\.txt: found an entry packed by (bzip2|lzma), expected a stored or"):
        Files(path).read("a.txt")


def test_a_size_can_be_set_for_each_file(folder_and_zip):
    for path in folder_and_zip:
        files = Files(path)
        assert files.read("a.txt", 5) == b"first"
        with pytest.raises(ValueError, match=r"b\.txt: found 6 bytes, expected at most 5$"):
            files.read("b.txt", 5)


def test_a_large_file_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(ValueError, match=r"a\.txt: found 1,099,511,627,776 bytes"):
        Files(tmp_path).read("a.txt")


def test_texts_have_a_size_of_their_own_each_and_in_all(folder_and_zip, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_TEXT", 6)
    monkeypatch.setattr(archives, "LARGEST_TEXTS", 11)
    for path in folder_and_zip:
        files = Files(path)
        assert list(files.read_texts(["b.txt", "empty.txt", "a.txt"])) == [b"second", b"", b"first"]
        with pytest.raises(ValueError, match=r"found 12 bytes up to b\.txt, expected at most 11 in all"):
            list(files.read_texts(["b.txt", "b.txt"]))
    monkeypatch.setattr(archives, "LARGEST_TEXT", 5)
    for path in folder_and_zip:
        with pytest.raises(ValueError, match=r"b\.txt: found 6 bytes, expected at most 5$"):
            list(Files(path).read_texts(["a.txt", "b.txt"]))


def test_too_many_entries_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    path = tmp_path / "x.zip"
    path.write_bytes(zipped({f"{number}.txt": b"" for number in range(4)}))
    with pytest.raises(ValueError, match="found 4 entries, expected at most 3"):
        Files(path)
