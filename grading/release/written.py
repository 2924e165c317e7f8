"""What a student has written so far, read from the source without running it."""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

from grading.checks import ALL

_DEFINITION = re.compile(rb"^(?:def|class)\s+([A-Za-z_]\w*)", re.MULTILINE)


@dataclass(frozen=True)
class Progress:
    """Exercises without a definition, those still a stub, and files that do not parse."""

    undefined: tuple[str, ...]
    stubs: tuple[str, ...]
    broken: tuple[str, ...]


def progress(sources: Mapping[str, bytes]) -> Progress:
    """Read task files and helpers, given by name, and look for each check's exercises."""
    defined: dict[str, bool] = {}
    broken = []
    for name, source in sources.items():
        try:
            defined |= definitions(ast.parse(source, filename=name))
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            where = f"{name}, line {line}" if line else name
            broken.append(f"{where}: not Python 3 ({getattr(error, 'msg', error)})")
            # What such a file defines is not missing: its one message is the syntax error's.
            defined |= {name.decode(): False for name in _DEFINITION.findall(source)}
    wanted = list(dict.fromkeys(e for check in ALL.values() for e in check.exercises))
    undefined = tuple(e for e in wanted if e not in defined)
    return Progress(undefined, tuple(e for e in wanted if defined.get(e)), tuple(broken))


def definitions(tree: ast.Module) -> dict[str, bool]:
    """Each name that a module defines, and whether it is a stub (wholly or in a method)."""
    found: dict[str, bool] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name: False for alias in node.names}
        elif isinstance(node, ast.Assign):
            found |= {t.id: False for t in node.targets if isinstance(t, ast.Name)}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = any(_not_written(inner) for inner in ast.walk(node))
    return found


def _not_written(node: ast.AST) -> bool:
    if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
        return False
    text = "".join(str(a.value) for a in node.exc.args if isinstance(a, ast.Constant))
    name = getattr(node.exc.func, "id", "")
    return name == "NotImplementedError" and "not written yet" in text
