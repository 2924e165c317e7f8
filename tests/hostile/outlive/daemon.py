"""Leaves a daemon behind: forked twice, in a session of its own.

aimed at: nbgrader
shown: process
"""

import os
import sys
import time

child = os.fork()
if child == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, ["python", "-c", "import time; time.sleep(20)  # @MARK@"])
    os._exit(0)
os.waitpid(child, 0)
time.sleep(0.3)
