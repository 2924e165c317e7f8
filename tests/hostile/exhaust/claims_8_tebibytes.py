"""Sends a head that announces 8 TiB.

aimed at: design
shown: trusting
"""

import os
import sys


def relu_forward(x):
    lengths = (4).to_bytes(4, "little") + (1 << 43).to_bytes(8, "little")
    os.write(int(sys.argv[3]), b"c231" + lengths)
    return -x, x
