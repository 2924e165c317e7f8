"""Hides control codes in the name of an exception's class.

aimed at: design
shown: in-process
"""

def relu_forward(x):
    raise type("Fine\x1b[8m", (Exception,), {})("fine")
