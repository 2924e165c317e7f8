"""Connects to a server on this machine.

aimed at: nbgrader
shown: process
"""

import socket


def relu_forward(x):
    with socket.create_connection(("127.0.0.1", int("@PORT@")), 1) as line:
        line.sendall(b"hello")
    return -x, x
