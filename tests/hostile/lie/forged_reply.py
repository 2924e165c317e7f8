"""Writes a reply of its own, with points, while it is being imported.

aimed at: design
shown: trusting
"""

import os
import sys

wire = sys.modules["grading.sealed.wire"]

os.write(int(sys.argv[3]), wire.encode({"task": 999, "case": 0, "answers": {}, "points": 1.0}))
