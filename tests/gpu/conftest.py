"""Everything in this folder needs a GPU and the CUDA kernels: `make test-gpu`."""

import pytest
import torch

from maskrcnn import ops


@pytest.fixture(autouse=True)
def cuda_kernels() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU, and PyTorch finds none")
    build = ops.build_information()
    if not build["cuda"]:
        pytest.skip(f"the CUDA kernels are not compiled: {build['reason'] or build['cuda_reason']}")
