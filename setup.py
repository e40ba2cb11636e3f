"""Builds and installs maskrcnn: `pip install --no-build-isolation -e .`, after torch is installed.

The C++ ops are compiled always, the CUDA ops where they can be; `FORCE_CUDA=1` and `FORCE_CPU=1` decide otherwise.
`MASKRCNN_SANITIZE=address,undefined` compiles the C++ ops with those sanitizers of GCC or Clang, for tests.
Compiling is allowed to fail: the ops then run in PyTorch, slower, and `maskrcnn.ops.build_information()` says why.
"""

import json
import os
import re
import shutil
import sys
from pathlib import Path

from setuptools import find_packages, setup

try:
    import torch
    from torch.utils import cpp_extension
    from torch.utils.cpp_extension import BuildExtension, CppExtension
except ImportError:
    sys.exit(
        "maskrcnn is built against an installed torch, and there is none here.\n"
        "Install torch first, then run: pip install --no-build-isolation -e .\n"
        "(Without --no-build-isolation pip builds in an empty environment, which has no torch either.)"
    )

ROOT = Path(__file__).parent
EXTENSION = "maskrcnn._C"
# The oldest PyTorch whose stable ABI the ops use, as in torch/headeronly/version.h: they run on it and all later ones.
TARGET_VERSION = "-DTORCH_TARGET_VERSION=0x020a000000000000"


def find_cuda_toolkit() -> str | None:
    """The folder of the CUDA toolkit. A CPU build of torch does not look for one, hence the guesses."""
    guesses = (cpp_extension.CUDA_HOME, os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda")
    return next((home for home in guesses if home and shutil.which("nvcc", path=str(Path(home) / "bin"))), None)


def decide_on_cuda() -> tuple[bool, str]:
    """Whether to compile the CUDA kernels, and why."""
    if os.environ.get("FORCE_CPU") == "1":
        return False, "FORCE_CPU=1 is set"
    if not list(ROOT.glob("csrc/*/cuda.cu")):
        return False, "this version has no CUDA kernels"
    toolkit = find_cuda_toolkit()
    if os.environ.get("FORCE_CUDA") == "1":
        if toolkit is None:
            sys.exit("FORCE_CUDA=1 is set, but nvcc was not found: install the CUDA toolkit or set CUDA_HOME")
        return True, "FORCE_CUDA=1 is set"
    if torch.version.cuda is None:
        return False, f"torch {torch.__version__} is a build without CUDA"
    if toolkit is None:
        return False, "nvcc was not found (the CUDA toolkit is not installed, or CUDA_HOME is not set)"
    return True, f"torch is a build for CUDA {torch.version.cuda}, and the toolkit is in {toolkit}"


def describe_extension(with_cuda: bool) -> CppExtension:
    """The one extension module, of all ops."""
    sanitizers, link_flags = os.environ.get("MASKRCNN_SANITIZE"), []
    if sys.platform == "win32":
        flags = ["/O2", "/fp:precise"]
    else:
        # No a * b + c in one rounding, so that every processor and every implementation computes the same bits.
        flags = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"]
    if sanitizers:
        link_flags = [f"-fsanitize={sanitizers}"]
        # Soon compiled, and with the lines of the source for the report. Types across libraries (vptr) are not checked.
        flags = ["-O1", "-g1", *flags[1:], *link_flags, "-fno-sanitize=vptr", "-fno-sanitize-recover=all"]
    sources = [ROOT / "csrc" / "build_information.cpp", *ROOT.glob("csrc/*/cpu*.cpp"), *ROOT.glob("csrc/*/binding.cpp")]
    macros: list[tuple[str, str | None]] = [("MASKRCNN_BUILD_FLAGS", f'"{" ".join(flags)}"')]
    compile_flags = {"cxx": [*flags, TARGET_VERSION]}
    headers = [*ROOT.glob("csrc/**/*.h"), *ROOT.glob("csrc/**/*.cuh")]
    extension = CppExtension(EXTENSION, [], include_dirs=pybind11_include(), depends=relative(headers))
    if with_cuda:
        # Not CUDAExtension: it links against libraries that only CUDA builds of torch have. The stable ABI needs none.
        cpp_extension.CUDA_HOME = find_cuda_toolkit()
        os.environ.setdefault("TORCH_CUDA_ARCH_LIST", "7.5;8.0;8.6;9.0+PTX")
        sources += ROOT.glob("csrc/*/cuda.cu")
        macros.append(("MASKRCNN_WITH_CUDA", None))
        compile_flags["nvcc"] = ["-O3", "--fmad=false", TARGET_VERSION]  # the same bits on the GPU, too
        extension.include_dirs += cpp_extension.include_paths(device_type="cuda")
        extension.library_dirs += cpp_extension.library_paths(device_type="cuda")
        extension.libraries.append("cudart")
        if sys.platform == "linux":
            # What csrc/cuda_launch.h asks of PyTorch is in a library of CUDA builds alone, which libtorch.so brings
            # along. No symbol is taken from libtorch.so itself, so many linkers would leave it out as not needed.
            link_flags += ["-Wl,--no-as-needed", "-ltorch"]
    extension.sources = relative(sources)
    extension.define_macros += macros
    extension.extra_compile_args = compile_flags
    extension.extra_link_args = link_flags
    return extension


def pybind11_include() -> list[str]:
    try:
        import pybind11
    except ImportError:
        return []  # torch carries a copy
    return [pybind11.get_include()]


def relative(paths) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in paths)


class OptionalBuildExtension(BuildExtension):
    """Compiles, or notes why not, in a report beside the ops (`maskrcnn/ops/build_report.json`)."""

    def run(self) -> None:
        failure, inplace = "", self.inplace  # which a failing run forgets
        # A failure of an optional extension is a warning that only distutils sees, and no exception.
        self._set_optional(False)
        try:
            super().run()
        except (Exception, SystemExit) as error:  # what is raised depends on the compiler and what it lacks
            if os.environ.get("FORCE_CUDA") == "1":
                raise
            self.inplace = inplace
            self._set_optional(True)  # so that what runs after this command does not ask for the file
            failure = f"compiling failed: {(str(error).splitlines() or [type(error).__name__])[0].rstrip('.')}"
            compiler = os.environ.get("CXX", "cl" if sys.platform == "win32" else "c++")
            if not shutil.which(compiler.split()[0]):
                failure = f"there is no C++ compiler ({compiler} was not found)"
        package = Path(self.get_finalized_command("build_py").get_package_dir("maskrcnn")).resolve()
        if failure:
            for stale in package.glob(f"{EXTENSION.rpartition('.')[2]}.*"):  # of an earlier build
                if stale.suffix in (".so", ".pyd"):
                    stale.unlink()
            print(f"maskrcnn: {failure}.\nmaskrcnn: installing without compiled ops; they run in PyTorch, slower.")
        if not inplace:
            package = Path(self.build_lib).resolve() / "maskrcnn"
        (package / "ops").mkdir(parents=True, exist_ok=True)
        report = {"failure": failure, "cuda": with_cuda, "cuda_because": cuda_because, "torch": torch.__version__}
        (package / "ops" / "build_report.json").write_text(json.dumps(report, indent=2) + "\n")

    def _set_optional(self, optional: bool) -> None:
        for extension in self.extensions:
            extension.optional = optional


with_cuda, cuda_because = decide_on_cuda()
print(f"maskrcnn: compiling the C++ ops {'and' if with_cuda else 'without'} the CUDA ops: {cuda_because}.")

setup(
    name="maskrcnn",
    version=re.search(r'^__version__ = "(.+)"$', (ROOT / "maskrcnn" / "__init__.py").read_text(), re.MULTILINE)[1],
    description="Mask R-CNN from scratch, for reading and for use: text and object detection",
    license="Apache-2.0",
    python_requires=">=3.11",
    install_requires=["torch>=2.10", "numpy", "pillow", "shapely", "matplotlib", "safetensors", "contourpy"],
    packages=find_packages(include=["maskrcnn", "maskrcnn.*"]),
    package_data={
        "maskrcnn": [
            "weights/*.safetensors", "weights/*.png", "**/*.md", "**/*.html", "**/*.css", "**/*.js", "**/*.json"
        ]
    },
    ext_modules=[describe_extension(with_cuda)],
    cmdclass={"build_ext": OptionalBuildExtension},
)
