"""Starts 150 threads.

aimed at: design
shown: process
bound: 64
"""

import threading


def relu_forward(x):
    done, count = threading.Event(), 0
    try:
        for _ in range(150):
            threading.Thread(target=done.wait).start()
            count += 1
    except RuntimeError:
        pass
    done.set()
    print("took", count)
    return -x, x
