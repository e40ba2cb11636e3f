"""The compiled ops under AddressSanitizer and UndefinedBehaviorSanitizer, given all that the property tests try."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_install import copy_of_the_sources

TESTS = Path(__file__).parent
SANITIZERS = "address,undefined,float-cast-overflow"

pytestmark = pytest.mark.slow


def compiler(*arguments: str | Path) -> subprocess.CompletedProcess:
    command = [os.environ.get("CXX", "c++"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory) -> str:
    """The libraries of the sanitizer, which must be loaded before anything else, and who throws for them."""
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.cpp").write_text("int main() {}\n")
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        pytest.skip("there is no C++ compiler")
    if compiler(f"-fsanitize={SANITIZERS}", folder / "probe.cpp", "-o", folder / "probe").returncode != 0:
        pytest.skip(f"the compiler has no -fsanitize={SANITIZERS}")
    libraries = [compiler(f"-print-file-name={name}").stdout.strip() for name in ("libasan.so", "libstdc++.so")]
    if not all(os.path.isabs(library) for library in libraries):
        pytest.skip("the compiler has no library of AddressSanitizer that can be loaded first")
    return " ".join(libraries)


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory) -> Path:
    """A copy of the sources and the property tests, compiled with the sanitizers."""
    folder = copy_of_the_sources(tmp_path_factory.mktemp("sanitized") / "maskrcnn")
    (folder / "tests").mkdir()
    for path in TESTS.glob("*.py"):
        if path.name.startswith("test_properties_") or not path.name.startswith("test_"):  # and what they import
            shutil.copy(path, folder / "tests")
    build(folder)
    return folder


def build(folder: Path) -> None:
    environment = os.environ | {"MASKRCNN_SANITIZE": SANITIZERS, "FORCE_CPU": "1"}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0 and list((folder / "maskrcnn").glob("_C.*.so")), result.stdout + result.stderr


def run(folder: Path, runtime: str, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0",  # Python itself leaves memory to the end of the process
        "PYTHONPATH": str(folder),
        "MASKRCNN_OPS": "",
        "HYPOTHESIS_PROFILE": "fast",
    }
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_property_tests_find_nothing(sanitized, runtime):
    result = run(sanitized, runtime, "-m", "pytest", "-s", "-p", "no:cacheprovider", "tests")
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-5000:]
    assert f"maskrcnn ops: {sanitized}/maskrcnn/_C." in result.stdout
    assert "passed" in result.stdout and "skipped" not in result.stdout
    flags = run(sanitized, runtime, "-c", "from maskrcnn import ops; print(ops.build_information()['flags'])")
    assert f"-fsanitize={SANITIZERS}" in flags.stdout


BUGS = {
    "RoIAlign reads the row after the last": (
        "pyramid_roi_align/pyramid_roi_align.h", "if (low >= extent - 1) {", "if (low >= extent) {", "pooling",
    ),
    "a bitmap is longer than its tensor": (
        "crop_masks/crop_masks.h", "(x1 < x2 && y2 - y1 > (total - offset) / (x2 - x1))", "total < 0", "masks",
    ),
}  # fmt: skip
"""File, what is written there, what is written there instead, and the property tests that fail then."""


@pytest.mark.parametrize("file, right, wrong, tests", BUGS.values(), ids=BUGS)
def test_a_planted_read_out_of_bounds_is_found(sanitized, runtime, file, right, wrong, tests):
    path = sanitized / "csrc" / file
    healthy = path.read_text()
    assert healthy.count(right) == 1
    path.write_text(healthy.replace(right, wrong))
    try:
        build(sanitized)
        result = run(
            sanitized, runtime, "-m", "pytest", "-s", "-p", "no:cacheprovider", f"tests/test_properties_{tests}.py"
        )
    finally:
        path.write_text(healthy)
    assert result.returncode != 0 and "ERROR: AddressSanitizer: " in result.stderr, result.stdout + result.stderr
