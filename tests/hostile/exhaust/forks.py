"""Starts 150 processes that wait.

aimed at: nbgrader
shown: process
bound: 64
"""

import os
import time


def relu_forward(x):
    children = []
    try:
        for _ in range(150):
            child = os.fork()
            if child == 0:
                time.sleep(2)
                os._exit(0)
            children.append(child)
    except OSError:
        pass
    print("took", len(children))
    for child in children:
        os.kill(child, 9)
        os.waitpid(child, 0)
    return -x, x
