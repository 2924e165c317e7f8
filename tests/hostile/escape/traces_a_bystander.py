"""Attaches itself to another process as a debugger does.

aimed at: design
shown: process
bound: 0
"""

import ctypes


def relu_forward(x):
    print("took", int(ctypes.CDLL(None).ptrace(16, int("@PID@"), 0, 0) == 0))
    return -x, x
