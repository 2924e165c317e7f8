"""Never finishes being imported.

aimed at: nbgrader
shown: in-process
"""

import time

while True:
    time.sleep(1)
