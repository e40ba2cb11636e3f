"""Every picture that the notebooks and the command line draw.

`canvas` draws outlines and labels on a picture, `pictures` puts objects and detections on it, `skeletons` puts figures
of keypoints on it, and `curves` and `detection_scores` draw diagrams. Nothing here opens a window: pictures are Pillow
images, diagrams are written to PNG files. `maskrcnn.visualize.diagrams`, which the notebooks import, draws with pyplot.
"""

from maskrcnn.visualize.curves import coverage_by_size, precision_recall, training_curves
from maskrcnn.visualize.detection_scores import class_scores, error_breakdown, precision_recall_of_classes
from maskrcnn.visualize.pictures import contact_sheet, draw_detections, draw_matches, draw_objects, draw_sample
from maskrcnn.visualize.skeletons import CONFIDENT_SCORE, draw_figures, draw_keypoints

__all__ = [
    "CONFIDENT_SCORE",
    "class_scores",
    "contact_sheet",
    "coverage_by_size",
    "draw_detections",
    "draw_figures",
    "draw_keypoints",
    "draw_matches",
    "draw_objects",
    "draw_sample",
    "error_breakdown",
    "precision_recall",
    "precision_recall_of_classes",
    "training_curves",
]
