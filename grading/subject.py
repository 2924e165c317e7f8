"""What is being checked: the code of this process (a notebook) or of a child (a submission)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from grading.checks.case import Call, Case, Check, Kept
from grading.parts import Parts
from grading.sealed import sandbox, worker
from grading.sealed.wire import Handle, WireError

Reply = dict[str, Any]


class Subject(Protocol):
    """Whatever runs a student's code: replies to cases, one each, in order."""

    level: str
    folder: Path  # where the student's other files (the checkpoint) are

    def replies(self, check: Check, cases: Sequence[Case], parts: bool) -> Iterator[Reply]:
        """A reply a case: `answers`, `changed`, `error`, `seconds`, `output`. With `parts`, right
        layers stand in for the student's."""
        ...


def as_data(case: Case) -> list[dict[str, Any]]:
    """A case's calls as they cross the wall."""
    return [_call_as_data(call) for call in case.calls]


def _call_as_data(call: Call) -> dict[str, Any]:
    return {
        "function": call.function,
        "args": tuple(_handles(arg) for arg in call.args),
        "kwargs": {key: _handles(arg) for key, arg in call.kwargs.items()},
        "returns": list(call.returns),
        "keep": list(call.keep),
        "echo": dict(call.echo),
        "of": call.of,
    }


def _handles(arg: Any) -> Any:
    return Handle(arg.name) if isinstance(arg, Kept) else arg


def modules(check: Check) -> list[str]:
    """The modules below `cs231n` whose names the parts are bound in."""
    return ["layers", "layer_utils", "classifiers.fc_net", "classifiers.cnn"] if check.parts else []


def modules_called(cases: Sequence[Case]) -> list[str]:
    """The modules below `cs231n` that the cases call into, each once."""
    paths = [call.function for case in cases for call in case.calls]
    found = [path.partition(":")[0] for path in paths if ":" in path]
    if any(path == "tool:fully_connected_net" for path in paths):
        found.append("classifiers.fc_net")
    return [name for name in dict.fromkeys(found) if name != "tool"]


IMPORT = Check("import", 0.0, "", (), lambda rng: [])


class ThisProcess:
    """The `cs231n` that a notebook has imported; a changed file is read again first."""

    level = "none"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def replies(self, check: Check, cases: Sequence[Case], parts: bool) -> Iterator[Reply]:
        server = Parts()
        for name in modules(check):
            try:
                importlib.import_module(f"cs231n.{name}")
            except Exception:  # the call that needs it says why
                continue
        provided = {
            name: _bound(server, name) for name in (check.parts if parts else ())
        }
        with worker.parts_provided(provided):
            for case in cases:
                yield worker.run_case(as_data(case))


def _bound(server: Parts, name: str) -> Any:
    return lambda *args, **kwargs: server.call(name, *args, **kwargs)


class Submission:
    """A tree with a student's `cs231n`, in a child that is started when it is first asked.

    A child that is lost (killed, hung, ended) costs the case that it was asked and those after it
    in the same check; the next check gets a fresh one. A module that kills or hangs whoever
    imports it is asked for once.
    """

    def __init__(self, tree: Path, limits: sandbox.Limits, level: str, folder: Path) -> None:
        self.tree, self.limits, self.level, self.folder = tree, limits, level, folder
        self.child: sandbox.Child | None = None
        self.imports: dict[str, str] = {}  # module -> '' or why it cannot be imported

    def __enter__(self) -> Submission:
        return self

    def __exit__(self, *_: object) -> None:
        if self.child is not None:
            self.child.close()
            self.child = None

    def replies(self, check: Check, cases: Sequence[Case], parts: bool) -> Iterator[Reply]:
        for name in modules_called(cases):
            if self._import(name):
                yield from (lost(self.imports[name]) for _ in cases)
                return
        yield from self._ask(check, cases, check.parts if parts else ())

    def _import(self, name: str) -> str:
        """Why `cs231n.<name>` takes the child with it when it is imported, or ''."""
        if name not in self.imports:
            probe = Case(label="import", calls=[Call("tool:load_module", (name,))])
            (reply,) = self._ask(IMPORT, [probe], ())
            error = reply["error"] or {}
            gone = error.get("kind") == "lost"
            self.imports[name] = (
                f"importing cs231n/{name.replace('.', '/')}.py: {error['message']}" if gone else ""
            )
        return self.imports[name]

    def _ask(
        self, check: Check, cases: Sequence[Case], names: tuple[str, ...]
    ) -> Iterator[Reply]:
        sent = [as_data(case) for case in cases]
        answered = 0
        try:
            if self.child is None:
                self.child = sandbox.Child(self.tree, self.limits, self.level).__enter__()
            for reply in self.child.ask(sent, modules(check), Parts(), names):
                yield checked(reply)
                answered += 1
        except (sandbox.ChildLost, WireError) as problem:
            self.__exit__()
            for _ in cases[answered:]:
                yield lost(str(problem))


def lost(message: str) -> Reply:
    """The reply that stands for one that never came."""
    error = {"kind": "lost", "type": "", "message": message, "where": ""}
    return {"answers": {}, "changed": [], "error": error, "seconds": 0.0, "output": ""}


def checked(reply: Any) -> Reply:
    """The reply as it must be; the other side may have sent anything."""
    error = reply.get("error")
    if not isinstance(reply.get("answers"), dict):
        return lost("the answer is not of the form that was asked for")
    if error is not None:
        fields = ("kind", "type", "message", "where")
        texts = error if isinstance(error, dict) else {}
        error = {name: str(texts.get(name, ""))[: worker.MAX_TEXT] for name in fields}
    changed = reply.get("changed")
    seconds = reply.get("seconds")
    return {
        "answers": reply["answers"],
        "changed": [str(name)[:100] for name in changed[:9]] if isinstance(changed, list) else [],
        "error": error,
        "seconds": seconds if isinstance(seconds, float) else 0.0,
        "output": str(reply.get("output", ""))[: worker.MAX_TEXT],
    }

