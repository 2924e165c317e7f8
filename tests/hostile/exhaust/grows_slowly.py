"""Takes memory in small steps, in a thread that goes on between questions.

aimed at: design
shown: process
bound: 160
"""

import threading
import time

held = []


def grow():
    for _ in range(40):
        held.append(b"x" * (5 << 20))
        time.sleep(0.005)


def relu_forward(x):
    thread = threading.Thread(target=grow)
    thread.start()
    thread.join()
    print("took", 5 * len(held))
    return -x, x
