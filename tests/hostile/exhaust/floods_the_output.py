"""Prints 5 MB.

aimed at: nbgrader
shown: in-process
"""

def relu_forward(x):
    for _ in range(50):
        print("A" * 100_000)
    return -x, x
