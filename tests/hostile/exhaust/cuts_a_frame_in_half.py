"""Sends half a frame, and waits.

aimed at: design
shown: trusting
"""

import os
import sys
import time

wire = sys.modules["grading.sealed.wire"]


def relu_forward(x):
    frame = wire.encode({"task": 1, "case": 0, "answers": {"out": x}})
    os.write(int(sys.argv[3]), frame[: len(frame) // 2])
    time.sleep(60)
