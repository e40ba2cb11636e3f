"""Writing ICDAR2015 files: lines by hand, bytes, reading back, and that nothing is left where something fails."""

import os
from dataclasses import replace

import numpy as np
import pytest
from small_samples import sample_with

from maskrcnn.data.icdar import FOLDERS, ICDAR2015
from maskrcnn.data.icdar_writer import annotation_lines, write_icdar2015
from maskrcnn.data.rendered_text import DEMO, RenderedText

QUAD = np.array([[1.4, 2.0], [30.6, 3.0], [29.0, 12.5], [2.0, 11.0]])
STRAIGHT = replace(DEMO, height=(160, 160), width=(240, 240), curved_fraction=0.0, ignored=(1, 3))


def every_file(directory) -> dict[str, bytes]:
    return {
        os.path.relpath(os.path.join(folder, name), directory): open(os.path.join(folder, name), "rb").read()
        for folder, _, names in os.walk(directory)
        for name in names
    }


# one annotation file


def test_lines_by_hand():
    sample = sample_with((QUAD, False, "$8,888"), (QUAD + 5, True, "unreadable"), (QUAD, False, "été"))
    assert annotation_lines(sample) == (
        "1,2,31,3,29,12,2,11,$8,888\r\n"
        "6,7,36,8,34,18,7,16,###\r\n"
        "1,2,31,3,29,12,2,11,été\r\n"
    )  # fmt: skip


def test_a_picture_without_words_has_an_empty_file():
    assert annotation_lines(sample_with()) == ""


@pytest.mark.parametrize("text", ["", " two  words ", '"SCAN"', ' "a" ', '"', '"CARD', "a,b,", '"say \\"hi\\""'])
def test_any_line_of_text_reads_back(text):
    lines = annotation_lines(sample_with((QUAD, False, text)))
    assert ICDAR2015.read_annotations(lines.encode(), "gt_img_7.txt").transcriptions == (text,)


@pytest.mark.parametrize(
    ("polygon", "text", "message"),
    [
        (QUAD[:3], "a", "found 3 corners, expected 4"),
        (np.repeat(QUAD, 3, axis=0), "a", "found 12 corners, expected 4"),
        (QUAD[::-1], "a", "expected a clockwise quadrilateral"),
        (QUAD[[0, 2, 1, 3]], "a", "expected a clockwise quadrilateral"),
        (QUAD * 0.01, "a", "expected a clockwise quadrilateral"),
        (QUAD, "###", "found transcription '###'"),
        (QUAD, "two\nlines", "expected one line of text"),
        (QUAD, "two\rlines", "expected one line of text"),
    ],
)
def test_what_the_format_cannot_express(polygon, text, message):
    with pytest.raises(ValueError, match=message) as error:
        annotation_lines(sample_with((QUAD, True, "###"), (polygon, False, text)))
    assert str(error.value).startswith("img_7.jpg: object 2: ")
    assert "\n" not in str(error.value)


def test_an_object_needs_a_transcription_unless_it_is_ignored():
    sample = sample_with((QUAD, True, "###"))
    assert annotation_lines(replace(sample, transcriptions=())) == annotation_lines(sample)
    with pytest.raises(ValueError, match="found transcription None"):
        annotation_lines(replace(sample, transcriptions=(), ignore=np.array([False])))


# the whole data set


def test_the_official_layout(tmp_path):
    train = [sample_with((QUAD, False, "A")), sample_with()]
    test = [sample_with((QUAD, False, "é"), (QUAD, True, "###"))]
    write_icdar2015(train, test, tmp_path / "new" / "set")
    files = every_file(tmp_path / "new" / "set")
    pictures = {name: content for name, content in files.items() if name.endswith(".jpg")}
    assert {name: content for name, content in files.items() if name not in pictures} == {
        "ch4_training_localization_transcription_gt/gt_img_1.txt": b"\xef\xbb\xbf1,2,31,3,29,12,2,11,A\r\n",
        "ch4_training_localization_transcription_gt/gt_img_2.txt": b"\xef\xbb\xbf",
        "Challenge4_Test_Task1_GT/gt_img_1.txt": (
            b"1,2,31,3,29,12,2,11,\xc3\xa9\r\n1,2,31,3,29,12,2,11,###\r\n"
        ),
    }  # fmt: skip
    assert sorted(pictures) == [
        "ch4_test_images/img_1.jpg",
        "ch4_training_images/img_1.jpg",
        "ch4_training_images/img_2.jpg",
    ]
    assert all(content.startswith(b"\xff\xd8\xff") for content in pictures.values())


def test_the_reader_gets_back_what_was_rendered(tmp_path):
    splits = {"train": RenderedText(4, 1, STRAIGHT), "test": RenderedText(2, 2, STRAIGHT)}
    write_icdar2015(splits["train"], splits["test"], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*FOLDERS["train"], *FOLDERS["test"]])
    for split, rendered in splits.items():
        read = ICDAR2015(tmp_path, split)
        assert read.names == [f"img_{number}.jpg" for number in range(1, len(rendered) + 1)]
        assert read.problems == ()
        for there, here in zip(read, rendered, strict=True):
            np.testing.assert_array_equal(there.polygons, np.rint(here.polygons))
            np.testing.assert_array_equal(there.ignore, here.ignore)
            assert there.transcriptions == here.transcriptions
            assert there.image.shape == here.image.shape
            brightness = [sample.image.mean(axis=2) for sample in (there, here)]  # JPEG keeps less of the colours
            assert np.abs(brightness[0] - brightness[1]).mean() < 4


def test_the_same_seed_gives_the_same_files(tmp_path):
    for name in ("once", "twice"):
        write_icdar2015(RenderedText(2, 5, STRAIGHT), RenderedText(1, 6, STRAIGHT), tmp_path / name)
    once = every_file(tmp_path / "once")
    assert len(once) == 6
    assert once == every_file(tmp_path / "twice")


# what fails


def test_a_directory_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="found a directory with something in it") as error:
        write_icdar2015([sample_with()], [], tmp_path)
    assert str(error.value).startswith(str(tmp_path))
    assert every_file(tmp_path) == {"notes.txt": b"mine"}


def test_a_place_that_cannot_be_written_is_named_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "set"):
        with pytest.raises(OSError, match="cannot be written: Not a directory") as error:
            write_icdar2015([sample_with()], [], place)
        assert str(error.value).startswith(f"{place}: ")
        assert "\n" not in str(error.value)
    assert every_file(tmp_path) == {"file": b""}


def test_curved_text_is_refused_and_leaves_nothing(tmp_path):
    curved = RenderedText(8, 1, replace(STRAIGHT, curved_fraction=1.0))
    with pytest.raises(ValueError, match=r"rendered_00000\d.png: object 1: found 14 corners"):
        write_icdar2015(RenderedText(2, 1, STRAIGHT), curved, tmp_path / "set")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_run_leaves_nothing(tmp_path, failure):
    class Failing:
        def __len__(self):
            return 2

        def __getitem__(self, index):
            if index == 1:
                raise failure
            return sample_with()

    with pytest.raises(type(failure)) as error:
        write_icdar2015([sample_with()], Failing(), tmp_path)
    assert list(tmp_path.iterdir()) == []
    if isinstance(failure, OSError):
        assert str(error.value) == f"{tmp_path}: cannot be written: No space left on device"


class Interrupted:
    """A split during whose writing something happens, and which then fails."""

    def __init__(self, meanwhile) -> None:
        self.meanwhile = meanwhile

    def __len__(self):
        return 1

    def __getitem__(self, index):
        self.meanwhile()
        raise KeyboardInterrupt


def test_what_others_put_there_meanwhile_stays(tmp_path):
    def meanwhile():
        (tmp_path / "set" / "theirs").mkdir()
        (tmp_path / "set" / "theirs" / "notes.txt").write_text("mine")

    with pytest.raises(KeyboardInterrupt):
        write_icdar2015([sample_with()], Interrupted(meanwhile), tmp_path / "set")
    assert every_file(tmp_path) == {"set/theirs/notes.txt": b"mine"}
    assert os.listdir(tmp_path / "set") == ["theirs"]


def test_a_second_run_in_the_same_directory_leaves_the_first_alone(tmp_path):
    class Second:
        def __len__(self):
            return 1

        def __getitem__(self, index):
            before = every_file(tmp_path)
            with pytest.raises(FileExistsError, match=r"\.unfinished: found an unfinished data set; if no other run"):
                write_icdar2015([sample_with()], [], tmp_path / "set")
            assert before and every_file(tmp_path) == before
            return sample_with()

    write_icdar2015([sample_with()], Second(), tmp_path / "set")
    assert sorted(os.listdir(tmp_path / "set")) == sorted([*FOLDERS["train"], *FOLDERS["test"]])


def test_what_a_killed_run_left_is_named(tmp_path):
    (tmp_path / ".unfinished" / "ch4_training_images").mkdir(parents=True)
    with pytest.raises(FileExistsError) as error:
        write_icdar2015([sample_with()], [], tmp_path)
    assert str(error.value) == (
        f"{tmp_path / '.unfinished'}: found an unfinished data set; if no other run is writing it, remove that folder"
    )
    assert (tmp_path / ".unfinished" / "ch4_training_images").is_dir()


def test_a_failure_while_moving_into_place_leaves_nothing(tmp_path, monkeypatch):
    moves = []

    def rename(self, target):
        moves.append(target)
        if len(moves) == 3:
            raise PermissionError(13, "Permission denied")
        os.rename(self, target)

    monkeypatch.setattr("pathlib.Path.rename", rename)
    with pytest.raises(PermissionError, match="cannot be written: Permission denied"):
        write_icdar2015([sample_with()], [sample_with()], tmp_path / "set")
    assert len(moves) == 3
    assert not (tmp_path / "set").exists()
