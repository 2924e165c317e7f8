"""CS231n's second assignment: layers, update rules and networks that you write yourself."""

import importlib.util
import sys
import types


def _allow_old_imports():
    """`from past.builtins import xrange` stands in solutions of 2016 to 2018: let it work."""
    if "past" in sys.modules or importlib.util.find_spec("past") is not None:
        return
    past, builtins = types.ModuleType("past"), types.ModuleType("past.builtins")
    builtins.xrange, builtins.range, builtins.unicode = range, range, str
    past.builtins = builtins
    sys.modules.update({"past": past, "past.builtins": builtins})


_allow_old_imports()
