"""These tests use what those one folder up share."""

import os
import sys
from pathlib import Path

SHARED = str(Path(__file__).parents[1])
sys.path.insert(0, SHARED)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [SHARED, os.environ.get("PYTHONPATH", "")]))
