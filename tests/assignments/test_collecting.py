"""A teacher's first steps: notebooks out of archives, and a deadline."""

import csv
import json
import zipfile

from course import Course


def test_notebooks_come_out_of_archives_with_the_names_of_their_students(tmp_path):
    course = Course(tmp_path, "a1-boxes")
    archives = tmp_path / "downloaded" / "a1-boxes" / "archive"
    archives.mkdir(parents=True)
    notebook = json.dumps(course.released)
    with zipfile.ZipFile(archives / "all.zip", "w") as archive:
        archive.writestr("ann/a1-boxes.ipynb", notebook)
        archive.writestr("Bob Lee_4711_assignsubmission_file_/a1-boxes.ipynb", notebook)
    with zipfile.ZipFile(archives / "cem.zip", "w") as archive:
        archive.writestr("a1-boxes.ipynb", notebook)
    with zipfile.ZipFile(archives / "dee.zip", "w") as archive:  # the folder that was handed out
        archive.writestr("a1-boxes/a1-boxes.ipynb", notebook)
        archive.writestr("a1-boxes/.ipynb_checkpoints/a1-boxes-checkpoint.ipynb", "{}")
        archive.writestr("__MACOSX/a1-boxes/._a1-boxes.ipynb", "")
    course.nbgrader("zip_collect", "a1-boxes")
    found = {path.relative_to(tmp_path / "submitted").as_posix() for path in tmp_path.glob("submitted/*/*/*")}
    assert found == {f"{student}/a1-boxes/a1-boxes.ipynb" for student in ("ann", "Bob Lee", "cem", "dee")}


def test_a_deadline_stands_in_the_grades(tmp_path):
    course = Course(tmp_path, "a1-boxes")
    for day in ("2027-03-01", "2027-03-08"):
        course.nbgrader("db", "assignment", "add", "a1-boxes", "--duedate", f"{day} 23:59")
    course.submit("late", course.released)
    (tmp_path / "submitted" / "late" / "a1-boxes" / "timestamp.txt").write_text("2027-03-09 12:00:00 UTC")
    course.grade()
    course.nbgrader("export")
    with (tmp_path / "grades.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["duedate"] == "2027-03-08 23:59:00" and row["timestamp"] == "2027-03-09 12:00:00"
    assert row["score"] == "0.0" and row["late_submission_penalty"] == "0.0"
