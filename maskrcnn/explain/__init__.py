"""One picture through every stage of the network, on one page that anybody can open.

    explanation = explain(maskrcnn.load("text_small"), "photo.jpg")
    write_page("explain.html", explanation)

A trace of the network (`maskrcnn.trace`) is turned into data (`network.py`, `training.py`), the data into text
(`encoding.py`), and both go into one file with the page's own style and scripts (`page.py`, `page/`).
"""

from maskrcnn.explain.explanation import Explanation, explain
from maskrcnn.explain.page import write_page

__all__ = ["Explanation", "explain", "write_page"]
