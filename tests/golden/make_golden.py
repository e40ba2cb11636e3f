"""Runs the case of `torchvision_case.py` through torchvision and stores what its stages give.

    PYTHONPATH=. python tests/golden/make_golden.py        (from the repository root, where torchvision is installed)

Before anything is stored, our stages are compared with torchvision's, and both with those of slightly disturbed
weights: every discrete choice of the case (which boxes survive, which anchors match) must have some margin, or the
golden file would break on the next processor.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

import torchvision
from golden import torchvision_case as case
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import project_masks_on_boxes
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import FrozenBatchNorm2d

from maskrcnn.config import ModelConfig
from maskrcnn.model.mask_rcnn import MaskRCNN as OurMaskRCNN
from maskrcnn.structures import Batch

FILE = pathlib.Path(__file__).with_name("torchvision.npz")
Stages = Callable[[OurMaskRCNN, Batch], dict[str, np.ndarray]]

# Beginnings of our names and of torchvision's (spec section 1.11); the longest that fits counts.
NAMES = {
    "backbone.": "backbone.body.",
    **{f"pyramid.lateral.{k}.": f"backbone.fpn.inner_blocks.{k}.0." for k in range(4)},
    **{f"pyramid.output.{k}.": f"backbone.fpn.layer_blocks.{k}.0." for k in range(4)},
    "rpn.head.convolution.": "rpn.head.conv.0.0.",
    "rpn.head.objectness.": "rpn.head.cls_logits.",
    "rpn.head.deltas.": "rpn.head.bbox_pred.",
    "roi_heads.box_head.fc1.": "roi_heads.box_head.fc6.",
    "roi_heads.box_head.fc2.": "roi_heads.box_head.fc7.",
    "roi_heads.box_head.classes.": "roi_heads.box_predictor.cls_score.",
    "roi_heads.box_head.deltas.": "roi_heads.box_predictor.bbox_pred.",
    **{f"roi_heads.mask_head.convolutions.{j}.": f"roi_heads.mask_head.{j}.0." for j in range(4)},
    "roi_heads.mask_head.deconvolution.": "roi_heads.mask_predictor.conv5_mask.",
    "roi_heads.mask_head.logits.": "roi_heads.mask_predictor.mask_fcn_logits.",
    **{f"roi_heads.keypoint_head.convolutions.{j}.": f"roi_heads.keypoint_head.{2 * j}." for j in range(8)},
    "roi_heads.keypoint_head.deconvolution.": "roi_heads.keypoint_predictor.kps_score_lowres.",
}


def torchvision_name(name: str) -> str:
    """What torchvision calls the parameter or buffer that we call `name`."""
    beginning = max((ours for ours in NAMES if name.startswith(ours)), key=len)
    return NAMES[beginning] + name.removeprefix(beginning)


def build_torchvision_model(ours: OurMaskRCNN) -> MaskRCNN:
    """torchvision's network of the same configuration, with the weights of ours."""
    config, mask_head = case.CONFIG, case.CONFIG.mask_head
    model = MaskRCNN(
        **detector_arguments(config),
        mask_head=MaskRCNNHeads(config.backbone.pyramid_channels, (mask_head.channels,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(mask_head.channels, mask_head.channels, config.class_count),
    )
    load_weights(model, ours)
    return model


def detector_arguments(config: ModelConfig) -> dict[str, Any]:
    """What all of torchvision's detectors need for a configuration."""
    body = torchvision.models.resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    channels = config.backbone.pyramid_channels
    layers = {f"layer{stage}": str(stage - 1) for stage in range(1, 5)}
    classes = config.class_count
    rpn, box_head = config.rpn, config.box_head
    return {
        "backbone": BackboneWithFPN(body, layers, [256, 512, 1024, 2048], channels),
        "rpn_anchor_generator": AnchorGenerator(
            tuple((int(size),) for size in config.anchors.sizes), (config.anchors.ratios,) * 5
        ),
        "rpn_pre_nms_top_n_train": rpn.candidates_train,
        "rpn_pre_nms_top_n_test": rpn.candidates_test,
        "rpn_post_nms_top_n_train": rpn.proposals_train,
        "rpn_post_nms_top_n_test": rpn.proposals_test,
        "rpn_batch_size_per_image": rpn.samples,
        "box_head": TwoMLPHead(channels * box_head.pooled_size**2, box_head.hidden),
        "box_predictor": FastRCNNPredictor(box_head.hidden, classes),
        "box_batch_size_per_image": box_head.samples,
        "box_positive_fraction": box_head.positive_fraction,
        "box_score_thresh": box_head.score_threshold,
        "box_detections_per_img": box_head.detections,
    }


def load_weights(model: torch.nn.Module, ours: OurMaskRCNN) -> None:
    """Gives torchvision's network the weights of ours; neither may have any that the other has not."""
    model.load_state_dict({torchvision_name(name): value for name, value in ours.state_dict().items()}, strict=False)
    expected = {name for name in model.state_dict() if not name.startswith("backbone.body.fc.")}
    assert {torchvision_name(name) for name in ours.state_dict()} == expected


def torchvision_stages(ours: OurMaskRCNN) -> dict[str, np.ndarray]:
    """What every stage of torchvision's network gives, under the names and in the layout of `case.our_stages`."""
    model, batch = build_torchvision_model(ours), case.build_batch()
    stages: dict[str, torch.Tensor] = {}
    images = ImageList(batch.images, list(case.IMAGE_SIZES))
    targets = []
    for (height, width), objects in zip(case.IMAGE_SIZES, case.OBJECTS, strict=True):
        masks = [case.object_mask(shape, box, height, width) for shape, _, box in objects]
        targets.append(
            {
                "boxes": torch.tensor([box for _, _, box in objects]),
                "labels": torch.tensor([label for _, label, _ in objects]),
                "masks": torch.from_numpy(np.stack(masks)),
            }
        )

    features = model.backbone(batch.images)
    for level, feature in enumerate(features.values()):
        stages[f"pyramid_{level}"] = feature[:, ::8]

    objectness, deltas = model.rpn.head(list(features.values()))
    counts = [level[0].numel() for level in objectness]
    anchors = model.rpn.anchor_generator(images, list(features.values()))
    objectness, deltas = concat_box_prediction_layers(objectness, deltas)
    decoded = model.rpn.box_coder.decode(deltas.detach(), anchors).view(batch.size, -1, 4)
    stages["anchors"] = anchors[0]
    stages["rpn_objectness"] = objectness.view(batch.size, -1)
    stages["rpn_deltas"] = deltas.view(batch.size, -1, 4)[:, ::5]
    labels, matched = model.rpn.assign_targets_to_anchors(anchors, targets)
    stages["rpn_label"] = torch.stack(labels).long()
    which = [
        (boxes[:, None] == target["boxes"]).all(dim=-1).long().argmax(dim=-1)
        for boxes, target in zip(matched, targets, strict=True)
    ]
    stages["rpn_match"] = torch.where(stages["rpn_label"] == 1, torch.stack(which), -1)
    for mode, slots in (("train", case.CONFIG.rpn.proposals_train), ("test", case.CONFIG.rpn.proposals_test)):
        model.train(mode == "train")
        boxes, _ = model.rpn.filter_proposals(decoded, objectness, images.image_sizes, counts)
        stages[f"proposals_{mode}"], stages[f"proposals_{mode}_valid"] = pad(boxes, slots)

    model.train()
    proposals, losses = model.rpn(images, features, targets)
    rois, which, labels, goals = model.roi_heads.select_training_samples(proposals, targets)
    order = [torch.cat((torch.where(image > 0)[0], torch.where(image == 0)[0])) for image in labels]
    positive = [image[rows] > 0 for image, rows in zip(labels, order, strict=True)]
    rois, which, labels, goals = (
        [image[rows] for image, rows in zip(values, order, strict=True)] for values in (rois, which, labels, goals)
    )
    slots = case.CONFIG.box_head.samples
    stages["rois"], stages["rois_valid"] = pad(rois, slots)
    stages["roi_labels"], _ = pad(labels, slots)
    matches = [torch.where(real, image, -1) for image, real in zip(which, positive, strict=True)]
    stages["roi_match"] = pad(matches, slots)[0].masked_fill(~stages["rois_valid"], -1)
    goals = [goal * real[:, None] for goal, real in zip(goals, positive, strict=True)]
    stages["roi_delta_targets"], _ = pad(goals, slots)
    cropped = [
        project_masks_on_boxes(target["masks"], boxes[real][:16], image[real][:16], 28)
        for target, boxes, image, real in zip(targets, rois, which, positive, strict=True)
    ]
    stages["mask_targets"], _ = pad(cropped, 16)
    losses |= model.roi_heads(features, proposals, images.image_sizes, targets)[1]
    for ours_name, name in (
        ("rpn_objectness", "loss_objectness"),
        ("rpn_box", "loss_rpn_box_reg"),
        ("class", "loss_classifier"),
        ("box", "loss_box_reg"),
        ("mask", "loss_mask"),
    ):
        stages[f"loss_{ours_name}"] = losses[name]
    sum(losses.values()).backward()
    learned = [torchvision_name(name) for name, value in ours.named_parameters() if value.requires_grad]
    stages["gradient_norms"] = torch.stack([model.get_parameter(name).grad.norm() for name in learned])

    model.eval()
    with torch.no_grad():
        proposals, _ = model.rpn(images, features)
        found, _ = model.roi_heads(features, proposals, images.image_sizes)
        masks = [image["masks"][:, 0] for image in found]
        found = model.transform.postprocess(found, images.image_sizes, list(case.ORIGINAL_SIZES))
    count = case.CONFIG.box_head.detections
    stages["detection_boxes"], stages["detection_valid"] = pad([image["boxes"] for image in found], count)
    stages["detection_scores"], _ = pad([image["scores"] for image in found], count)
    stages["detection_labels"], _ = pad([image["labels"] for image in found], count)
    stages["detection_masks"] = pad(masks, count)[0][:, :4]
    for index, image in enumerate(found):
        stages[f"pasted_{index}"] = image["masks"][:3, 0, ::3, ::3]
    return {name: value.detach().numpy() for name, value in stages.items()}


def pad(rows: list[torch.Tensor], slots: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One tensor (B, slots, ...), zeros in the empty slots, and which slots (B, slots) are real."""
    padded = rows[0].new_zeros(len(rows), slots, *rows[0].shape[1:])
    valid = torch.zeros(len(rows), slots, dtype=torch.bool)
    for image, values in enumerate(rows):
        padded[image, : len(values)], valid[image, : len(values)] = values, True
    return padded, valid


def disturbed(
    build_model: Callable[[], OurMaskRCNN], our_stages: Stages, batch: Batch, amount: float
) -> Iterator[dict[str, np.ndarray]]:
    """Our stages after relative changes of all weights, three times over."""
    for trial in range(3):
        model = build_model()
        with torch.no_grad():
            for name, value in model.state_dict().items():
                value.mul_(1 + case.uniform(f"{name} disturbed {trial}", tuple(value.shape), -amount, amount))
        yield our_stages(model, batch)


def store(
    file: pathlib.Path,
    torchvision_stages: Callable[[OurMaskRCNN], dict[str, np.ndarray]],
    build_model: Callable[[], OurMaskRCNN],
    our_stages: Stages,
    batch: Batch,
) -> None:
    """Writes what torchvision's stages give, unless ours, or ours with disturbed weights, disagree."""
    torch.set_num_threads(1)
    ours = build_model()
    theirs, own = torchvision_stages(ours), our_stages(ours, batch)
    assert theirs.keys() == own.keys()
    wrong = []
    for name, value in theirs.items():
        difference = np.abs(value.astype(np.float64) - own[name]).max()
        print(f"{name:22} {value.shape!s:18} largest {np.abs(value).max():9.4f}   ours differs by {difference:.2g}")
        wrong.append((name, case.disagreement(own[name], value)))
    for stages in disturbed(build_model, our_stages, batch, 3e-7):
        wrong += [(f"{name}, disturbed", case.disagreement(stages[name], value)) for name, value in own.items()]
    for name, message in wrong:
        if message:
            sys.exit(f"{name}: {message}; nothing was stored")
    versions = {"torch_version": np.array(torch.__version__), "torchvision_version": np.array(torchvision.__version__)}
    np.savez_compressed(file, **{name: case.shortened(value) for name, value in theirs.items()}, **versions)
    print(f"{file.name}: {file.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    store(FILE, torchvision_stages, case.build_model, case.our_stages, case.build_batch())
