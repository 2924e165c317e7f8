"""Task files without their solutions: each region becomes one NotImplementedError."""

import ast
from functools import cache

from grading.checks import ALL
from grading.overlay import SOLUTIONS
from grading.release.markers import MarkerError, Region, regions, replace


@cache
def build_stub(name: str) -> str:
    """The unwritten form of the task file `name` (`cs231n/layers.py`), from its master.

    Raises MarkerError if a region is outside a function, if a function has two, or if no
    check exercises the function.
    """
    return strip(name, (SOLUTIONS / name).read_text(encoding="utf-8"))


def strip(name: str, master: str) -> str:
    """`master` with each solution region replaced by a NotImplementedError."""
    owners = _owners(name, master)
    return replace(master, name, lambda region: _stub(name, region, owners[region]))


def exercises(name: str, master: str) -> list[str]:
    """The functions and methods (`FullyConnectedNet.loss`) that have a solution region."""
    return list(_owners(name, master).values())


def _stub(name: str, region: Region, function: str) -> str:
    notebook = _notebook(function)
    if notebook is None:
        raise MarkerError(f"{name}:{region.start}: no check exercises {function}")
    return (
        "raise NotImplementedError(\n"
        f'    "{function}: not written yet. "\n'
        f'    "Write it in {name}; "\n'
        f'    "notebooks/{notebook}.ipynb explains it."\n'
        ")"
    )


def _notebook(function: str) -> str | None:
    """The notebook of the first check that exercises a function, or a method's class."""
    names = {function, function.partition(".")[0]}
    return next((c.notebook for c in ALL.values() if names & set(c.exercises)), None)


def _owners(name: str, master: str) -> dict[Region, str]:
    """The innermost function around each region, as `name` or `Class.name`."""
    functions = _functions(ast.parse(master, filename=name))
    owners: dict[Region, str] = {}
    for region in regions(master, name):
        around = [
            (first, function)
            for first, last, function in functions
            if first < region.start and region.end <= last + 1
        ]
        if not around:
            raise MarkerError(f"{name}:{region.start}: a region outside a function")
        function = max(around)[1]
        if function in owners.values():
            raise MarkerError(f"{name}:{region.start}: a second region in {function}")
        owners[region] = function
    return owners


def _functions(tree: ast.AST, prefix: str = "") -> list[tuple[int, int, str]]:
    """(first line, last line, qualified name) of every function in `tree`."""
    found = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = prefix + node.name
            if not isinstance(node, ast.ClassDef):
                found.append((node.lineno, node.end_lineno, name))
            found += _functions(node, name + ".")
        else:
            found += _functions(node, prefix)
    return found
