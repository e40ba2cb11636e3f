"""The network, one stage a module; `mask_rcnn.py` shows the whole forward pass on one page."""
