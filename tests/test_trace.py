"""The trace of a network: what it writes down is what the network computed, and the network knows nothing of it."""

import dataclasses
import math
from typing import NamedTuple

import pytest
import torch
from small_model import SMALL, WITH_KEYPOINTS, make_batch
from torch.testing import assert_close

from maskrcnn import ops
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.trace import TensorFact, recording, tensor_facts, traced


class Kitchen:
    """Two functions, one of which calls the other."""

    def chop(self, *, pieces: int) -> int:
        return 2 * pieces

    def cook(self, dishes: int, salt: bool = True) -> list[int]:
        if dishes < 0:
            raise ValueError("less than nothing")
        return [self.chop(pieces=dish) for dish in range(dishes)]


def two_objects():
    return make_batch([[(1, (4, 8, 40, 30)), (2, (50, 20, 90, 60))]], slots=3)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MaskRCNN(SMALL).eval()


# --- Any functions ----------------------------------------------------------------------------------------------------


def test_calls_have_names_by_where_they_were_called_and_arguments_by_parameter():
    kitchen = Kitchen()
    with recording([(kitchen, "cook", "cook"), (kitchen, "chop", "chop")], "cpu") as trace:
        assert kitchen.cook(2) == [0, 2]
        kitchen.chop(pieces=5)
    assert [(call.name, dict(call.arguments), call.result) for call in trace.calls] == [
        ("cook", {"dishes": 2}, [0, 2]),
        ("cook/chop", {"pieces": 0}, 0),
        ("cook/chop", {"pieces": 1}, 2),
        ("chop", {"pieces": 5}, 10),
    ]
    assert trace.names == ("cook", "cook/chop", "chop")
    assert trace["chop"].result == 10 and [call.result for call in trace.all("cook/chop")] == [0, 2]


def test_a_name_that_says_too_little_is_answered_with_those_there_are():
    kitchen = Kitchen()
    with recording([(kitchen, "cook", "cook"), (kitchen, "chop", "chop")], "cpu") as trace:
        kitchen.cook(2)
    with pytest.raises(KeyError, match="found 2 calls of 'cook/chop', expected one; there are: cook, cook/chop"):
        trace["cook/chop"]
    with pytest.raises(KeyError, match="found 0 calls of 'bake'"):
        trace["bake"]


def test_seconds_are_a_calls_own(monkeypatch):
    now = [0.0]
    kitchen = Kitchen()
    monkeypatch.setattr("maskrcnn.trace.time.perf_counter", lambda: now[0])

    def chop(pieces):
        now[0] += 3

    def cook():
        now[0] += 10
        kitchen.chop(pieces=1)
        kitchen.chop(pieces=2)
        now[0] += 20

    monkeypatch.setattr(kitchen, "chop", chop)
    monkeypatch.setattr(kitchen, "cook", cook)
    with recording([(kitchen, "cook", "cook"), (kitchen, "chop", "chop")], "cpu") as trace:
        now[0] += 100
        kitchen.cook()
    assert [call.seconds for call in trace.calls] == [30, 3, 3] and trace.seconds_outside == 100


def test_after_an_error_everything_is_as_before():
    kitchen = Kitchen()
    with pytest.raises(ValueError, match="less than nothing"), recording([(kitchen, "cook", "cook")], "cpu") as trace:
        kitchen.cook(-1)
    assert [(call.name, call.result) for call in trace.calls] == [("cook", None)]
    assert vars(kitchen) == {} and kitchen.cook(1) == [0] and len(trace.calls) == 1


def test_without_values_nothing_is_kept_alive():
    kitchen = Kitchen()
    with recording([(kitchen, "cook", "cook")], "cpu", values=False) as trace:
        kitchen.cook(3)
    assert trace["cook"].arguments == {} and trace["cook"].result is None and trace["cook"].seconds > 0


# --- A network --------------------------------------------------------------------------------------------------------


def test_the_network_computes_the_same_and_is_left_as_it_was(model):
    batch = two_objects()
    with torch.no_grad():
        expected = model(batch, detect=True)
        with traced(model) as trace:
            found = model(batch, detect=True)
        assert all("forward" not in vars(module) for module in model.modules())
        assert ops.nms.__module__ == "maskrcnn.ops" and "losses" not in vars(model.rpn)
    assert_close(found.detections.boxes, expected.detections.boxes, rtol=0, atol=0)
    assert trace["detect"].result is found.detections
    value = {**trace["rpn_losses"].result, **trace["roi_losses"].result}
    assert {name: loss.value.item() for name, loss in value.items()} == {n: v.item() for n, v in found.losses.items()}


def test_what_goes_into_a_stage_is_what_came_out_of_the_one_before(model):
    batch = two_objects()
    with torch.no_grad(), traced(model) as trace:
        model(batch, detect=True)
    assert trace["backbone"].arguments["images"] is batch.images
    assert all(a is b for a, b in zip(trace["pyramid"].arguments["features"], trace["backbone"].result, strict=True))
    for_training, for_detection = trace.all("propose")
    assert for_training.arguments["for_training"] and not for_detection.arguments["for_training"]
    box_pool, mask_pool = trace.all("detect/pool")
    assert box_pool.result is trace["detect/box_head"].arguments["pooled"]
    assert mask_pool.result is trace["detect/mask_head"].arguments["pooled"]


def test_boxes_before_nms_and_the_survivors_give_the_proposals(model):
    with torch.no_grad(), traced(model) as trace:
        model(dataclasses.replace(two_objects(), targets=None))
    given, kept = trace["propose/nms"].arguments, trace["propose/nms"].result[0]
    assert given["boxes"].shape[1] > (kept >= 0).sum() > 0
    assert_close(given["boxes"][0, kept[kept >= 0]], trace["propose"].result.boxes[0][trace["propose"].result.valid[0]])


def test_what_runs_past_its_functions_is_refused():
    with pytest.raises(TypeError, match=r"model: found Identity, expected a MaskRCNN"), traced(torch.nn.Identity()):
        pass


@pytest.mark.parametrize("config", [SMALL, WITH_KEYPOINTS], ids=["masks", "keypoints"])
def test_every_stage_that_there_is_is_seen(config):
    model = MaskRCNN(config).train()
    with traced(model) as trace:
        model(two_objects(), detect=True)
    stages = {
        "backbone", "pyramid", "rpn", "rpn/head", "propose", "propose/decode", "propose/nms", "rpn_losses",
        "rpn_losses/match", "rpn_losses/sample", "roi_losses", "roi_losses/choose", "roi_losses/choose/match",
        "roi_losses/choose/sample", "roi_losses/pool", "roi_losses/box_head", "roi_losses/mask_head",
        "roi_losses/mask_targets", "detect", "detect/pool", "detect/box_head", "detect/select", "detect/select/decode",
        "detect/select/keep_top", "detect/select/nms", "detect/mask_head",
    }  # fmt: skip
    keypoints = {"roi_losses/keypoint_head", "detect/keypoint_head"}
    assert set(trace.names) == (stages | keypoints if config is WITH_KEYPOINTS else stages)


# --- Facts about tensors ----------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    left: torch.Tensor
    right: object


@dataclasses.dataclass
class Box:
    inside: object
    empty: object = None


def test_facts_are_those_of_every_tensor_however_deep():
    value = Pair(torch.tensor([[1, -4], [2, 0]]), [Box({"a": torch.tensor([True, False])}), "text", None])
    assert list(tensor_facts(value, "it")) == [
        TensorFact("it.left", (2, 2), "int64", -4.0, 2.0),
        TensorFact("it.right[0].inside['a']", (2,), "bool", 0.0, 1.0),
    ]


def test_what_is_not_finite_has_no_part_in_least_and_largest():
    values = torch.tensor([math.nan, math.inf, 3.0, -math.inf])
    assert list(tensor_facts(values, "x")) == [TensorFact("x", (4,), "float32", 3.0, 3.0)]
    assert list(tensor_facts(torch.tensor([math.nan]), "x")) == [TensorFact("x", (1,), "float32", None, None)]
    assert list(tensor_facts(torch.zeros(0, 4), "x")) == [TensorFact("x", (0, 4), "float32", None, None)]


def test_a_trace_reads_as_a_table():
    kitchen = Kitchen()
    kitchen.cook = lambda: (torch.arange(6).view(2, 3), torch.tensor(0.5))
    with recording([(kitchen, "cook", "cook")], "cpu") as trace:
        kitchen.cook()
    assert str(trace).splitlines() == [
        "tensor   shape  dtype    from  to",
        "cook[0]  2 x 3  int64    0     5",
        "cook[1]  -      float32  0.5   0.5",
    ]
