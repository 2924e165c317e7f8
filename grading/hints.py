"""What to write instead: modern forms of old code, and what cannot be where code is graded."""

from __future__ import annotations

import re

# (exception, what its message says) -> what to write
_HINTS = [
    ("SyntaxError", r"call to 'print'", "Python 3 writes print(x), a function"),
    ("SyntaxError", r"except .* as|multiple exception types", "Python 3 writes except Error as e"),
    ("SyntaxError", r"null bytes|codec can't decode", "save the file as UTF-8"),
    ("NameError", r"'xrange'", "Python 3 writes range for xrange"),
    ("NameError", r"'unicode'", "Python 3 writes str for unicode"),
    ("NameError", r"'raw_input'", "Python 3 writes input for raw_input"),
    ("NameError", r"'reduce'", "Python 3 writes functools.reduce"),
    ("AttributeError", r"'iteritems'", "Python 3 writes items() for iteritems()"),
    ("AttributeError", r"'has_key'", "Python 3 writes key in dictionary for has_key"),
    ("ModuleNotFoundError", r"'(cPickle|Queue|urllib2)'", "Python 3 has a new name for it"),
    (
        "AttributeError",
        r"numpy.*'(int|float|bool|object|long)'",
        "NumPy 2 leaves these names to Python: write int, float or bool",
    ),
    (
        "TypeError",
        r"'float' object cannot be .* integer|sequence of integers",
        "Python 3: write // to divide whole numbers",
    ),
    ("TypeError", r"'(map|zip|dict_keys|filter)' object", "Python 3 needs list(...) around it"),
    (
        "ModuleNotFoundError",
        r"import of torch halted",
        "torch is not there for the NumPy exercises: remove this import",
    ),
    (
        "ModuleNotFoundError",
        r"import of torchvision halted",
        "torchvision is not there where code is graded: remove this import",
    ),
    ("BdbQuit", "", "nobody is there to answer a debugger: remove the breakpoint"),
    ("EOFError", r"reading a line", "nobody is there to answer: remove the input()"),
]


def hint(exception: str, message: str) -> str:
    """What to do about the exception, or ''."""
    for name, pattern, instead in _HINTS:
        if exception == name and re.search(pattern, message):
            return instead
    return ""
