"""Prints the environment of somebody else's process, by way of /proc.

aimed at: design
shown: process
"""


def relu_forward(x):
    with open("/proc/@PID@/environ") as file:
        print(file.read())
    return -x, x
