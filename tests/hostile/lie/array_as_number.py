"""Numbers its reply with an array, which has no truth value: the comparison raises.

aimed at: design
shown: trusting
"""

import os
import sys

import numpy as np

wire = sys.modules["grading.sealed.wire"]


def relu_forward(x):
    reply = {"task": np.array([1, 1]), "case": np.array([0, 0]), "answers": {"out": x}}
    os.write(int(sys.argv[3]), wire.encode(reply))
    return x, x
