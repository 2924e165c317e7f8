"""Writes one file of 40 MB.

aimed at: nbgrader
shown: process
bound: 16
"""

import os


def relu_forward(x):
    size = 0
    try:
        with open(os.path.join(os.environ["HOME"], "large"), "wb", buffering=0) as file:
            for _ in range(40):
                size += file.write(bytes(1 << 20)) >> 20
    except OSError:
        pass
    print("took", size)
    return -x, x
