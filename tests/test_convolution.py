"""The 3 x 3 convolution by Winograd's algorithm: by hand, the loop, PyTorch's convolution, gradients, edges."""

from unittest import mock

import pytest
import torch
import torch.nn.functional as F

from maskrcnn.model.convolution import Convolution3x3
from maskrcnn.ops import convolution, register
from maskrcnn.ops.convolution import convolve, convolve_at
from maskrcnn.reference import winograd

LANES = [lanes for lanes in (4, 8, 16) if lanes == 4 or lanes <= convolution.LANES]
"""Registers that this processor has; 4 floats are an array, which all have. Without compiled ops all run in PyTorch."""

compiled = pytest.mark.skipif(register.extension is None, reason="of the compiled op; `convolve` calls no other")


def random(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def layer(out_channels, in_channels):
    """Kernel (O, I, 3, 3) whose results are about as large as the maps, and bias."""
    return random(out_channels, in_channels, 3, 3, seed=1) / (3 * in_channels**0.5), random(out_channels, seed=2)


def maps(*shape, dtype=torch.float32):
    return random(*shape, dtype=dtype).contiguous(memory_format=torch.channels_last)


def by_winograd(x, kernel, bias, lanes):
    weights = torch.ops.maskrcnn.transform_kernel_3x3(kernel.permute(2, 3, 1, 0), lanes)
    return torch.ops.maskrcnn.convolve_3x3(x, weights, bias, len(kernel), lanes)


# --- What it computes -------------------------------------------------------------------------------------------------


def test_a_tile_by_hand():
    """A kernel with a single 1 moves the picture: the result is the part of the tile under that weight."""
    tile = torch.arange(36.0, dtype=torch.float64).view(6, 6)
    for y in range(3):
        for x in range(3):
            kernel = torch.zeros(3, 3, dtype=torch.float64)
            kernel[y, x] = 1
            torch.testing.assert_close(winograd.results_of_tile(tile, kernel), tile[y : y + 4, x : x + 4])


def test_the_loop_is_a_convolution():
    x, kernel, bias = (random(2, 3, 6, 9), *layer(2, 3))
    x, kernel, bias = x.double(), kernel.double(), bias.double()
    torch.testing.assert_close(winograd.convolve_3x3(x, kernel, bias), F.conv2d(x, kernel, bias, padding=1))


@pytest.mark.parametrize("lanes", LANES)
def test_the_op_is_the_loop(lanes):
    x, (kernel, bias) = maps(2, 16, 5, 6), layer(16, 16)
    expected = winograd.convolve_3x3(x.double(), kernel.double(), bias.double())
    torch.testing.assert_close(by_winograd(x, kernel, bias, lanes).double(), expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (4, 4), (5, 3), (13, 22)])
@pytest.mark.parametrize(("in_channels", "out_channels"), [(16, 16), (16, 48), (32, 16), (64, 96)])
def test_any_size_and_number_of_channels(lanes, size, in_channels, out_channels):
    """Tiles beyond the border, blocks that are not full, and a last panel of half the width."""
    x, (kernel, bias) = maps(3, in_channels, *size), layer(out_channels, in_channels)
    found = by_winograd(x, kernel, bias, lanes)
    expected = F.conv2d(x.double(), kernel.double(), bias.double(), padding=1)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=3e-5)
    without = by_winograd(x, kernel, None, lanes).double()
    torch.testing.assert_close(without, expected - bias.double()[:, None, None], rtol=1e-5, atol=3e-5)


@pytest.mark.parametrize("lanes", LANES)
def test_rounding_is_a_few_times_that_of_the_definition(lanes):
    x, (kernel, bias) = maps(1, 256, 40, 40), layer(256, 256)
    expected = F.conv2d(x.double(), kernel.double(), bias.double(), padding=1)
    error = (by_winograd(x, kernel, bias, lanes) - expected).square().mean().sqrt()
    assert error < 4e-6 * expected.std()  # the definition: 5e-7


@pytest.mark.parametrize("lanes", LANES)
def test_bfloat16_is_rounded_once_at_the_end(lanes):
    """Nearer to the exact result than PyTorch's convolution, which rounds the kernel, too."""
    x, (kernel, bias) = maps(1, 64, 20, 24, dtype=torch.bfloat16), layer(64, 64)
    exact = F.conv2d(x.double(), kernel.double(), bias.double(), padding=1)
    found = by_winograd(x, kernel, bias, lanes)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), exact, rtol=2**-8, atol=1e-4)
    theirs = F.conv2d(x, kernel.bfloat16(), bias.bfloat16(), padding=1)
    assert (found - exact).abs().mean() < (theirs - exact).abs().mean()


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nan_and_infinity_stay_in_their_tiles_and_are_not_lost(lanes, dtype):
    """A diverging training must show. Winograd's sums make infinity NaN, in its whole tile."""
    x, (kernel, bias) = maps(1, 16, 12, 12, dtype=dtype), layer(16, 16)
    kernel = kernel.abs() + 0.01
    for value in (torch.nan, torch.inf):
        hostile = x.clone()
        hostile[0, 3, 5, 5] = value
        found = by_winograd(hostile, kernel, bias, lanes)
        assert not found[0, :, 4:7, 4:7].isfinite().any()
        assert found[0, :, 8:].isfinite().all() and found[0, :, :4, 8:].isfinite().all()


@compiled
@pytest.mark.parametrize("lanes", LANES)
def test_an_image_does_not_depend_on_the_others_nor_on_the_threads(lanes):
    x, (kernel, bias) = maps(5, 16, 11, 10), layer(32, 16)
    together = by_winograd(x, kernel, bias, lanes)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = torch.cat([by_winograd(image[None], kernel, bias, lanes) for image in x])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(together, alone)


@compiled
def test_nothing_in_nothing_out():
    kernel, bias = layer(16, 16)
    for shape in ((0, 16, 8, 8), (2, 16, 0, 8), (2, 16, 8, 0)):
        assert by_winograd(torch.zeros(shape), kernel, bias, 0).shape == shape


# --- Gradients --------------------------------------------------------------------------------------------------------


@pytest.fixture
def always_by_winograd(monkeypatch):
    """However small the maps are, and in PyTorch if there are no compiled ops."""
    monkeypatch.setattr(convolution, "FEWEST_TILES", 0)
    monkeypatch.setattr(convolution, "LANES", convolution.LANES or 8)


@pytest.mark.parametrize("scaled", [False, True])
def test_gradients_are_those_of_pytorch_and_so_are_second_ones(always_by_winograd, scaled):
    x, (kernel, bias) = maps(2, 16, 7, 9).requires_grad_(), layer(32, 16)
    scale = random(32, seed=8).requires_grad_() if scaled else torch.ones(32)
    learning = (x, kernel.requires_grad_(), bias.requires_grad_(), *([scale] if scaled else []))
    direction = random(2, 32, 7, 9, seed=3)
    seconds = [random(*value.shape, seed=4 + index) for index, value in enumerate(learning)]

    def derivatives(run):
        first = torch.autograd.grad((run().square() * direction).sum(), learning, create_graph=True)
        along = sum((gradient * second).sum() for gradient, second in zip(first, seconds, strict=True))
        return *first, *torch.autograd.grad(along, learning)

    found = derivatives(lambda: convolve(x, kernel, bias, padding=(1, 1), scale=scale if scaled else None))
    expected = derivatives(lambda: F.conv2d(x, kernel * scale[:, None, None, None], bias, padding=1))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())


@pytest.mark.parametrize(
    "settings", [{"stride": (2, 2)}, {"padding": (2, 0), "dilation": (2, 1)}, {"groups": 2}, {"padding": (1, 1)}]
)
def test_gradients_with_a_scale_agree_with_finite_differences(settings):
    """Of float64, which goes by PyTorch's convolution."""
    x, kernel = maps(2, 4, 6, 7, dtype=torch.float64), random(6, 4 // settings.get("groups", 1), 3, 3, seed=1).double()
    bias, scale = random(6, seed=2).double(), random(6, seed=3).double()
    given = [value.requires_grad_() for value in (x, kernel, bias, scale)]
    assert torch.autograd.gradcheck(lambda x, k, b, s: convolve(x, k, b, **settings, scale=s), given, fast_mode=True)


def test_products_with_a_scale_are_not_kept_for_the_gradient():
    x, (kernel, bias) = maps(1, 16, 8, 8), layer(32, 16)
    kernel.requires_grad_()
    result = convolve(x, kernel, bias, scale=torch.rand(32))
    kept = {value.data_ptr() for value in result.grad_fn.saved_tensors if value.numel() == kernel.numel()}
    assert kept == {kernel.data_ptr()}


def test_only_what_learns_gets_a_gradient(always_by_winograd):
    x, (kernel, bias) = maps(1, 16, 8, 8), layer(16, 16)
    for learning in (x, kernel, bias):
        learning.requires_grad_()
        (gradient,) = torch.autograd.grad(convolve(x, kernel, bias, padding=(1, 1)).sum(), learning)
        assert gradient.shape == learning.shape
        learning.requires_grad_(False)


def test_bfloat16_maps_teach_a_float32_kernel(always_by_winograd):
    x, (kernel, bias) = maps(1, 16, 16, 16, dtype=torch.bfloat16).requires_grad_(), layer(16, 16)
    learning = (x, kernel.requires_grad_(), bias.requires_grad_())
    found = torch.autograd.grad(convolve(x, kernel, bias, padding=(1, 1)).float().square().sum(), learning)
    exact = F.conv2d(x.double(), kernel.double(), bias.double(), padding=1)
    exact = torch.autograd.grad(exact.square().sum(), learning)
    for one, other, value in zip(found, exact, learning, strict=True):
        assert one.dtype == value.dtype
        torch.testing.assert_close(one.double(), other.double(), rtol=0.02, atol=0.02 * other.abs().max().item())


def test_autocast_gives_float32_maps_a_float32_gradient(always_by_winograd):
    x, (kernel, bias) = maps(1, 16, 16, 16).requires_grad_(), layer(16, 16)
    for settings in ({"padding": (1, 1)}, {"scale": torch.ones(16)}):
        with torch.autocast("cpu", torch.bfloat16):
            result = convolve(x, kernel.requires_grad_(), bias, **settings)
        assert result.dtype == torch.bfloat16
        of_maps, of_kernel = torch.autograd.grad(result.float().sum(), (x, kernel))
        assert of_maps.dtype == of_kernel.dtype == torch.float32


@pytest.mark.parametrize("scaled", [False, True])
def test_second_derivatives_see_through_what_autocast_rounds(always_by_winograd, scaled):
    """Maps in float32 that autocast computes in bfloat16: how the kernel's gradient depends on them."""
    x, (kernel, bias) = maps(1, 16, 8, 8).requires_grad_(), layer(16, 16)
    kernel.requires_grad_()
    scale = torch.ones(16) if scaled else None
    found = []
    for run, settings in ((convolve, {"padding": (1, 1), "scale": scale}), (F.conv2d, {"padding": 1})):
        with torch.autocast("cpu", torch.bfloat16):
            result = run(x, kernel, bias, **settings)
        (of_kernel,) = torch.autograd.grad(result.float().square().sum() / 2, kernel, create_graph=True)
        found += torch.autograd.grad(of_kernel.square().sum(), x)
    torch.testing.assert_close(found[0], found[1], rtol=0.05, atol=0.02 * found[1].abs().max().item())


# --- Which way it goes ------------------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch):
    """How often the op was called."""
    seen, compute = [], convolution.by_winograd
    monkeypatch.setattr(convolution, "LANES", 8)
    monkeypatch.setattr(convolution, "by_winograd", lambda *given: seen.append(given) or compute(*given))
    return seen


LARGE = (1, 16, 48, 48)


def test_a_large_map_goes_by_winograd(calls):
    x, (kernel, bias) = maps(*LARGE), layer(16, 16)
    found = convolve(x, kernel, bias, padding=(1, 1))
    assert len(calls) == 1
    torch.testing.assert_close(found, F.conv2d(x, kernel, bias, padding=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        (maps(1, 16, 12, 12), {}),  # small
        (random(*LARGE), {}),  # channels first
        (maps(*LARGE, dtype=torch.float64), {}),
        (maps(*LARGE, dtype=torch.float16), {}),
        (maps(*LARGE), {"stride": (2, 2)}),
        (maps(*LARGE), {"padding": (0, 0)}),
        (maps(*LARGE), {"dilation": (2, 2)}),
        (maps(1, 32, 48, 48), {"groups": 2}),
        (maps(1, 12, 48, 48), {}),  # channels that fill no register
    ],
)
def test_anything_else_is_pytorchs_convolution_to_the_last_bit(calls, given, settings):
    settings = {"padding": (1, 1)} | settings
    kernel, bias = layer(16, given.shape[1] // settings.get("groups", 1))
    kernel, bias = kernel.to(given.dtype), bias.to(given.dtype)
    assert torch.equal(convolve(given, kernel, bias, **settings), F.conv2d(given, kernel, bias, **settings))
    assert not calls


def test_what_does_not_fit_raises_as_in_pytorch(calls):
    kernel, bias = layer(16, 32)
    with pytest.raises(RuntimeError, match="expected input"):
        convolve(maps(*LARGE), kernel, bias, padding=(1, 1))


def test_autocast_rounds_maps_and_results_but_not_the_kernel(calls):
    x, (kernel, bias) = maps(*LARGE), layer(16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        found = convolve(x, kernel, bias, padding=(1, 1))
    assert found.dtype == torch.bfloat16 and calls[0][1].dtype == torch.float32
    exact = F.conv2d(x.bfloat16().double(), kernel.double(), bias.double(), padding=1)
    torch.testing.assert_close(found.double(), exact, rtol=2**-8, atol=1e-4)


def test_what_was_made_of_a_kernel_ahead_stands_in_for_it_on_large_maps(calls):
    x, (kernel, bias) = maps(*LARGE), layer(16, 16)
    transformed = convolution.transformed_kernel(kernel)
    expected = convolve(x, kernel, bias, padding=(1, 1))
    with torch.inference_mode():
        kernel = kernel.clone()
    assert torch.equal(convolve(x, kernel, bias, padding=(1, 1), transformed=transformed), expected)
    of_nothing = convolve(x, kernel, bias, padding=(1, 1), transformed=torch.zeros_like(transformed))
    assert torch.equal(of_nothing, bias[:, None, None].expand_as(of_nothing))
    small = x[..., :12, :12].contiguous(memory_format=torch.channels_last)
    found = convolve(small, kernel, bias, padding=(1, 1), transformed=torch.zeros_like(transformed))
    assert torch.equal(found, F.conv2d(small, kernel, bias, padding=1))


def test_what_was_made_of_a_kernel_ahead_needs_one_that_nobody_can_write_into():
    x, (kernel, bias) = maps(*LARGE), layer(16, 16)
    stale = convolution.transformed_kernel(torch.zeros_like(kernel))
    with mock.patch.object(convolution, "LANES", 8):
        expected = convolve(x, kernel, bias, padding=(1, 1))
        assert torch.equal(convolve(x, kernel, bias, padding=(1, 1), transformed=stale), expected)


def test_a_picture_without_a_batch_is_convolved_as_by_pytorch(calls):
    x, (kernel, bias) = random(16, 48, 48), layer(16, 16)
    assert torch.equal(convolve(x, kernel, bias, padding=(1, 1)), F.conv2d(x, kernel, bias, padding=1)) and not calls


@pytest.mark.parametrize("settings", [{}, {"stride": 2}, {"dilation": 2}, {"groups": 2}, {"bias": False}])
def test_the_layer_is_pytorchs(settings):
    torch.manual_seed(0)
    ours = Convolution3x3(16, 32, **settings)
    theirs = torch.nn.Conv2d(16, 32, 3, padding=settings.get("dilation", 1), **settings)
    theirs.load_state_dict(ours.state_dict())
    x = maps(*LARGE)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


# --- Only at some places ----------------------------------------------------------------------------------------------

SIZES = ((5, 7), (3, 4), (1, 2), (1, 1))
"""Rows and columns of four levels: 35, 12, 2 and 1 places."""


def levels(channels=3, images=2):
    return [random(images, channels, *size, dtype=torch.float64, seed=place) for place, size in enumerate(SIZES)]


def everywhere(given, kernel, bias):
    """Results (B, O, H, W) of all places of all levels, listed: (B, places, O)."""
    results = [F.conv2d(level, kernel, bias, padding=1) for level in given]
    return torch.cat([result.flatten(2).transpose(1, 2) for result in results], dim=1)


@pytest.mark.parametrize("has_bias", [True, False])
def test_each_place_of_each_level_is_that_of_the_whole_convolution(has_bias):
    """Corners, borders, levels smaller than a window; each image asks in an order of its own, and twice."""
    given, (kernel, bias) = levels(), layer(4, 3)
    kernel, bias = kernel.double(), bias.double() if has_bias else None
    order = torch.stack([torch.randperm(50, generator=torch.Generator().manual_seed(one)) for one in (1, 2)])
    places = torch.cat((order, order[:, :7]), dim=1)
    image = torch.arange(2)[:, None]
    expected = everywhere(given, kernel, bias)[image, places]
    torch.testing.assert_close(convolve_at(given, places, kernel, bias), expected)


def test_gradients_at_places_are_those_of_the_whole_convolution():
    places = torch.tensor([[0, 36, 36, 49], [34, 3, 48, 10]])
    weights = random(2, 4, 5, dtype=torch.float64, seed=9)
    found = []
    for few in (True, False):
        given = [level.requires_grad_() for level in levels()]
        kernel, bias = (part.double().requires_grad_() for part in layer(5, 3))
        if few:
            results = convolve_at(given, places, kernel, bias)
        else:
            results = everywhere(given, kernel, bias)[torch.arange(2)[:, None], places]
        found.append(torch.autograd.grad((results * weights).sum(), (*given, kernel, bias)))
    for few, all_of_them in zip(*found, strict=True):
        torch.testing.assert_close(few, all_of_them)


def test_other_places_have_no_say():
    """A number that is none outside the window, on this level or another, does not reach the result."""
    given, (kernel, bias) = levels(), layer(4, 3)
    kernel, bias = kernel.double(), bias.double()
    expected = everywhere(given, kernel, bias)[:, [7]]
    for place, level in enumerate(given):
        window = level[:, :, 0:3, 0:2].clone()
        level.fill_(torch.nan)
        if place == 0:
            level[:, :, 0:3, 0:2] = window
    torch.testing.assert_close(convolve_at(given, torch.tensor([[7], [7]]), kernel, bias), expected)


def test_no_places_and_places_on_no_level():
    given, (kernel, bias) = levels(), layer(4, 3)
    kernel, bias = kernel.double(), bias.double()
    assert convolve_at(given, torch.zeros(2, 0, dtype=torch.int64), kernel, bias).shape == (2, 0, 4)
    outside = convolve_at(given, torch.tensor([[-1, 50], [-36, 10**9]]), kernel, bias)
    torch.testing.assert_close(outside, bias.expand(2, 2, 4))


def test_what_does_not_fit_together_is_refused():
    given, (kernel, _) = levels(), layer(4, 3)
    kernel, places = kernel.double(), torch.zeros(2, 3, dtype=torch.int64)
    for maps_of, at, weight in (
        ([], places, kernel),
        ([given[0][:1]], places, kernel),
        ([given[0][..., :0]], places, kernel),
        ([given[0][0]], places, kernel),
        (given, places[0], kernel),
        (given, places, kernel[..., :1]),
    ):
        with pytest.raises(ValueError, match=r"expected \(B, I, H, W\) with cells, \(B, S\) and \(O, I, 3, 3\)"):
            convolve_at(maps_of, at, weight)


@compiled
def test_wrong_arguments_of_the_ops_are_refused():
    """What memory safety asks; `convolve` never calls them so."""
    x, (kernel, bias) = maps(1, 16, 8, 8), layer(16, 16)
    for given in (
        (x[0], kernel, bias, 0),
        (x.double(), kernel, bias, 0),
        (x, kernel.double(), bias, 0),
        (x, kernel[:, :8], bias, 0),
        (x, kernel[..., :2], bias, 0),
        (x, kernel, bias[:8], 0),
        (x[:, :2], kernel[:, :2], bias, 0),
        (x, kernel, bias, 5),
    ):
        with pytest.raises(RuntimeError, match=r"(convolve|transform_kernel)_3x3: "):
            by_winograd(*given)
    weights = torch.ops.maskrcnn.transform_kernel_3x3(kernel.permute(2, 3, 1, 0), 0)
    for wrong in (weights[:35], weights[:, 1:], weights[0], weights.double()):
        with pytest.raises(RuntimeError, match=r"convolve_3x3: (weights|maps) must be"):
            torch.ops.maskrcnn.convolve_3x3(x, wrong, bias, 16, 0)
    for out_channels in (0, 32, -16, 2**62):
        with pytest.raises(RuntimeError, match="convolve_3x3: weights must be those of a kernel"):
            torch.ops.maskrcnn.convolve_3x3(x, weights, None, out_channels, 0)
