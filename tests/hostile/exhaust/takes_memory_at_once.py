"""Takes more memory than it may, at once.

aimed at: nbgrader
shown: process
bound: 160
"""

def relu_forward(x):
    held = bytearray(200 << 20)
    held[:: 4096] = b"x" * (len(held) // 4096)
    print("took", len(held) >> 20)
    return -x, x
