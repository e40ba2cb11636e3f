"""What several test files share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and annotations, which is not part of the repository: MASKRCNN_SHARED_DATA, or
    `shared/data` beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MASKRCNN_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"needs the shared data, and there is no {folder}")
    return folder
