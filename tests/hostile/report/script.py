"""Puts a script into an exception's text.

aimed at: nbgrader
shown: in-process
"""

def relu_forward(x):
    raise ValueError("<script>alert(1)</script><img src=x onerror=alert(1)>")
