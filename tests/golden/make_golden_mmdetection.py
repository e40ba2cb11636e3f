"""Gives the weights of `mmdetection_case.py` to MMDetection's own Mask R-CNN and stores what it finds and loses.

    PYTHONPATH=. python tests/golden/make_golden_mmdetection.py

where mmdet 2.28.2 and mmcv 1.7.2 are installed, the latter without its compiled ops (MMCV_WITH_OPS=0), which no longer
compile with today's PyTorch. Everything is MMDetection's own code but for two functions of those ops, NMS and RoIAlign,
for which torchvision's stand in; the two agree where both exist.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile
import types
from unittest import mock

import numpy as np
import torch
import torchvision.ops

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

FILE = pathlib.Path(__file__).with_name("mmdetection.npz")


class CompiledOps(types.ModuleType):
    """Stands for mmcv._ext; whatever else is asked for is not called here."""

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return None

    @staticmethod
    def nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float, offset: int) -> torch.Tensor:
        """Indices of the boxes that remain, best first."""
        assert offset == 0
        return torchvision.ops.nms(boxes, scores, iou_threshold)

    @staticmethod
    def roi_align_forward(features, rois, output, *_, aligned_height, aligned_width, spatial_scale, sampling_ratio,
                          pool_mode, aligned):  # fmt: skip
        """Fills `output`."""
        assert pool_mode == 1  # average
        size = (aligned_height, aligned_width)
        output.copy_(torchvision.ops.roi_align(features, rois, size, spatial_scale, sampling_ratio, aligned))


sys.modules["mmcv._ext"] = CompiledOps("mmcv._ext")

import mmcv  # noqa: E402 (which imports its ops)
import mmdet  # noqa: E402
from golden import mmdetection_case as case  # noqa: E402
from golden.published_case import COMPARED, MASKS, disagreements, object_mask, picture  # noqa: E402
from mmdet.core import BitmapMasks  # noqa: E402
from mmdet.models import build_detector  # noqa: E402

CODER = {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4}
BOX_DEVIATIONS, ANCHOR_DEVIATIONS = [0.1, 0.1, 0.2, 0.2], [1.0] * 4
STRIDES = [4, 8, 16, 32]
MEAN, DEVIATION = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


def their_network() -> torch.nn.Module:
    """MMOCR 0's configuration (spec sections 1, 2 and 3.2), as wide as the case's file."""
    assigner = {"type": "MaxIoUAssigner", "match_low_quality": True, "ignore_iof_thr": -1}
    nms_train = {"nms_pre": 2000, "max_per_img": 1000, "nms": {"type": "nms", "iou_threshold": 0.7}, "min_bbox_size": 0}

    def extractor(size: int) -> dict:
        layer = {"type": "RoIAlign", "output_size": size, "sampling_ratio": 0}
        return {
            "type": "SingleRoIExtractor", "roi_layer": layer, "out_channels": case.PYRAMID, "featmap_strides": STRIDES,
        }  # fmt: skip

    settings = {
        "type": "MaskRCNN",
        "backbone": {
            "type": "ResNet", "depth": 50, "base_channels": case.WIDTH, "stem_channels": case.WIDTH,
            "num_stages": 4, "out_indices": (0, 1, 2, 3), "frozen_stages": 1,
            "norm_cfg": {"type": "BN", "requires_grad": True}, "norm_eval": True, "style": "pytorch",
        },
        "neck": {
            "type": "FPN", "in_channels": [4 * case.WIDTH * 2**stage for stage in range(4)],
            "out_channels": case.PYRAMID, "num_outs": 5,
        },
        "rpn_head": {
            "type": "RPNHead", "in_channels": case.PYRAMID, "feat_channels": case.PYRAMID,
            "anchor_generator": {
                "type": "AnchorGenerator", "scales": [4], "ratios": [0.17, 0.44, 1.13, 2.90, 7.46],
                "strides": [*STRIDES, 64],
            },
            "bbox_coder": {**CODER, "target_stds": ANCHOR_DEVIATIONS},
            "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
            "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0},
        },
        "roi_head": {
            "type": "StandardRoIHead",
            "bbox_roi_extractor": extractor(7),
            "bbox_head": {
                "type": "Shared2FCBBoxHead", "in_channels": case.PYRAMID, "fc_out_channels": case.HIDDEN,
                "roi_feat_size": 7, "num_classes": case.CLASSES, "reg_class_agnostic": False,
                "bbox_coder": {**CODER, "target_stds": BOX_DEVIATIONS},
                "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
                "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0},
            },
            "mask_roi_extractor": extractor(14),
            "mask_head": {
                "type": "FCNMaskHead", "num_convs": 4, "in_channels": case.PYRAMID,
                "conv_out_channels": case.PYRAMID, "num_classes": case.CLASSES,
                "loss_mask": {"type": "CrossEntropyLoss", "use_mask": True, "loss_weight": 1.0},
            },
        },
        "train_cfg": {
            "rpn": {
                "assigner": {**assigner, "pos_iou_thr": 0.7, "neg_iou_thr": 0.3, "min_pos_iou": 0.3},
                "sampler": {
                    "type": "RandomSampler", "num": 256, "pos_fraction": 0.5, "neg_pos_ub": -1,
                    "add_gt_as_proposals": False,
                },
                "allowed_border": -1, "pos_weight": -1, "debug": False,
            },
            "rpn_proposal": nms_train,
            "rcnn": {
                "assigner": {**assigner, "pos_iou_thr": 0.5, "neg_iou_thr": 0.5, "min_pos_iou": 0.5},
                "sampler": {
                    "type": "OHEMSampler", "num": 512, "pos_fraction": 0.25, "neg_pos_ub": -1,
                    "add_gt_as_proposals": True,
                },
                "mask_size": 28, "pos_weight": -1, "debug": False,
            },
        },
        "test_cfg": {
            "rpn": {**nms_train, "nms_pre": 1000},
            "rcnn": {
                "score_thr": 0.05, "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 100,
                "mask_thr_binary": 0.5,
            },
        },
    }  # fmt: skip
    model = build_detector(mmcv.ConfigDict(settings))
    model.load_state_dict(case.weights())
    return model


def prepared(pixels: np.ndarray) -> torch.Tensor:
    """(3, H, W) normalised by mmcv; BGR as OpenCV reads it."""
    normal = mmcv.imnormalize(np.ascontiguousarray(pixels[..., ::-1]), MEAN, DEVIATION, to_rgb=True)
    return torch.from_numpy(normal).permute(2, 0, 1).contiguous()


def about(size: tuple[int, int], flip: bool = False) -> dict:
    """What MMDetection wants to know about a picture."""
    shape = (*size, 3)
    return {
        "img_shape": shape, "ori_shape": shape, "pad_shape": shape, "batch_input_shape": size, "flip": flip,
        "scale_factor": np.ones(4, np.float32), "filename": "", "ori_filename": "",
    }  # fmt: skip


@torch.no_grad()
def found_by(model: torch.nn.Module, name: str) -> dict[str, np.ndarray]:
    """What MMDetection's network finds in a picture; masks before they are pasted."""
    model.eval()
    image = prepared(picture(name, case.SIZES[name]))[None]
    metas = [about(case.SIZES[name])]
    features = model.extract_feat(image)
    proposals = model.rpn_head.simple_test_rpn(features, metas)
    boxes, labels = model.roi_head.simple_test_bboxes(features, metas, proposals, model.test_cfg.rcnn, rescale=True)
    rois = torch.cat((torch.zeros(len(boxes[0]), 1), boxes[0][:, :4]), dim=1)
    logits = model.roi_head._mask_forward(features, rois)["mask_pred"]
    masks = logits[torch.arange(len(logits)), labels[0]].sigmoid()
    scores = boxes[0][:, 4]
    print(f"{name}: {len(scores)} found, {int((scores > 0.5).sum())} with a score above a half")
    return {
        f"{name}_boxes": boxes[0][:COMPARED, :4].numpy(),
        f"{name}_scores": scores[:COMPARED].numpy(),
        f"{name}_labels": (labels[0][:COMPARED] + 1).numpy().astype(np.int16),
        f"{name}_masks": masks[:MASKS].numpy(),
    }


def losses_by(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """MMDetection's losses on the training pictures, with samplers that take what comes first."""
    model.train()
    images, boxes, labels, masks = [], [], [], []
    for index, objects in enumerate(case.OBJECTS):
        images.append(prepared(picture(f"training {index}", case.TRAINING_SIZE)))
        boxes.append(torch.tensor([box for _, box in objects]))
        labels.append(torch.tensor([label - 1 for label, _ in objects]))
        bitmaps = np.stack([object_mask(box, case.TRAINING_SIZE) for _, box in objects])
        masks.append(BitmapMasks(bitmaps, *case.TRAINING_SIZE))
    metas = [about(case.TRAINING_SIZE)] * len(images)
    with mock.patch("torch.randperm", lambda count, device=None: torch.arange(count)), torch.no_grad():
        losses = model.forward_train(torch.stack(images), metas, boxes, labels, gt_masks=masks)
    names = {
        "rpn_objectness": "loss_rpn_cls",
        "rpn_box": "loss_rpn_bbox",
        "class": "loss_cls",
        "box": "loss_bbox",
        "mask": "loss_mask",
    }
    # Each level of the pyramid has a loss of its own; together they are the loss of the batch.
    return {
        f"loss_{ours}": np.float32(float(sum(losses[name]) if isinstance(losses[name], list) else losses[name]))
        for ours, name in names.items()
    }


def main() -> None:
    torch.set_num_threads(1)
    theirs = their_network()
    expected = {name: value for size in case.SIZES for name, value in found_by(theirs, size).items()}
    expected |= losses_by(theirs)
    pixels = picture("scaled", case.SCALED[0])
    resized = mmcv.imrescale(pixels, (case.CONFIGURATION["long_side"], case.CONFIGURATION["short_side"]))
    assert resized.shape[:2] == case.SCALED[1], resized.shape
    expected["scaled_picture"] = resized
    with tempfile.TemporaryDirectory() as folder:
        own = case.ours(case.imported(pathlib.Path(folder)))
    for name, value in own.items():
        print(f"{name:20} {value.shape!s:14} differs by {np.abs(expected[name].astype(np.float64) - value).max():.2g}")
    wrong = disagreements(own, expected)
    if wrong:
        sys.exit("\n".join([*wrong, "nothing was stored"]))
    versions = {"mmdet_version": np.array(mmdet.__version__), "torch_version": np.array(torch.__version__)}
    np.savez_compressed(FILE, **expected, **versions)
    print(f"{FILE.name}: {FILE.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
