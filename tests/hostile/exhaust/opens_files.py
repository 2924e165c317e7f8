"""Opens 1000 files at once.

aimed at: any grader
shown: process
bound: 256
"""

def relu_forward(x):
    held = []
    try:
        for _ in range(1000):
            held.append(open("/dev/null"))
    except OSError:
        pass
    print("took", len(held))
    return -x, x
