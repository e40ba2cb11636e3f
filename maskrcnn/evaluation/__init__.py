"""How good detections are: the ICDAR text scores, and reading and writing the files they are computed from."""
