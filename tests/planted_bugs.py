"""One-line bugs that detectors really have had, and the test that catches each: what a test suite is worth.

Each replaces one piece of the source of one function. `tests/test_planted_bugs.py` plants them one by one and runs the
test: it must fail with the bug, and pass without.
"""

from __future__ import annotations

import importlib
import inspect
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import torch

from maskrcnn.model.keypoint_decoding import decode_each
from maskrcnn.ops import fallback_pasting, fallback_pooling


@dataclass(frozen=True)
class PlantedBug:
    """A function, what is written there, what is written there instead, and the test that fails then."""

    name: str
    function: str
    """"package.module:function" or "package.module:Class.method"."""
    right: str
    wrong: str
    caught_by: str
    """"test_module:test_function"."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of the test, where it has any."""


def resolve(path: str) -> Callable:
    """The object that "module:name" or "module:Class.name" stands for."""
    module, _, names = path.partition(":")
    found = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    return found


@contextmanager
def planted(bug: PlantedBug) -> Iterator[None]:
    """Inside, the function has the bug, however it was imported: its code is exchanged, not its name."""
    function = inspect.unwrap(resolve(bug.function))  # what is behind a cache
    if not isinstance(function, FunctionType):
        raise TypeError(f"{bug.function} is no plain function")
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(bug.right) != 1:
        raise ValueError(f"{bug.function}: found {bug.right!r} {source.count(bug.right)} times, expected once")
    code = compile(source.replace(bug.right, bug.wrong), f"<{bug.name}>", "exec")
    namespace = dict(function.__globals__)
    exec(code, namespace)
    healthy = function.__code__
    function.__code__ = inspect.unwrap(namespace[function.__name__]).__code__
    try:
        yield
    finally:
        function.__code__ = healthy


BOXES, MATCHING, LOSSES = "maskrcnn.boxes", "maskrcnn.targets.matching", "maskrcnn.targets.losses"
MASK_TARGETS, MATCH_BOXES = "maskrcnn.ops.fallback_masks", "maskrcnn.ops.fallback_matching"
SLOTS, ANCHORS = "maskrcnn.slots", "maskrcnn.model.anchors"
PRECISION, COCO_MATCHING = "maskrcnn.evaluation.average_precision", "maskrcnn.evaluation.coco_matching"
RUN_LENGTH = "maskrcnn.ops.fallback_run_length"
KEYPOINTS, DECODING = "maskrcnn.targets.keypoints:keypoint_cells", "maskrcnn.model.keypoint_decoding"
VARIANTS = "maskrcnn.model.variants"
PROPOSALS, DETECTIONS = "maskrcnn.model.rpn:RPN.propose", "maskrcnn.model.detections"
PASTE, POOL = "maskrcnn.ops.fallback_pasting", "maskrcnn.ops.fallback_pooling"
POOL_IN_PYTORCH = SimpleNamespace(pool=fallback_pooling.roi_pool, spread=fallback_pooling.roi_pool_backward)

_KEPT_UNTIL_THE_END = tempfile.TemporaryDirectory()
FOLDER = Path(_KEPT_UNTIL_THE_END.name)
"""For tests that write files."""
DETECTRON2 = {"mean": (103.53, 116.28, 123.675), "deviation": (1.0,) * 3, "blue_first": True, "of_msra": True}

BUGS = (
    # Boxes.
    PlantedBug(
        "one pixel added to every width and height",
        f"{BOXES}:area",
        "boxes[..., 2:] - boxes[..., :2]",
        "boxes[..., 2:] - boxes[..., :2] + 1",
        "test_boxes:test_area_is_width_times_height_and_0_for_swapped_corners",
    ),
    PlantedBug(
        "width squared for an area",
        f"{BOXES}:area",
        "sides[..., 0] * sides[..., 1]",
        "sides[..., 0] * sides[..., 0]",
        "test_boxes:test_width_and_height_are_not_swapped",
    ),
    PlantedBug(
        "two negative sides make a positive intersection",
        f"{BOXES}:intersection",
        "width.clamp_(min=0) * height.clamp_(min=0)",
        "width * height",
        "test_boxes:test_boxes_that_touch_do_not_overlap",
    ),
    PlantedBug(
        "a union that counts the intersection twice",
        f"{BOXES}:iou",
        " - shared",
        "",
        "test_boxes:test_two_unit_squares_offset_by_half_have_iou_one_third",
    ),
    PlantedBug(
        "IoU that divides by the smaller box",
        f"{BOXES}:iou",
        "union = area(boxes)[..., :, None] + area(others)[..., None, :] - shared",
        "union = torch.minimum(area(boxes)[..., :, None], area(others)[..., None, :])",
        "test_boxes:test_a_detection_inside_a_crowd_overlaps_it_by_a_quarter_but_lies_in_it_whole",
    ),
    PlantedBug(
        "0 / 0",
        f"{BOXES}:iou",
        ".clamp(min=torch.finfo(union.dtype).tiny)",
        "",
        "test_boxes:test_boxes_without_area_have_iou_0_and_not_nan",
    ),
    PlantedBug(
        "a union that is never below a millionth",
        f"{BOXES}:iou",
        "torch.finfo(union.dtype).tiny",
        "1e-6",
        "test_boxes:test_very_small_boxes_keep_their_iou",
    ),
    PlantedBug(
        "x cut at the height",
        f"{BOXES}:clip",
        "(width, height, width, height)",
        "(height, width, height, width)",
        "test_boxes:test_clip_cuts_x_at_the_width_and_y_at_the_height",
    ),
    PlantedBug(
        "boxes cut one pixel before the edge",
        f"{BOXES}:clip",
        "torch.minimum(boxes.clamp(min=0), limits)",
        "torch.minimum(boxes.clamp(min=0), limits - 1)",
        "test_boxes:test_clip_uses_the_size_of_each_image",
    ),
    PlantedBug(
        "weights that divide where they should multiply",
        f"{BOXES}:encode",
        "* _weights(weights, references)",
        "/ _weights(weights, references)",
        "test_boxes:test_weights_multiply_each_delta",
    ),
    PlantedBug(
        "shifts in units of the box instead of the reference",
        f"{BOXES}:encode",
        "(centre - reference_centre) / reference_size",
        "(centre - reference_centre) / size",
        "test_boxes:test_encode_by_hand",
    ),
    PlantedBug(
        "an infinity from padding",
        f"{BOXES}:encode",
        "(size.clamp(min=tiny) / reference_size)",
        "(size / reference_size)",
        "test_boxes:test_padding_gives_finite_deltas",
    ),
    PlantedBug(
        "exp of a wild prediction",
        f"{BOXES}:decode",
        ", max=LARGEST_LOG_SCALE",
        "",
        "test_boxes:test_decode_clamps_growth_at_62_and_a_half",
    ),
    PlantedBug(
        "shrinking never clamped",
        f"{BOXES}:decode",
        "-LARGEST_LOG_SCALE if clamp_both_sides else None",
        "None",
        "test_boxes:test_decode_clamps_shrinking_only_when_asked",
    ),
    PlantedBug(
        "the shift starts from the corner",
        f"{BOXES}:_centre_and_size",
        "boxes[..., :2] + size / 2",
        "boxes[..., :2]",
        "test_boxes:test_decode_example_of_the_mmdetection_documentation",
    ),
    # Slots.
    PlantedBug(
        "padding that counts as a candidate",
        f"{SLOTS}:keep_top",
        "best > NOT_A_CANDIDATE",
        "best >= NOT_A_CANDIDATE",
        "test_slots:test_keep_top_is_sorted_and_leaves_out_what_is_no_candidate",
    ),
    PlantedBug(
        "the worst scores first",
        f"{SLOTS}:keep_top",
        "scores.topk(available, dim=-1)",
        "scores.topk(available, dim=-1, largest=False)",
        "test_slots:test_keep_top_equals_sorting_each_image",
    ),
    PlantedBug(
        "negatives that start behind as many as there are positives",
        f"{SLOTS}:sample_by_priority",
        "most_positives + slot - positives",
        "most_positives + slot",
        "test_slots:test_positives_come_first_and_negatives_fill_what_they_leave",
    ),
    PlantedBug(
        "a sample with as many positives as there are",
        "maskrcnn.targets.sampling:_sample",
        "int(total * positive_fraction)",
        "total",
        "test_sampling:test_512_rois_at_most_a_quarter_of_them_positive",
    ),
    PlantedBug(
        "the easiest examples for the hardest",
        "maskrcnn.targets.sampling:sample_hardest",
        "_sample(label, loss,",
        "_sample(label, -loss,",
        "test_sampling:test_the_hardest_positives_and_negatives_are_taken_whatever_their_ratio_of_losses",
    ),
    PlantedBug(
        "a random sample that always begins at the first anchors",
        "maskrcnn.targets.sampling:sample_randomly",
        "torch.rand(label.shape, device=label.device)",
        "-torch.arange(label.shape[-1]).expand(label.shape).float()",
        "test_sampling:test_random_sampling_is_uniform",
    ),
    # Matching.
    PlantedBug(
        "> for >= at the upper threshold",
        f"{MATCHING}:match",
        "iou >= positive_iou",
        "iou > positive_iou",
        "test_matching:test_an_iou_equal_to_a_threshold_belongs_above_it",
    ),
    PlantedBug(
        "<= for < at the lower threshold",
        f"{MATCHING}:match",
        "iou < negative_iou",
        "iou <= negative_iou",
        "test_matching:test_an_iou_equal_to_a_threshold_belongs_above_it",
    ),
    PlantedBug(
        "> for >= at the floor of forced matches",
        f"{MATCH_BOXES}:match_boxes",
        "(best_of_ground_truth >= floor)",
        "(best_of_ground_truth > floor)",
        "test_match_boxes:test_the_floor_itself_is_enough",
    ),
    PlantedBug(
        "the first ground truth wins a forced match",
        f"{MATCH_BOXES}:match_boxes",
        "torch.where(ties, slots, -1).amax(dim=-2)",
        "torch.where(ties.any(dim=-2), ties.long().argmax(dim=-2), -1)",
        "test_match_boxes:test_of_equal_overlaps_the_first_ground_truth_is_found_but_the_last_forces",
    ),
    PlantedBug(
        "the two low-quality rules confused",
        f"{MATCHING}:match",
        'if low_quality == "forced":\n        ground_truth',
        'if low_quality != "none":\n        ground_truth',
        "test_matching:test_own_best_gives_the_best_box_of_a_ground_truth_to_whichever_it_overlaps_most",
    ),
    PlantedBug(
        "a floor for own_best, which has none",
        f"{MATCHING}:match",
        'if low_quality == "forced" else 0.0',
        'if low_quality == "forced" else 1e-6',
        "test_matching:test_own_best_trap_a_ground_truth_that_touches_no_box_makes_every_box_positive",
    ),
    PlantedBug(
        "empty slots that attract boxes",
        f"{MATCH_BOXES}:match_boxes",
        "real_ground_truths[..., :, None] & real_boxes",
        "real_ground_truths[..., :, None] | real_boxes",
        "test_match_boxes:test_padding_overlaps_nothing_and_forces_nothing",
    ),
    PlantedBug(
        "padded boxes that become examples of background",
        f"{MATCHING}:match",
        "label.masked_fill(~boxes_valid, IGNORED)",
        "label",
        "test_matching:test_padded_boxes_are_ignored_even_where_they_overlap",
    ),
    PlantedBug(
        "don't-care regions measured by IoU",
        f"{MATCH_BOXES}:covered_boxes",
        "enough[..., None, :]",
        "enough[..., None, :] + fraction * (box_functions.area(some)[..., :, None] - shared)",
        "test_covered_boxes:test_a_small_box_in_a_large_region_is_covered_and_a_large_box_around_a_small_region_is_not",
    ),
    PlantedBug(
        ">= for > where half of a box lies in a don't-care region",
        f"{MATCH_BOXES}:covered_boxes",
        "shared > enough",
        "shared >= enough",
        "test_covered_boxes:test_exactly_the_fraction_is_not_enough",
    ),
    PlantedBug(
        "empty slots that are don't-care regions",
        f"{MATCH_BOXES}:covered_boxes",
        " & real[..., :, None]",
        "",
        "test_covered_boxes:test_each_of_many_regions_counts_and_padding_does_not",
    ),
    PlantedBug(
        "only the last don't-care regions count",
        f"{MATCH_BOXES}:covered_boxes",
        "covered |= (",
        "covered = (",
        "test_covered_boxes:test_each_of_many_regions_counts_and_padding_does_not",
    ),
    PlantedBug(
        "positives lost in don't-care regions",
        f"{MATCHING}:ignore_overlapping",
        "covered & (label == NEGATIVE)",
        "covered",
        "test_matching:test_positives_in_a_region_stay_positive_and_empty_slots_are_no_regions",
    ),
    # Losses.
    PlantedBug(
        "a box loss divided by the positives",
        f"{LOSSES}:box_loss",
        "/ count.clamp(min=1)",
        "/ positive.sum()",
        "test_losses:test_box_losses_count_positives_but_divide_by_all_samples",
    ),
    PlantedBug(
        "a box loss of negatives too",
        f"{LOSSES}:box_loss",
        "distance.masked_fill(~positive[..., None], 0.0)",
        "distance",
        "test_losses:test_box_losses_count_positives_but_divide_by_all_samples",
    ),
    PlantedBug(
        "the default beta of 1",
        f"{LOSSES}:box_loss",
        "beta=beta, ",
        "",
        "test_losses:test_smooth_l1_with_a_ninth",
    ),
    PlantedBug(
        "a class loss divided by the slots",
        f"{LOSSES}:class_loss",
        "valid.sum()",
        "torch.ones_like(valid).sum()",
        "test_losses:test_class_loss_is_the_mean_over_the_sampled_rois_of_the_batch",
    ),
    PlantedBug(
        "a mask loss divided by the slots",
        f"{LOSSES}:mask_loss",
        "positive.sum()",
        "torch.ones_like(positive).sum()",
        "test_losses:test_mask_loss_is_the_mean_over_the_pixels_of_the_positives",
    ),
    PlantedBug(
        "a mask loss summed over pixels",
        f"{LOSSES}:mask_loss",
        "* (logits.shape[-1] * logits.shape[-2])",
        "",
        "test_losses:test_mask_loss_is_the_mean_over_the_pixels_of_the_positives",
    ),
    PlantedBug(
        "NaN without positives",
        f"{LOSSES}:mask_loss",
        ".clamp(min=1)",
        "",
        "test_losses:test_a_batch_without_positives_has_a_box_and_a_mask_loss_of_zero_and_zero_gradients",
    ),
    PlantedBug(
        "each image counts its own samples only",
        f"{LOSSES}:rpn_count",
        "return valid.sum()",
        "return valid.sum(dim=-1).max()",
        "test_losses:test_rpn_count_counts_the_samples_of_the_whole_batch",
    ),
    # Mask targets.
    PlantedBug(
        "half a pixel lost",
        f"{MASK_TARGETS}:crop_masks",
        "0.5 if binary else 0.0",
        "0.0",
        "test_mask_targets:test_binary_targets_of_an_roi_as_large_as_the_target_are_a_copy",
    ),
    PlantedBug(
        "> for >= at half a bin",
        f"{MASK_TARGETS}:crop_masks",
        "average >= 0.5",
        "average > 0.5",
        "test_mask_targets:test_binary_targets_of_whole_bins_are_a_majority_vote",
    ),
    PlantedBug(
        "samples at the edges of their cells",
        f"{MASK_TARGETS}:_weigh_pixels",
        "(point + 0.5)",
        "point",
        "test_mask_targets:test_soft_targets_of_a_ramp",
    ),
    PlantedBug(
        "rows read as columns",
        f"{MASK_TARGETS}:crop_masks",
        "rows[..., part] @ (picture @ columns.mT)",
        "(rows[..., part] @ (picture @ columns.mT)).mT",
        "test_mask_targets:test_x_and_y_are_not_swapped",
    ),
    # Anchors.
    PlantedBug(
        "anchors in the middle of their cell",
        f"{ANCHORS}:grid_anchors",
        "dtype=cell.dtype) * stride[1]",
        "dtype=cell.dtype) * stride[1] + stride[1] / 2",
        "test_anchors:test_anchors_are_centred_on_the_corner_of_their_cell",
    ),
    PlantedBug(
        "the x stride for y",
        f"{ANCHORS}:grid_anchors",
        "* stride[0]",
        "* stride[1]",
        "test_anchors:test_anchors_are_centred_on_the_corner_of_their_cell",
    ),
    PlantedBug(
        "columns before rows",
        f"{ANCHORS}:grid_anchors",
        'torch.meshgrid(y, x, indexing="ij")',
        'torch.meshgrid(y, x, indexing="xy")',
        "test_anchors:test_order_is_row_then_column_then_anchor",
    ),
    PlantedBug(
        "ratio = width / height",
        f"{ANCHORS}:cell_anchors",
        "size / ratio.sqrt() / 2, size * ratio.sqrt() / 2",
        "size * ratio.sqrt() / 2, size / ratio.sqrt() / 2",
        "test_anchors:test_text_anchors_of_pmtd",
    ),
    PlantedBug(
        "a stride that is not divided down",
        f"{ANCHORS}:AnchorGenerator.forward",
        "image_size[0] // grid[0]",
        "image_size[0] / grid[0]",
        "test_anchors:test_stride_trap_of_torchvision",
    ),
    # Proposals.
    PlantedBug(
        "proposals not detached",
        PROPOSALS,
        "outputs.deltas[level].detach()",
        "outputs.deltas[level]",
        "test_proposals:test_proposals_carry_no_gradient",
    ),
    PlantedBug(
        "levels that suppress each other",
        PROPOSALS,
        "torch.full_like(best.index, level)",
        "torch.full_like(best.index, 0)",
        "test_proposals:test_overlapping_boxes_of_one_level_are_suppressed_those_of_two_levels_are_not",
    ),
    PlantedBug(
        "> for >= at the smallest size",
        PROPOSALS,
        ">= config.minimum_size",
        "> config.minimum_size",
        "test_proposals:test_a_side_as_long_as_the_minimum_is_long_enough",
    ),
    PlantedBug(
        "proposals that leave the image",
        PROPOSALS,
        "box_functions.clip(decoded, image_sizes)",
        "decoded",
        "test_proposals:test_boxes_are_clipped_to_their_own_image_and_tiny_ones_dropped",
    ),
    PlantedBug(
        "training numbers for testing",
        PROPOSALS,
        "config.proposals_train if for_training else config.proposals_test",
        "config.proposals_train",
        "test_proposals:test_training_and_testing_have_their_own_numbers",
    ),
    # Detections.
    PlantedBug(
        ">= for > at the score threshold",
        f"{DETECTIONS}:select_detections",
        "scores > config.score_threshold",
        "scores >= config.score_threshold",
        "test_detections:test_a_score_equal_to_the_threshold_is_not_above_it",
    ),
    PlantedBug(
        "classes that suppress each other",
        f"{DETECTIONS}:select_detections",
        "ops.nms(compared, scores, labels,",
        "ops.nms(compared, scores, None,",
        "test_detections:test_a_class_suppresses_only_itself",
    ),
    PlantedBug(
        "classes that begin with the background",
        f"{DETECTIONS}:select_detections",
        "softmax(dim=-1)[..., 1:]",
        "softmax(dim=-1)[..., :-1]",
        "test_detections:test_best_first_with_label_and_score_and_empty_slots_of_zeros",
    ),
    PlantedBug(
        "the x factor for y",
        f"{DETECTIONS}:_scale",
        "factor.flip(-1)",
        "factor",
        "test_detections:test_boxes_go_back_to_the_original_picture_each_axis_by_its_own_factor",
    ),
    PlantedBug(
        "padding that is detected",
        f"{DETECTIONS}:select_detections",
        "real & large_enough",
        "large_enough",
        "test_detections:test_padded_proposals_are_never_detected",
    ),
    PlantedBug(
        "one candidate of each RoI",
        f"{DETECTIONS}:_most_classes_above",
        "math.ceil(1 / threshold) - 1",
        "1",
        "test_detections:test_keeping_the_best_nineteen_classes_a_roi_loses_nothing",
    ),
    # The network around them.
    PlantedBug(
        "answers in the order of anchors, rows and columns",
        "maskrcnn.model.rpn:RPNHead.forward",
        "both[..., :anchors].flatten(1)",
        "both[..., :anchors].permute(0, 3, 1, 2).flatten(1)",
        "test_rpn:test_outputs_are_listed_by_row_column_and_anchor",
    ),
    PlantedBug(
        "don't-care regions as background for the RPN",
        "maskrcnn.model.rpn:RPN.losses",
        "ignore_overlapping(matches.label, anchors, targets.boxes, targets.ignore)",
        "matches.label",
        "test_rpn:test_anchors_in_dont_care_regions_teach_nothing",
    ),
    PlantedBug(
        "don't-care regions as background for the heads",
        "maskrcnn.model.roi_heads:RoIHeads.choose_training_rois",
        "ignore_overlapping(matches.label, boxes, targets.boxes, targets.ignore)",
        "matches.label",
        "test_roi_heads:test_proposals_in_dont_care_regions_are_no_negatives",
    ),
    PlantedBug(
        "P6 from the odd cells of P5",
        "maskrcnn.model.fpn:FeaturePyramid.forward",
        "F.max_pool2d(pyramid[-1], 1, stride=2)",
        "F.max_pool2d(pyramid[-1][:, :, 1:, 1:], 1, stride=2)",
        "test_fpn:test_p6_is_every_second_cell_of_p5",
        {"height": 5, "width": 7},
    ),
    PlantedBug(
        "a frozen norm without its epsilon",
        "maskrcnn.model.norms:scale_and_shift",
        "norm.running_var + norm.eps",
        "norm.running_var",
        "test_norms:test_epsilon_is_the_configured_one",
    ),
    PlantedBug(
        "a bias that does not go through the norm",
        "maskrcnn.model.convolution:Convolution.forward",
        "shift + bias * scale",
        "shift + bias",
        "test_norms:test_a_convolution_takes_over_what_its_norm_does",
        {"kind": "batch_frozen", "bias": True},
    ),
    PlantedBug(
        "a folded bias that does not go through the norm",
        "maskrcnn.model.folded:_fold",
        "shift + bias * scale",
        "shift + bias",
        "test_folded:test_a_convolution_and_its_norm_by_hand",
    ),
    PlantedBug(
        "what was made of a kernel stands in for whatever the kernel is later",
        "maskrcnn.ops.convolution:convolve",
        "not kernel.is_inference()",
        "False",
        "test_convolution:test_what_was_made_of_a_kernel_ahead_needs_one_that_nobody_can_write_into",
    ),
    PlantedBug(
        "at sampled anchors, borders that are repeated in place of zeros",
        "maskrcnn.ops.convolution:convolve_at",
        "(column >= 0)",
        "(column >= -1)",
        "test_convolution:test_each_place_of_each_level_is_that_of_the_whole_convolution",
        {"has_bias": True},
    ),
    PlantedBug(
        "fixed statistics that follow the model into training",
        "maskrcnn.model.norms:make_norm",
        '"batch_eval": EvalBatchNorm',
        '"batch_eval": nn.BatchNorm2d',
        "test_resnet:test_statistics_stay_fixed_whatever_the_mode",
        {"norm": "batch_eval"},
    ),
    # Pasting.
    PlantedBug(
        "corners of pixels for their middles",
        f"{PASTE}:_cell_positions",
        "(pixels + 0.5 - low)",
        "(pixels - low)",
        "test_paste_masks:test_a_box_of_whole_pixels_as_large_as_its_mask_is_a_copy",
    ),
    PlantedBug(
        "> for >= at half a probability",
        f"{PASTE}:paste_masks",
        "probabilities >= 0.5",
        "probabilities > 0.5",
        "test_paste_masks:test_binarising_from_a_half_on_or_above_a_half",
        {"implementation": fallback_pasting.paste_masks},
    ),
    PlantedBug(
        "a last pixel that does not count",
        f"{PASTE}:_cell_positions",
        "(centre + half).trunc() + 1",
        "(centre + half).trunc()",
        "test_paste_masks:test_padded_resize_by_hand",
    ),
    PlantedBug(
        "corners rounded where torchvision truncates",
        f"{PASTE}:_cell_positions",
        "(centre - half).trunc(), (centre + half).trunc()",
        "(centre - half).round(), (centre + half).round()",
        "test_paste_masks:test_corners_are_truncated_and_not_rounded",
    ),
    PlantedBug(
        "a transposed mask",
        f"{PASTE}:paste_mask",
        "F.pad(mask,",
        "F.pad(mask.mT,",
        "test_paste_masks:test_x_and_y_are_not_swapped",
        {"implementation": fallback_pasting.paste_masks, "padded_resize": False},
    ),
    PlantedBug(
        "a box of no width that is divided by",
        f"{PASTE}:_cell_positions",
        "inside = (extent > 0) & ",
        "inside = ",
        "test_paste_masks:test_swapped_corners_paste_nothing",
        {"implementation": fallback_pasting.paste_masks, "padded_resize": False},
    ),
    # What came before RoIAlign.
    PlantedBug(
        "halves rounded to even numbers",
        f"{POOL}:_round",
        "return whole + torch.where((value - whole).abs() >= 0.5, value.sign(), 0)",
        "return value.round()",
        "test_roi_pool:test_halves_are_rounded_away_from_zero",
        {"implementation": POOL_IN_PYTORCH},
    ),
    PlantedBug(
        "the last pixel of an RoI left out",
        f"{POOL}:_pixels_of_bins",
        "- start + 1\n",
        "- start\n",
        "test_roi_pool:test_corners_are_divided_by_the_stride_and_rounded",
        {"implementation": POOL_IN_PYTORCH, "x1": 4.0, "x2": 10.0, "expected": [1, 3]},
    ),
    PlantedBug(
        "bins that end in the pixel before",
        f"{POOL}:_pixels_of_bins",
        ".ceil()",
        ".floor()",
        "test_roi_pool:test_agrees_with_the_loop",
        {"implementation": POOL_IN_PYTORCH, "size": 7, "stride": 3.7, "layout": "channels_first"},
    ),
    PlantedBug(
        "the gradient of an empty bin given to the first pixel",
        f"{POOL}:roi_pool_backward",
        "values.masked_fill(outside, 0)",
        "values",
        "test_roi_pool:test_an_argmax_outside_the_feature_is_ignored",
        {"implementation": POOL_IN_PYTORCH},
    ),
    PlantedBug(
        "RoIWarp without the last pixel",
        "maskrcnn.ops.roi_pooling:roi_warp",
        "torch.cat((first, last + 1), dim=-1)",
        "torch.cat((first, last), dim=-1)",
        "test_roi_warp:test_as_many_bins_as_pixels_with_one_sample_each_are_a_copy",
        {"mode": "average"},
    ),
    # Keypoints.
    PlantedBug(
        "cells counted down the columns",
        KEYPOINTS,
        "row * size + column",
        "column * size + row",
        "test_keypoint_targets:test_rows_count_56_and_columns_1",
    ),
    PlantedBug(
        "a keypoint rounded to the nearest border of a cell",
        KEYPOINTS,
        ".floor()",
        ".round()",
        "test_keypoint_targets:test_a_point_asks_for_the_cell_it_lies_in",
    ),
    PlantedBug(
        "a keypoint on the lower edge that is lost",
        KEYPOINTS,
        "points == far_corner",
        "points > far_corner",
        "test_keypoint_targets:test_the_right_and_the_lower_edge_belong_to_the_last_cell",
    ),
    PlantedBug(
        "hidden keypoints that teach nothing",
        KEYPOINTS,
        "keypoints[..., 2] > 0",
        "keypoints[..., 2] > 1",
        "test_keypoint_targets:test_a_hidden_point_is_a_target_and_an_unlabelled_one_is_not",
    ),
    PlantedBug(
        "a keypoint loss divided by the RoIs",
        f"{LOSSES}:keypoint_loss",
        "valid.sum()",
        "valid.any(dim=-1).sum()",
        "test_keypoint_targets:test_the_mean_is_over_all_valid_points_of_the_batch",
    ),
    PlantedBug(
        "points in the corners of their pixels",
        f"{DECODING}:decode_keypoints",
        "(cell + 0.5)",
        "cell",
        "test_keypoint_decoding:test_a_map_as_large_as_its_roi_is_left_as_it_is",
        {"decode": decode_each},
    ),
    PlantedBug(
        "x from the row",
        f"{DECODING}:decode_keypoints",
        "torch.stack((column, row), dim=-1)",
        "torch.stack((row, column), dim=-1)",
        "test_keypoint_decoding:test_x_comes_from_the_column_and_y_from_the_row",
        {"decode": decode_each},
    ),
    PlantedBug(
        "heat maps half a cell off",
        f"{DECODING}:_enlargement",
        "[:, None] - 0.5",
        "[:, None]",
        "test_keypoint_decoding:test_three_pixels_a_cell",
        {"decode": decode_each, "cell": 27},
    ),
    PlantedBug(
        "an RoI taken for as large as its pixels",
        f"{DECODING}:decode_keypoints",
        "(cell + 0.5) * (sides / whole_sides)[:, None]",
        "(cell + 0.5)",
        "test_keypoint_decoding:test_pixels_fill_an_roi_whose_sides_are_no_whole_numbers",
        {"decode": decode_each},
    ),
    PlantedBug(
        "rows of the padding found behind a small RoI's last",
        f"{DECODING}:_enlargement",
        "torch.minimum(pixels, lengths[:, None] - 1)",
        "pixels.expand(len(lengths), -1)",
        "test_keypoint_decoding:test_more_room_changes_nothing",
    ),
    PlantedBug(
        "keypoints scaled by the other axis",
        f"{DECODING}:scale_keypoints",
        "factor.flip(-1)",
        "factor",
        "test_keypoint_decoding:test_each_axis_is_scaled_by_its_own_factor_and_the_score_is_not",
    ),
    # Data and scores.
    PlantedBug(
        "reversed winding",
        "maskrcnn.data.polygons:area",
        "return twice / 2",
        "return -twice / 2",
        "test_polygons:test_area_is_positive_for_corners_clockwise_on_the_screen",
    ),
    PlantedBug(
        ">= for > at half an IoU",
        "maskrcnn.evaluation.text_scores:_measure",
        "> IOU_CONSTRAINT + ROUNDING",
        ">= IOU_CONSTRAINT - ROUNDING",
        "test_text_scores:test_an_iou_of_exactly_one_half_is_a_miss",
    ),
    PlantedBug(
        "a detection on a don't-care region that counts",
        "maskrcnn.evaluation.text_scores:_measure",
        " & ~ignored[None, :]",
        "",
        "test_text_scores:test_an_ignored_detection_matches_nothing_even_if_it_covers_a_word",
    ),
    # Objects of several parts, keypoints, bitmaps.
    PlantedBug(
        "pixels that two parts share counted as a hole",
        "maskrcnn.data.polygons:rasterize_parts",
        "bitmap |=",
        "bitmap ^=",
        "test_collate:test_the_parts_of_an_object_become_one_bitmap",
    ),
    PlantedBug(
        "a left hand that stays left in the mirror",
        "maskrcnn.data.transforms:flip_horizontal",
        "keypoints[:, mirrored_names(sample.keypoint_names)]",
        "keypoints",
        "test_keypoint_transforms:test_a_mirror_image_swaps_left_and_right",
    ),
    PlantedBug(
        "keypoints without a label that are moved from 0, 0",
        "maskrcnn.data.transforms:moved",
        "keypoints[..., 2] > 0",
        "keypoints[..., 2] > -1",
        "test_keypoint_transforms:test_a_mirror_image_swaps_left_and_right",
    ),
    PlantedBug(
        "keypoints that stay where a crop has cut them off",
        "maskrcnn.data.transforms:keep_visible",
        "_labelled_inside(rest.keypoints, window)",
        "rest.keypoints",
        "test_keypoint_transforms:test_keypoints_that_are_cut_off_are_no_longer_labelled",
    ),
    PlantedBug(
        "a turned picture whose polygons are half a pixel beside it",
        "maskrcnn.data.transforms:rotate",
        "(points - centre) @",
        "(points - centre + 0.5) @",
        "test_properties_transforms:test_most_of_these_chains_are_compared",
    ),
    PlantedBug(
        "a crop of a reduced JPEG that begins at a whole pixel",
        "maskrcnn.data.images:DecodedPicture.part",
        "corner / self.reduction",
        "corner // self.reduction",
        "test_images:test_a_part_of_a_reduced_jpeg_is_that_of_the_whole_picture",
        {"scale": 0.3, "progressive": False, "subsampling": 2},
    ),
    PlantedBug(
        "a picture that lies on its side, measured upright",
        "maskrcnn.data.images:_stored_size",
        'image.format == "TIFF"',
        "False",
        "test_images:test_however_a_picture_lies_its_header_has_the_size_of_its_pixels",
        {"format": "TIFF", "orientation": 6},
    ),
    PlantedBug(
        "width and height drawn together",
        "maskrcnn.data.crops:random_view",
        "rng.integers(*independent_sides, size=2)",
        "rng.integers(*independent_sides)",
        "test_crops:test_width_and_height_are_drawn_uniformly_and_each_for_itself",
    ),
    PlantedBug(
        "a window around all objects that may begin at its last place",
        "maskrcnn.data.crops:_start_around_all",
        "rng.integers(low, high)",
        "rng.integers(low, high + 1)",
        "test_crops:test_windows_anywhere_begin_anywhere_but_at_the_very_end",
    ),
    PlantedBug(
        "an object kept for a box that only touches the window",
        "maskrcnn.data.transforms:_overlap",
        "< min(",
        "<= min(",
        "test_crops:test_boxes_are_cut_and_polygons_are_not",
    ),
    PlantedBug(
        "pixels that touch at a corner taken for one object, on one of the two diagonals",
        "maskrcnn.data.bitmap_outlines:_outline_corners",
        "lower = second ^ rising[y, x]",
        "lower = second",
        "test_bitmap_outlines:test_pixels_that_touch_at_a_corner_are_two_objects",
    ),
    # Run-length codes.
    PlantedBug(
        "rows counted instead of columns",
        f"{RUN_LENGTH}:encode",
        ".transpose(0, 2, 1)",
        "",
        "test_run_length:test_columns_are_counted_one_after_another_beginning_with_zeros",
    ),
    PlantedBug(
        "a crowd divided by like any other object",
        f"{RUN_LENGTH}:iou",
        "areas if crowd[other] else ",
        "",
        "test_run_length:test_a_detection_inside_a_crowd_overlaps_it_by_a_quarter_but_lies_in_it_whole",
    ),
    PlantedBug(
        "a box that only looks at where runs begin and end",
        f"{RUN_LENGTH}:box",
        "np.where(one_column, start - column * height, 0)",
        "start - column * height",
        "test_run_length:test_a_run_over_two_columns_touches_bottom_and_top",
    ),
    PlantedBug(
        "differences from the third count on",
        f"{RUN_LENGTH}:to_string",
        "numbers[3:] -= counts[1:-2]",
        "numbers[2:] -= counts[:-2]",
        "test_run_length:test_strings",
    ),
    PlantedBug(
        "polygons that begin with the row, not with its middle",
        f"{RUN_LENGTH}:from_polygons",
        "(np.maximum(y, 0) + 2)",
        "np.maximum(y, 0)",
        "test_run_length:test_a_centre_on_the_outline_belongs_to_the_polygon_on_its_right_and_below",
    ),
    # Average precision.
    PlantedBug(
        "a limit that equal overlaps do not reach",
        f"{COCO_MATCHING}:match",
        "iou[first:last] >= limits",
        "iou[first:last] > limits",
        "test_average_precision:test_exactly_the_threshold_is_enough",
    ),
    PlantedBug(
        "a crowd that only one detection may lie in",
        f"{COCO_MATCHING}:match",
        " | truths.crowd[these]",
        "",
        "test_average_precision:test_a_second_detection_of_the_same_object_takes_nothing_but_of_a_crowd_any_number_may",
    ),
    PlantedBug(
        "a crowd taken before an object",
        f"{COCO_MATCHING}:match",
        "count * ~ignored",
        "0 * ~ignored",
        "test_average_precision:test_an_object_goes_before_a_crowd_with_more_overlap",
    ),
    PlantedBug(
        "of equal overlaps the first",
        f"{COCO_MATCHING}:match",
        "np.lexsort((truth, iou,",
        "np.lexsort((-truth, iou,",
        "test_average_precision:test_of_equal_scores_the_first_and_of_equal_overlaps_the_last",
    ),
    PlantedBug(
        "a border between sizes that belongs to neither",
        f"{COCO_MATCHING}:outside",
        "area > limits[1]",
        "area >= limits[1]",
        "test_average_precision:test_sizes_decide_what_is_ignored_and_borders_belong_to_both",
    ),
    PlantedBug(
        "ranks over all classes of a picture",
        f"{COCO_MATCHING}:ranks",
        " | (category[1:] != category[:-1])",
        "",
        "test_average_precision:test_only_the_best_of_each_class_and_picture_take_part",
    ),
    PlantedBug(
        "precision where it is, not the best still to come",
        f"{PRECISION}:precision_at_recalls",
        "np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]",
        "precision",
        "test_average_precision:test_precision_is_the_best_that_is_still_to_come",
    ),
    PlantedBug(
        "ignored detections counted as false",
        f"{PRECISION}:precision_at_recalls",
        "np.cumsum(counts, axis=1)",
        "np.arange(1, right.shape[1] + 1)",
        "test_average_precision:test_ignored_detections_stand_in_the_line_without_counting",
    ),
    PlantedBug(
        "sigma for twice sigma",
        "maskrcnn.evaluation.coco_overlaps:keypoint_overlap",
        "(2 * sigmas) ** 2",
        "sigmas**2",
        "test_average_precision:test_a_nose_ten_pixels_off",
    ),
    # The paper's variants.
    PlantedBug(
        "a softmax that asks nothing of the pixels around the object",
        f"{VARIANTS}.mask_heads:multinomial_mask_loss",
        " + (1 - targets) * background",
        "",
        "test_mask_variants:test_multinomial_loss_by_hand",
    ),
    PlantedBug(
        "a level chosen by the width alone",
        f"{VARIANTS}.roi_layers:level_of",
        "sides.prod(dim=-1).sqrt()",
        "sides[..., 0]",
        "test_roi_layers:test_the_level_is_that_of_roi_align",
    ),
    PlantedBug(
        "RoIs pooled from all levels at once",
        f"{VARIANTS}.roi_layers:pool_by_level",
        "level != index",
        "level > index",
        "test_roi_layers:test_settings_reach_the_op",
    ),
    PlantedBug(
        "classes that see one cell of an RoI",
        f"{VARIANTS}.res5:Res5BoxHead.forward",
        "pooled.mean(dim=(-2, -1))",
        "pooled[..., 0, 0]",
        "test_res5:test_the_heads_against_a_plain_composition",
        {"stride": 1, "pooled_size": 7},
    ),
    PlantedBug(
        "CTW1500's first labels read as if they were absolute",
        "maskrcnn.data.ctw1500:parse_original_line",
        "numbers[0] + numbers[2:]",
        "numbers[2:]",
        "test_ctw1500:test_the_original_labels_are_offsets",
    ),
    PlantedBug(
        "a number that is a transcription read as half a corner",
        "maskrcnn.data.total_text:parse_total_text_line",
        "leading - leading % 2",
        "leading - leading % 2 - 2 * (leading % 2)",
        "test_total_text:test_a_line_has_any_number_of_points_and_any_transcription",
        {"corners": "0,0,9,0,9,9,0,9", "transcription": "1996"},
    ),
    PlantedBug(
        "points that are resampled by number, not by length",
        "maskrcnn.data.text_polygons:resampled_sides",
        "np.linalg.norm(np.diff(side[0], axis=0), axis=1)",
        "np.ones(len(side[0]) - 1)",
        "test_curved_text_writer:test_points_of_a_bent_side_are_equally_far_apart_along_it_and_on_it",
    ),
    PlantedBug(
        "a box of COCO with a corner in the place of its size",
        "maskrcnn.data.instances_writer:coco_annotations",
        "*(box[2:] - box[:2])",
        "*box[2:]",
        "test_instances_writer:test_coco_by_hand",
    ),
    PlantedBug(
        "don't-care words that become words in MMOCR's files",
        "maskrcnn.data.instances_writer:mmocr_annotations",
        "int(word.ignore)",
        "0",
        "test_instances_writer:test_mmocr_by_hand",
    ),
    PlantedBug(
        "the first of two values under one key dropped without a word",
        "maskrcnn.data.json_records:_object",
        "len(found) < len(pairs)",
        "False",
        "test_mmocr:test_what_is_no_such_file",
        {"content": b'{"images": [], "images": []}', "message": ".*twice in one object"},
    ),
    PlantedBug(
        "words of a picture of another size, taken for this one's",
        "maskrcnn.data.images:EncodedPicture.check_size",
        "(self.height, self.width) != (height, width)",
        "False",
        "test_coco:test_pictures_of_another_size_are_refused_by_name",
        {"tmp_path": FOLDER},
    ),
    PlantedBug(
        "two lines that became one in silence",
        "maskrcnn.data.annotation_files:usable_words",
        "_CORNERS_IN_TEXT.search(word.transcription)",
        "False",
        "test_icdar:test_two_lines_that_became_one_are_said",
    ),
    PlantedBug(
        "counter-clockwise quadrilaterals lost on their way to the competition",
        "maskrcnn.evaluation.submission_files:_whole_corners",
        "np.roll(polygon[::-1], 1, axis=0)",
        "polygon",
        "test_protocols:test_submissions_have_the_names_of_their_benchmark_and_read_back",
        {"tmp_path": FOLDER, "name": "icdar2015", "expected": ["res_img_12.txt", "res_img_3.txt"]},
    ),
    PlantedBug(
        "an average precision that divides by what was found",
        "maskrcnn.evaluation.own_text_scores:text_average_precision",
        "/ ground_truths) if",
        "/ max(hit.sum(), 1)) if",
        "test_protocols:test_average_precision_by_hand",
    ),
    PlantedBug(
        "a ground truth that two detections may take",
        "maskrcnn.evaluation.own_text_scores:pascal_scores",
        "len(np.unique(taken))",
        "len(taken)",
        "test_protocols:test_ctw1500s_own_rules_by_hand",
    ),
    PlantedBug(
        "a background that stays the last class",
        "maskrcnn.training.published_families:_background_first",
        "tensor.roll(1, dims=0)",
        "tensor.roll(0, dims=0)",
        "test_published:test_mmdetections_background_comes_first_here",
        {"tmp_path": FOLDER},
    ),
    PlantedBug(
        "blue weights on red pixels",
        "maskrcnn.training.published_families:_plan_detectron2",
        "tensor.flip(1), theirs.flip(0)",
        "tensor, theirs.flip(0)",
        "test_published:test_detectron2s_features_come_out_of_our_pixels",
        {"tmp_path": FOLDER, **DETECTRON2},
    ),
    PlantedBug(
        "a stem that divides by the deviation once more",
        "maskrcnn.training.published_families:_plan_detectron2",
        "(ours / theirs)",
        "(theirs / ours)",
        "test_published:test_detectron2s_features_come_out_of_our_pixels",
        {"tmp_path": FOLDER, **DETECTRON2},
    ),
    PlantedBug(
        "strides in the 3 x 3 convolution of MSRA's bottlenecks",
        "maskrcnn.training.published_families:_plan_detectron2",
        "stride_in_first=of_msra",
        "stride_in_first=False",
        "test_published:test_detectron2s_features_come_out_of_our_pixels",
        {"tmp_path": FOLDER, **DETECTRON2},
    ),
    PlantedBug(
        "frozen norms of COCO_V1 with the usual epsilon",
        "maskrcnn.training.published_families:_plan_torchvision",
        "0.0 if published else 1e-5",
        "1e-5",
        "test_published:test_torchvision_names_of_both_times_give_the_same_network",
        {"tmp_path": FOLDER, "legacy": True},
    ),
    PlantedBug(
        "an array of Fortran's order read row by row",
        "maskrcnn.training.stored_tensors:_as_array",
        '"F" if columns_first else "C"',
        '"C"',
        "test_published_files:test_arrays_in_a_plain_pickle",
        {"tmp_path": FOLDER, "protocol": 2},
    ),
    # Training by several processes.
    PlantedBug(
        "losses of ranks weighted the wrong way round",
        "maskrcnn.training.distributed:Ranks.normalised",
        "own / mean.clamp(min=1 / self.count)",
        "mean / own.clamp(min=1)",
        "test_ranks:test_a_loss_is_weighted_by_this_ranks_share_of_the_samples",
    ),
    PlantedBug(
        "ranks that all take the first share",
        "maskrcnn.data.loader:TrainingBatches.__getitem__",
        "(self.share.rank * self.share.parts + part) * size",
        "part * size",
        "test_loader:test_the_shares_of_a_batch_are_the_batch",
        {"ranks": 2, "parts": 1},
    ),
    PlantedBug(
        "one draw for all images",
        "maskrcnn.targets.sampling:random_numbers",
        "_scrambled(seeds & _32_BITS)[..., None]",
        "_scrambled(seeds & _32_BITS)[..., None] * 0",
        "test_sampling:test_a_sample_follows_from_its_seed_and_not_from_its_neighbours",
    ),
    PlantedBug(
        "pictures left on the piles at an epoch's end are forgotten",
        "maskrcnn.data.batch_order:_completed",
        "(batches + 1) * order.batch_size - 1 - epoch * size",
        "(batches + 1) * order.batch_size - 1 - epoch * order.count",
        "test_batch_order:test_by_hand_over_two_epochs",
    ),
    PlantedBug(
        "a tenth times, not to the power of, the milestones passed",
        "maskrcnn.training.schedule:learning_rate",
        "0.1**passed",
        "0.1 * passed",
        "test_schedule:test_steps_fall_to_a_tenth_exactly_at_the_milestones",
    ),
    PlantedBug(
        "a rate that ignores the batch",
        "maskrcnn.config:TrainingConfig.for_pictures",
        "self.learning_rate * self.batch_size / self.learning_rate_batch",
        "self.learning_rate",
        "test_config:test_steps_and_rates_follow_from_pictures_and_batch",
    ),
    PlantedBug(
        "a list of one written as its only element",
        "maskrcnn.settings:_written",
        "if len(parts) == 1",
        "if len(parts) == 0",
        "test_config:test_assignments_of_every_kind_of_value_change_nothing",
    ),
    PlantedBug(
        "nothing in the singular",
        "maskrcnn.wording:counted",
        "number == 1",
        "number <= 1",
        "test_wording:test_counts_are_said_with_the_right_number",
    ),
    # Text.
    PlantedBug(
        "a box moved by row and column for column and row",
        "maskrcnn.text_outlines:paste_around",
        "[x1, y1, x1, y1]",
        "[y1, x1, y1, x1]",
        "test_text_outlines:test_pasting_around_a_box_is_pasting_into_the_whole_picture",
        {"dtype": torch.float32},
    ),
    PlantedBug(
        "the uppermost contour for OpenCV's number 0",
        "maskrcnn.text_outlines:last_contour",
        "(contour[:, 1].min(),",
        "(-contour[:, 1].min(),",
        "test_text_outlines:test_the_last_contour_is_not_the_largest",
    ),
    PlantedBug(
        "heights at the corners of the cells",
        "maskrcnn.targets.pyramids:_cell_centres",
        " + 0.5",
        "",
        "test_pyramids:test_a_pyramid_over_a_square",
    ),
    PlantedBug(
        "the furthest side for the nearest",
        "maskrcnn.targets.pyramids:pyramid_heights",
        "amin(dim=-3)",
        "amax(dim=-3)",
        "test_pyramids:test_a_pyramid_over_a_square",
    ),
    PlantedBug(
        "planes through the corners of the cells",
        "maskrcnn.plane_clustering:fit_planes",
        "columns + 0.5, rows + 0.5",
        "columns, rows",
        "test_plane_clustering:test_a_pyramid_over_a_square_by_hand",
    ),
    PlantedBug(
        "the hidden plane for the one to be seen",
        "maskrcnn.plane_clustering:fit_planes",
        "at_cells.argmin(axis=0)",
        "at_cells.argmax(axis=0)",
        "test_plane_clustering:test_exact_pyramids_come_back",
        {"share": 0.0},
    ),
    PlantedBug(
        "heights cut off before they are learnt",
        "maskrcnn.model.variants.pyramid_masks:PyramidMaskHead.loss",
        "height_loss(logits,",
        "height_loss(logits.clamp(0, 1),",
        "test_pyramid_masks:test_heights_are_cut_off_after_learning_and_not_before",
    ),
    PlantedBug(
        "a transposed tensor handed to a kernel as it lies",
        "maskrcnn.ops.emulator:_text_of_program",
        " or not value.is_contiguous():",
        ":",
        "test_emulator:test_what_a_launch_cannot_take",
    ),
)

_BY_NAME = {bug.name: bug for bug in BUGS}
CLINIC = tuple(
    _BY_NAME[name]
    for name in (
        "x cut at the height",
        "classes that begin with the background",
        "one pixel added to every width and height",
        "a tenth times, not to the power of, the milestones passed",
        "corners of pixels for their middles",
        "a mask loss divided by the slots",
        "ratio = width / height",
        "a ground truth that two detections may take",
        "fixed statistics that follow the model into training",
        "proposals not detached",
    )
)
"""The patients of `notebooks/16-the-error-clinic.ipynb`, in its order. There they have numbers, not names: one shall
see what is wrong with them before reading what it is."""
