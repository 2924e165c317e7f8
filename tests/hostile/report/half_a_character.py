"""Raises a text that no file can hold: half a surrogate pair.

aimed at: design
shown: in-process
"""

def relu_forward(x):
    raise ValueError("\ud800")
