"""Sends an answer of 64 MB.

aimed at: design
shown: trusting
"""

import os
import sys

wire = sys.modules["grading.sealed.wire"]


def relu_forward(x):
    tree = b'{"a":["|u1",[67108864],0]}'
    head = b"c231" + len(tree).to_bytes(4, "little") + (64 << 20).to_bytes(8, "little")
    with os.fdopen(os.dup(int(sys.argv[3])), "wb") as line:
        line.write(head + tree)
        for _ in range(64):
            line.write(bytes(1 << 20))
    return -x, x
