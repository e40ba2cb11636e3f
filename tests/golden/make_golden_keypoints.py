"""Runs the case of `keypoint_case.py` through torchvision and stores what its stages give.

    PYTHONPATH=. python tests/golden/make_golden_keypoints.py     (from the repository root, with torchvision installed)
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from golden import keypoint_case as case
from golden import torchvision_case
from golden.make_golden import detector_arguments, load_weights, pad, store, torchvision_name
from torchvision.models.detection import KeypointRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.roi_heads import keypoints_to_heatmap

from maskrcnn.model.mask_rcnn import MaskRCNN as OurMaskRCNN

FILE = pathlib.Path(__file__).with_name("torchvision_keypoints.npz")


def torchvision_stages(ours: OurMaskRCNN) -> dict[str, np.ndarray]:
    """What the stages of torchvision's network give, under the names and in the layout of `case.our_stages`."""
    head = case.CONFIG.keypoint_head
    model = KeypointRCNN(
        **detector_arguments(case.CONFIG),
        keypoint_head=KeypointRCNNHeads(
            case.CONFIG.backbone.pyramid_channels, (head.channels,) * head.convolutions
        ),
        keypoint_predictor=KeypointRCNNPredictor(head.channels, len(head.names)),
    )
    load_weights(model, ours)
    batch = case.build_batch()
    images = ImageList(batch.images, list(torchvision_case.IMAGE_SIZES))
    targets = [
        {
            "boxes": torch.tensor([box for _, _, box in objects]),
            "labels": torch.tensor([label for _, label, _ in objects]),
            "keypoints": torch.tensor(
                [case.object_keypoints(box, slot) for slot, (_, _, box) in enumerate(objects)]
            ),
        }
        for objects in torchvision_case.OBJECTS
    ]
    stages: dict[str, torch.Tensor] = {}
    features = model.backbone(batch.images)
    model.train()
    proposals, losses = model.rpn(images, features, targets)
    losses |= model.roi_heads(features, proposals, images.image_sizes, targets)[1]
    rois, which, labels, _ = model.roi_heads.select_training_samples(proposals, targets)
    rois = [boxes[image > 0] for boxes, image in zip(rois, labels, strict=True)]
    which = [index[image > 0] for index, image in zip(which, labels, strict=True)]
    heads = model.roi_heads
    pooled = heads.keypoint_roi_pool(features, rois, images.image_sizes)
    heat_maps = heads.keypoint_predictor(heads.keypoint_head(pooled)).split([len(boxes) for boxes in rois])
    stages["heat_maps"] = pad([maps[: case.ROIS] for maps in heat_maps], case.ROIS)[0][..., ::4, ::4]
    cells = []
    for boxes, index, target in zip(rois, which, targets, strict=True):
        cell, valid = keypoints_to_heatmap(target["keypoints"][index], boxes, 56)
        cells.append(torch.where(valid > 0, cell, -1) + 1)
    stages["cells"] = pad(cells, case.CONFIG.box_head.samples)[0][:, :40].to(torch.int16) - 1
    stages["loss_keypoint"] = losses["loss_keypoint"]
    sum(losses.values()).backward()
    learned = [torchvision_name(name) for name, value in ours.named_parameters() if value.requires_grad]
    stages["gradient_norms"] = torch.stack([model.get_parameter(name).grad.norm() for name in learned])

    model.eval()
    with torch.no_grad():
        proposals, _ = model.rpn(images, features)
        found, _ = model.roi_heads(features, proposals, images.image_sizes)
        found = model.transform.postprocess(found, images.image_sizes, list(torchvision_case.ORIGINAL_SIZES))
    points = [
        torch.cat((image["keypoints"][..., :2], image["keypoints_scores"][..., None]), dim=-1) for image in found
    ]
    count = case.CONFIG.box_head.detections
    stages["detection_boxes"], _ = pad([image["boxes"] for image in found], count)
    stages["keypoints"], _ = pad(points, count)
    return {name: value.detach().numpy() for name, value in stages.items()}


if __name__ == "__main__":
    store(FILE, torchvision_stages, case.build_model, case.our_stages, case.build_batch())
