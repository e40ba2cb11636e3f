"""`python -m maskrcnn ...`"""

import os
import sys

# Threads that wait for work shall sleep, not spin: with the processes that prepare pictures, and with whatever else
# runs, they share the processor. It has to be said before PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from maskrcnn.cli import main

sys.exit(main())
