"""Writes a file into another folder.

aimed at: nbgrader
shown: process
"""

def relu_forward(x):
    with open("@CANARY@/planted", "w") as file:
        file.write("here")
    return -x, x
