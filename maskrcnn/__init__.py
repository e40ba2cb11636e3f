"""Mask R-CNN, written to be read: every component in a small module of its own, and real software all the same.

The hurried reader starts here:

    import maskrcnn
    detections = maskrcnn.load("text_small")("photo.jpg")

The patient one starts with `maskrcnn/model/mask_rcnn.py`, the whole forward pass on one page.

Shapes are written with the same letters everywhere:

    B   images of a batch                    H, W  height and width of an image or a feature map, in its own cells
    L   pyramid levels, finest first         C     channels of a feature map
    A   anchors of an image, all levels      K     classes including the background, which is class 0
    N   any number of boxes or candidates    P     corners of a polygon
    G   ground-truth slots of an image       S     cells along one side of a pooled RoI (7 for boxes, 14 for masks)
    R   RoI slots of an image                m     cells along one side of a mask (28) or a heat map (56)
    D   detection slots of an image          J     keypoints of an object (17 of a person)
                                             ...   any leading dimensions, also none

Boxes are (x1, y1, x2, y2) in continuous pixels: pixel i covers [i, i + 1) and a box is x2 - x1 wide.
"""

__version__ = "0.1.0"


def load(weights, device="cpu", settings=(), compile=False, precision="float32"):
    """A `maskrcnn.detector.Detector` of a weights file or a shipped name such as "text_small".

    settings: changes to the settings in the file, such as "model.image.long_side=1280".
    compile: use `torch.compile`, which takes minutes to start.
    precision: "bfloat16" is faster where the processor or the GPU has instructions for it.
    """
    from maskrcnn.detector import load as load_detector  # here, so that `import maskrcnn` alone costs nothing

    return load_detector(weights, device, settings, compile, precision)
