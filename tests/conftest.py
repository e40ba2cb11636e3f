"""What several test files share."""

import os
from pathlib import Path

import pytest

from maskrcnn.ops import register

try:
    import hypothesis
except ImportError:  # tests/gpu need nothing but torch and pytest
    pass
else:
    # The same examples in every run, so that no run fails by chance. HYPOTHESIS_PROFILE=thorough searches on.
    hypothesis.settings.register_profile("fast", max_examples=30, derandomize=True, database=None, deadline=None)
    hypothesis.settings.register_profile("thorough", max_examples=1000, deadline=None)
    hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


def pytest_report_header() -> str:
    if register.extension is None:
        return f"maskrcnn ops: PyTorch, because {register.extension_missing_because}"
    return f"maskrcnn ops: {register.extension.__file__}"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and annotations, which is not part of the repository: MASKRCNN_SHARED_DATA, or
    `shared/data` beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MASKRCNN_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"needs the shared data, and there is no {folder}")
    return folder
