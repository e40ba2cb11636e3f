"""Where 16 bits end, and why they do."""

import pytest
import torch

from maskrcnn.precision import widened


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_sixteen_bits_become_thirty_two_and_nothing_becomes_less(dtype, expected):
    values = torch.tensor([1.0, 0.5], dtype=dtype, requires_grad=True)
    assert widened(values).dtype == expected and widened(values).tolist() == [1.0, 0.5]
    widened(values).sum().backward()
    assert values.grad.dtype == dtype and values.grad.tolist() == [1.0, 1.0]


def test_what_16_bits_do_to_a_coordinate_and_to_a_sum():
    """What the docstring says of bfloat16."""
    assert torch.tensor(1001.0, dtype=torch.bfloat16).item() != 1001.0
    total = torch.zeros((), dtype=torch.bfloat16)
    for _ in range(1000):
        total += 0.5
    assert total == 128
