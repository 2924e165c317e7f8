"""Writes into /dev/shm, which every process sees.

aimed at: design
shown: process
"""

def relu_forward(x):
    with open("/dev/shm/@MARK@", "w") as file:
        file.write("seen by all")
    return -x, x
