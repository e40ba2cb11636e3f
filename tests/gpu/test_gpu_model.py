"""The whole model on a GPU: nothing waits, and it computes what it computes on a CPU."""

from dataclasses import replace

import pytest
import torch
from small_model import SMALL, gradients, make_batch
from test_fixed_shapes import CONFIGS, TWO_OBJECTS, training_step

from maskrcnn.model.mask_rcnn import MaskRCNN


@CONFIGS
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_whole_step_waits_for_nothing(config, precision):
    torch.manual_seed(0)
    model = MaskRCNN(config).cuda().to(memory_format=torch.channels_last)
    batch = make_batch([TWO_OBJECTS, []], 3).to("cuda")
    with torch.autocast("cuda", dtype=precision, enabled=precision != torch.float32):
        training_step(model, batch)  # the first time, libraries are loaded
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            output = training_step(model, batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert all(loss.isfinite() for loss in output.losses.values())
    assert all(value.isfinite().all() for value in gradients(model).values())


def test_detections_are_those_of_the_cpu():
    """In float64, so that no score is so close to another one that rounding decides which comes first."""
    torch.manual_seed(0)
    model, batch = MaskRCNN(SMALL).double().eval(), make_batch([TWO_OBJECTS, []], 3)
    batch = replace(batch, images=batch.images.double(), targets=None)
    with torch.no_grad():
        expected = model(batch, detect=True).detections
        found = model.cuda()(batch.to("cuda"), detect=True).detections
    assert expected.valid.any()
    for field in ("boxes", "scores", "labels", "valid", "masks"):
        torch.testing.assert_close(getattr(found, field).cpu(), getattr(expected, field), rtol=1e-6, atol=1e-6)
