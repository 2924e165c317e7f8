"""Clears the reader's terminal by an exception's text, and hides behind a new title.

aimed at: any report
shown: in-process
"""

def relu_forward(x):
    raise ValueError("\x1b[2J\x1b]0;all points\x07 nothing to see")
