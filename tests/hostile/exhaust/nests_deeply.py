"""Sends a tree that is 10,000 deep.

aimed at: design
shown: trusting
"""

import os
import sys


def relu_forward(x):
    tree = b"[" * 10_000 + b"]" * 10_000
    os.write(int(sys.argv[3]), b"c231" + len(tree).to_bytes(4, "little") + bytes(8) + tree)
    return -x, x
