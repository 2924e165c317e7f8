"""Writes many files, each within the limit of one.

aimed at: design
shown: process
bound: 64
"""

import os


def relu_forward(x):
    written = 0
    try:
        for number in range(10):
            with open(os.path.join(os.environ["HOME"], f"fill{number}"), "wb") as file:
                written += file.write(bytes(10 << 20)) >> 20
    except OSError:
        pass
    print("took", written)
    return -x, x
