"""How good detections are: the ICDAR text scores, COCO's average precision, and the files they are computed from."""
