"""Installing: what setup.py decides and says, that it succeeds without a compiler, and what make does when."""

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
import torch

from maskrcnn import ops

ROOT = Path(__file__).resolve().parent.parent
POOL_AND_SUPPRESS = """
import torch
from maskrcnn import ops
boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 6], [20, 20, 30, 30]])
print(ops.nms(boxes, torch.tensor([0.8, 0.9, 0.5]), iou_threshold=0.5, max_keep=3).tolist())
ramp = (10 * torch.arange(8.0)[:, None] + torch.arange(8.0))[None, None]
settings = dict(output_size=2, strides=[1], sampling_ratio=2, aligned=True)
print(ops.pyramid_roi_align([ramp], torch.tensor([[[1.0, 1, 5, 5]]]), **settings).flatten().tolist())
with torch.autocast("cpu", dtype=torch.bfloat16):
    print(ops.pyramid_roi_align([ramp / 1024 + 1], torch.tensor([[[1.0, 1, 5, 5]]]), **settings).flatten().tolist())
build = ops.build_information()
print(build["compiled"], sorted(sum(build["ops"].values(), [])))
print(build["reason"])
"""
RESULTS = [
    "[1, 2, -1]",
    "[16.5, 18.5, 36.5, 38.5]",
    "[1.01611328125, 1.01806640625, 1.03564453125, 1.03759765625]",  # more digits than autocast would leave
]


def run(*command: str | Path, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(part) for part in command], cwd=folder, env=os.environ | environment, capture_output=True, text=True
    )


def copy_of_the_sources(folder: Path) -> Path:
    folder.mkdir()
    for name in ("setup.py", "pyproject.toml", "Makefile", "requirements.txt", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "csrc", folder / "csrc")
    ignore = shutil.ignore_patterns("_C.*", "build_report.json", "__pycache__", "*.safetensors")
    shutil.copytree(ROOT / "maskrcnn", folder / "maskrcnn", ignore=ignore)
    return folder


# The ops of this installation


@pytest.mark.skipif(os.environ.get("MASKRCNN_OPS") == "python", reason="compiled ops are switched off")
def test_ops_are_compiled_where_there_is_a_compiler():
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        pytest.skip("no C++ compiler")
    build = ops.build_information()
    assert build["compiled"], build["reason"]
    assert build["reason"] == ""
    assert all("CPU" in backends for backends in build["ops"].values())
    assert build["compiler"] and build["flags"]
    assert build["cuda"] == all("CUDA" in backends for backends in build["ops"].values())
    assert build["cuda_reason"]


def test_compiled_ops_can_be_switched_off():
    result = run(sys.executable, "-c", POOL_AND_SUPPRESS, MASKRCNN_OPS="python")
    assert result.stdout.splitlines() == [*RESULTS, "False []", "MASKRCNN_OPS=python is set"], result.stderr


# setup.py


def test_without_torch_setup_says_what_to_install():
    hide_torch = "import sys, runpy; sys.modules['torch'] = None; sys.argv = ['setup.py', '--version']; "
    result = run(sys.executable, "-c", hide_torch + "runpy.run_path('setup.py', run_name='__main__')")
    assert result.returncode != 0
    assert "Install torch first, then run: pip install --no-build-isolation -e ." in result.stderr
    assert "Traceback" not in result.stderr


def test_force_cpu_leaves_cuda_out_and_says_so():
    result = run(sys.executable, "setup.py", "--version", FORCE_CPU="1")
    assert "compiling the C++ ops without the CUDA ops: FORCE_CPU=1 is set." in result.stdout, result.stderr


LINKED_FLAGS = """
import runpy, sys, setuptools
setuptools.setup = lambda **settings: print(*settings["ext_modules"][0].extra_link_args)
sys.argv = ["setup.py", "--version"]
runpy.run_path("setup.py", run_name="__main__")
"""


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("c++") is None, reason="asks the linker of Linux")
def test_cuda_ops_bring_the_library_along_that_knows_the_stream(tmp_path):
    """Also where the linker leaves out what no symbol is taken from, as it does on Debian and Ubuntu."""
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    nvcc.touch(mode=0o755)
    result = run(sys.executable, "-c", LINKED_FLAGS, FORCE_CPU="", FORCE_CUDA="1", CUDA_HOME=str(tmp_path))
    assert result.returncode == 0, result.stderr
    flags = result.stdout.splitlines()[-1].split()
    (tmp_path / "empty.cpp").write_text("")
    libraries = Path(torch.__file__).parent / "lib"
    command = ["c++", "-shared", "-fPIC", tmp_path / "empty.cpp", "-Wl,--as-needed", f"-L{libraries}", "-ltorch"]
    for more, needed in ((), False), (flags, True):
        linked = run(*command, *more, "-o", tmp_path / "empty.so")
        assert linked.returncode == 0, linked.stderr
        assert (b"libtorch.so" in (tmp_path / "empty.so").read_bytes()) == needed


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["compiler", "compiling", "compiling and ninja"])
@pytest.mark.parametrize("in_place", [False, True])
def test_without_a_working_compiler_the_installation_succeeds_and_pytorch_stands_in(tmp_path, in_place, broken):
    """The compiler does not even tell its version, or fails at the first file: called by ninja, or by setuptools."""
    tools = tmp_path / "tools"
    tools.mkdir()
    compiler = tools / "compiler"
    refuses = "exit 1" if broken == "compiler" else 'for word; do [ "$word" != -c ] || exit 1; done'
    compiler.write_text(f"#!/bin/sh\n{refuses}\necho 13.3.0\n")
    compiler.chmod(0o755)
    if "ninja" in broken:
        (tools / "ninja").symlink_to(shutil.which("false"))
    elif broken == "compiling" and shutil.which("ninja") is None:
        pytest.skip("no ninja")
    folders = os.pathsep.join([str(tools), os.environ["PATH"]])
    source = copy_of_the_sources(tmp_path / "source")
    if in_place:  # as for `pip install -e`
        site = source
        (source / "maskrcnn" / f"_C{EXTENSION_SUFFIXES[0]}").write_text("left by an earlier build")
        command = (sys.executable, "setup.py", "build_ext", "--inplace")
    else:
        site = tmp_path / "site"
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-build-isolation")
        command = (*pip, "--no-deps", "--target", site, ".")
    result = run(*command, folder=source, CXX=str(compiler), PATH=folders)
    assert result.returncode == 0, result.stderr
    assert not list((site / "maskrcnn").glob("_C*"))
    # -S: an editable installation of this repository would offer its own compiled ops in addition.
    paths = os.pathsep.join([str(site), sysconfig.get_path("purelib")])
    result = run(sys.executable, "-S", "-c", POOL_AND_SUPPRESS, folder=tmp_path, PYTHONPATH=paths, MASKRCNN_OPS="")
    *results, compiled, reason = result.stdout.splitlines()
    assert results == RESULTS and compiled == "False []", result.stderr
    assert reason.startswith("compiling failed: ")


# make


@pytest.fixture
def make(tmp_path):
    """Runs make in a copy of the sources in which Python is a script that only notes how it was called.

    What it makes as .venv/bin/python notes its calls as well, and fails at `pip` while there is a file `broken`.
    """
    if shutil.which("make") is None:
        pytest.skip("no make")
    source = copy_of_the_sources(tmp_path / "source")
    in_environment, python = tmp_path / "in_environment", tmp_path / "python"
    in_environment.write_text(
        f'#!/bin/sh\necho "env $*" >> {tmp_path}/calls\n[ "$2" != pip ] || [ ! -e {tmp_path}/broken ]\n'
    )
    python.write_text(
        f'#!/bin/sh\necho "python $*" >> {tmp_path}/calls\n'
        f'[ "$2" != venv ] || {{ mkdir -p .venv/bin && cp {in_environment} .venv/bin/python; }}\n'
    )
    in_environment.chmod(0o755)
    python.chmod(0o755)

    def run_make(target: str) -> tuple[bool, list[str]]:
        """Whether make succeeded, and what it called Python with."""
        calls = tmp_path / "calls"
        calls.write_text("")
        result = run("make", target, f"PYTHON={python}", folder=source, MAKEFLAGS="")
        return result.returncode == 0, calls.read_text().splitlines()

    run_make.source, run_make.broken = source, tmp_path / "broken"
    return run_make


def test_make_setup_installs_once(make):
    succeeded, calls = make("setup")
    assert succeeded
    assert [call for call in calls if "venv" in call] == ["python -m venv --clear .venv"]
    requirements, package = (call for call in calls if "pip install" in call)
    assert requirements.endswith("--requirement requirements.txt")
    assert "--no-build-isolation" in package and package.endswith("--editable .")
    assert make("setup") == (True, [])


@pytest.mark.parametrize("name", ["requirements.txt", "setup.py", "pyproject.toml", "csrc/nms/nms.h"])
def test_make_setup_installs_again_when_something_changed(make, name):
    make("setup")
    later = (make.source / ".venv" / ".setup-complete").stat().st_mtime + 10
    os.utime(make.source / name, (later, later))
    succeeded, calls = make("setup")
    assert succeeded
    assert sum("pip install" in call for call in calls) == 2
    assert not any("venv" in call for call in calls), "the environment is kept"


def test_make_setup_starts_over_after_a_failure(make):
    make.broken.touch()
    succeeded, calls = make("setup")
    assert not succeeded
    make.broken.unlink()
    succeeded, calls = make("setup")
    assert succeeded
    assert calls[1] == "python -m venv --clear .venv"
    assert make("setup") == (True, [])


@pytest.mark.parametrize(
    "target, command",
    [
        ("test", "env -m pytest -n auto --maxprocesses 4 --dist loadfile"),
        ("test-fast", "env -m pytest -n auto --maxprocesses 4 --dist loadfile -m not slow"),
        ("test-gpu", "env -m pytest tests/gpu"),
        ("demo", "env -m maskrcnn demo --out runs/demo"),
    ],
)
def test_make_targets_install_first(make, target, command):
    succeeded, calls = make(target)
    assert succeeded
    assert calls[-1] == command
    assert sum("pip install" in call for call in calls) == 2
    assert make(target) == (True, [command])
