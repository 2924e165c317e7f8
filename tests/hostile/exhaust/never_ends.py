"""Loops for ever, and ignores the signals that would interrupt it.

aimed at: nbgrader
shown: in-process
"""

import signal


def relu_forward(x):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    while True:
        pass
