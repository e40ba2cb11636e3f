"""RoIPool, RoIWarp and the maximum of RoIAlign on a pyramid: each RoI from its own level, by the loops of one level."""

import pytest
import torch
from random_inputs import random_boxes

from maskrcnn import ops
from maskrcnn.config import BoxHeadConfig
from maskrcnn.model.variants.roi_layers import MaxRoIAlign, RoIPool, RoIWarp, level_of, pool_by_level
from maskrcnn.reference import roi_align as loops_of_roi_align
from maskrcnn.reference import roi_pool as loops

STRIDES = (4, 8, 16, 32)
HEAD = BoxHeadConfig(pooled_size=3, sampling_ratio=2)
LAYERS = {
    "pool": RoIPool(STRIDES),
    "warp": RoIWarp(STRIDES, "average"),
    "warp_max": RoIWarp(STRIDES, "max"),
    "align_max": MaxRoIAlign(STRIDES),
}
EVERY = pytest.mark.parametrize("name", LAYERS)
SIDES = (20.0, 111.0, 113.0, 223.0, 225.0, 447.0, 449.0, 900.0)
"""Of squares on levels 0, 0, 1, 1, 2, 2, 3, 3 (FPN equation 1)."""


def features(images=1, channels=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(images, channels, 512 // s, 768 // s, generator=generator, dtype=dtype) for s in STRIDES]


def rois_of_all_levels(images=1):
    """(B, R, 4): squares of SIDES, then random boxes."""
    squares = torch.tensor([[[3.3, 5.6, 3.3 + side, 5.6 + side] for side in SIDES]], dtype=torch.float64)
    others = random_boxes(images, 8, seed=1, extent=500)
    return torch.cat((squares.expand(images, -1, -1), others), dim=1)


def by_loops(name, maps, rois):
    """Each of rois (B, R, 4) alone, from the level that its side says."""
    pooled = []
    for image in range(rois.shape[0]):
        for roi in rois[image]:
            side = ((roi[2] - roi[0]) * (roi[3] - roi[1])).sqrt().item()
            level = sum(side >= bound for bound in (112, 224, 448))
            feature, stride = maps[level][image], STRIDES[level]
            if name == "pool":
                pooled.append(loops.roi_pool(feature, roi[None], output_size=3, stride=stride)[0])
            elif name == "align_max":
                samples = loops_of_roi_align.roi_align(feature, roi.tolist(), 6, 1 / stride, 1, True)
                pooled.append(samples.unflatten(1, (3, 2)).unflatten(3, (3, 2)).amax(dim=(2, 4)))
            else:
                mode = "max" if name == "warp_max" else "average"
                warped = loops.roi_warp(
                    feature, roi[None], output_size=3, stride=stride, sampling_ratio=2, mode=mode
                )
                pooled.append(warped[0])
    return torch.stack(pooled).view(*rois.shape[:2], *pooled[0].shape)


def test_the_level_is_that_of_roi_align():
    """Maps that are filled with their own number: what RoIAlign pools is the level that it chose."""
    sides = torch.tensor([0.0, 1e-3, 111.9, 111.9999, 112.0, 112.1, 223.9999, 224.0, 447.9, 448.0, 1900.0, -5.0])
    squares = torch.stack((torch.full_like(sides, 40), torch.full_like(sides, 40), 40 + sides, 40 + sides), dim=1)
    rois = torch.cat((squares, torch.tensor([[0.0, 0, 448, 56], [0, 0, 56, 896], [9, 9, 5, 400]])))[None]
    for levels in (1, 2, 4):
        maps = [torch.full((1, 1, 64, 64), float(level)) for level in range(levels)]
        settings = {"output_size": 1, "strides": (32,) * levels, "sampling_ratio": 1, "aligned": False}
        chosen = ops.pyramid_roi_align(maps, rois, **settings).flatten()
        assert level_of(rois, levels).tolist() == [chosen.long().tolist()]
    assert level_of(rois, 4).tolist() == [[0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 0, 1, 2, 0]]


@EVERY
def test_every_roi_is_pooled_from_its_own_level(name):
    """The loops of one level, RoI by RoI."""
    maps, rois = features(images=2), rois_of_all_levels(2)
    torch.testing.assert_close(LAYERS[name](maps, rois, HEAD), by_loops(name, maps, rois))
    assert len(set(level_of(rois, 4).flatten().tolist())) == 4


@EVERY
def test_a_single_map_pools_everything(name):
    maps, rois = features()[2:3], rois_of_all_levels()
    layer = type(LAYERS[name])((16,), *([LAYERS[name].mode] if "warp" in name else []))
    everywhere = layer(maps, rois, HEAD)
    assert everywhere.shape == (1, 16, 2, 3, 3)
    if name == "pool":
        assert torch.equal(everywhere, ops.roi_pool(maps[0], rois, output_size=3, stride=16))


def test_the_layers_differ_by_what_they_round():
    """On a ramp, RoIAlign and its maximum read where the RoI lies; RoIWarp and RoIPool where it was rounded to."""
    ramp = torch.arange(64.0, dtype=torch.float64).expand(1, 1, 64, 64).contiguous()
    roi = torch.tensor([[[6.4, 8.0, 18.4, 20.0]]], dtype=torch.float64)  # cells 1.6 to 4.6 at stride 4
    head = BoxHeadConfig(pooled_size=1, sampling_ratio=2)
    found = {name: LAYERS[name]([ramp] * 4, roi, head).item() for name in LAYERS}
    # Samples at a quarter and three quarters, less the half-pixel shift; rounded, the RoI is the cells from 2 to 5.
    assert found == pytest.approx({"align_max": 1.6 + 0.75 * 3 - 0.5, "warp": 3.5, "warp_max": 4.5, "pool": 5.0})


@EVERY
def test_gradients_reach_the_level_of_each_roi_and_no_other(name):
    maps = [level.requires_grad_() for level in features()]
    rois = rois_of_all_levels()
    for level in range(4):
        own = rois[:, level_of(rois, 4)[0] == level]
        gradients = torch.autograd.grad(LAYERS[name](maps, own, HEAD).square().sum(), maps)
        assert [bool(gradient.any()) for gradient in gradients] == [index == level for index in range(4)]
        assert all(gradient.isfinite().all() for gradient in gradients)


@EVERY
def test_gradients_are_right(name):
    generator = torch.Generator().manual_seed(2)
    maps = [torch.randn(1, 1, 6, 6, generator=generator, dtype=torch.float64, requires_grad=True) for _ in STRIDES]
    rois = torch.tensor([[[1.0, 2, 17, 20], [2, 1, 170, 160], [0, 3, 90, 500]]], dtype=torch.float64)
    head = BoxHeadConfig(pooled_size=2)
    assert torch.autograd.gradcheck(lambda *levels: LAYERS[name](levels, rois, head), maps, fast_mode=True)


@EVERY
def test_no_rois_and_rois_that_are_not_finite(name):
    maps = features(images=2)
    assert LAYERS[name](maps, torch.zeros(2, 0, 4, dtype=torch.float64), HEAD).shape == (2, 0, 2, 3, 3)
    wrong = torch.tensor([[[torch.nan, 0, 9, 9], [0, 0, torch.inf, 9]]] * 2, dtype=torch.float64)
    assert not LAYERS[name](maps, wrong, HEAD).any()


def test_settings_reach_the_op():
    """Also an op that nobody has thought of: it gets each level with its stride, and NaN where an RoI is another's."""
    seen = []

    def op(feature, rois, *, stride, colour):
        seen.append((feature.shape[-1], stride, colour, rois.isfinite().all(dim=-1)[0].tolist()))
        return torch.zeros(1, 2)

    rois = torch.tensor([[[0.0, 0, 300, 300], [0, 0, 10, 10]]])
    pool_by_level(op, features(), rois, STRIDES, colour="red")
    assert seen == [
        (192, 4, "red", [False, True]),
        (96, 8, "red", [False, False]),
        (48, 16, "red", [True, False]),
        (24, 32, "red", [False, False]),
    ]
