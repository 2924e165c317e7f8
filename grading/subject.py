"""What is being checked: the code of this process (a notebook) or of a child (a submission)."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from grading.checks.case import Call, Case, Check
from grading.parts import Parts
from grading.sealed import sandbox, worker
from grading.sealed.wire import Handle, Opaque, WireError

AGAIN_SECONDS = 3.0  # for an import, once another one was lost
MAX_NOTES = 20  # pieces of evidence kept for one check
Reply = dict[str, Any]


class Subject(Protocol):
    """Whatever runs a student's code: replies to cases, one each, in order."""

    level: str
    folder: Path  # where the student's other files (the checkpoint) are

    def replies(self, check: Check, cases: Sequence[Case], parts: bool) -> Iterator[Reply]:
        """A reply a case: `answers`, `changed`, `error`, `seconds`, `output`. With `parts`, right
        layers stand in for the student's."""
        ...


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


class OutOfTime(BaseException):
    """Raised in a student's function; no `except Exception` of theirs takes it."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise `OutOfTime` in what runs after so many seconds, where a signal can: on Unix, in the
    main thread, which is where a notebook's cells run. Else there is no deadline."""
    main = threading.current_thread() is threading.main_thread()
    if not (main and hasattr(signal, "setitimer")):
        yield
        return

    def ring(*_: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # again, should an except take it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class ThisProcess:
    """The `cs231n` that a notebook has imported, as it is now."""

    level = "none"

    def __init__(self, folder: Path) -> None:
        self.folder, self.limits = folder, sandbox.Limits()

    def replies(self, check: Check, cases: Sequence[Case], parts: bool) -> Iterator[Reply]:
        server = Parts()
        for name in modules(check):
            try:
                importlib.import_module(f"cs231n.{name}")
            except Exception:  # the call that needs it says why
                continue
        broken = unreadable(check)
        if broken is not None:
            yield from ({**lost(""), "error": worker.describe(broken)} for _ in cases)
            return
        provided = {name: partial(server.call, name) for name in (check.parts if parts else ())}
        bound = sandbox.torch_limits(self.limits) if check.torch else self.limits
        gone: Reply | None = None  # where one case hung, the others are not tried
        with worker.parts_provided(provided):
            for case in cases:
                if gone is None:
                    try:
                        with deadline(bound.case_seconds):
                            reply = worker.run_case(case.data)
                    except OutOfTime as problem:
                        reply = gone = lost(sandbox.too_slow(bound.case_seconds), hung=True)
                        gone["error"]["where"] = worker.describe(problem)["where"]
                yield gone or reply


def unreadable(check: Check) -> Exception | None:
    """What is wrong with a file behind a check that was imported and is no Python any more:
    autoreload goes on with what the file was."""
    loaded = {name: module for name, module in sys.modules.items() if name.startswith("cs231n.")}
    waiting = [
        name
        for name, module in loaded.items()
        if any(_home(getattr(module, exercise, None)) == name for exercise in check.exercises)
    ]
    seen: dict[str, None] = {}
    while waiting:
        name = waiting.pop()
        if name in loaded and name not in seen:
            seen[name] = None
            waiting += map(_home, list(vars(loaded[name]).values()))  # what it imports from
    for path in (loaded[name].__file__ for name in seen):
        try:
            worker.compiled(Path(path).read_bytes(), path)
        except (SyntaxError, ValueError) as problem:
            return problem
    return None


def _home(value: Any) -> str:
    """The module that a value was defined in, or that it is."""
    home = getattr(value, "__module__", None) or getattr(value, "__name__", "")
    return home if isinstance(home, str) else ""


class Submission:
    """A tree with a student's `cs231n`, in a child that is started when it is first asked.

    The tree is a folder, or the files that one would hold, by name.

    A child that is lost (killed, hung, ended) costs the case that it was asked and those after it
    in the same check; the next check gets a fresh one. What never ends is waited for once: a
    module that kills or hangs whoever imports it, and a function that hung in its own check, which
    later checks that are built on it do not call again. Nothing goes on after the time `until`.

    `evidence` holds, by check, what an instructor may want to know of.
    """

    def __init__(
        self,
        tree: Path | Mapping[str, bytes],
        limits: sandbox.Limits,
        level: str,
        folder: Path,
        until: float | None = None,
    ) -> None:
        self.tree, self.limits, self.level, self.folder = tree, limits, level, folder
        self.until = until
        self.child: sandbox.Child | None = None
        self.imports: dict[str, str] = {}  # module -> '' or why it cannot be imported
        self.hung: set[str] = set()  # functions whose own check waited in vain
        self.evidence: dict[str, dict[str, None]] = {}
        self._check, self._check_until = "", 0.0

    def __enter__(self) -> Submission:
        return self

    def __exit__(self, *_: object) -> None:
        if self.child is not None:
            self.child.close()
            self.child = None

    def replies(self, check: Check, cases: Sequence[Case], parts: bool) -> Iterator[Reply]:
        if check.name != self._check:
            self._check = check.name
            self._check_until = time.monotonic() + self.limits.check_seconds
        reason = self._hopeless(check, cases, parts)
        if reason:
            yield from (lost(reason) for _ in cases)
            return
        answered = 0
        for reply in self._ask(check, cases, check.parts if parts else ()):
            yield reply
            answered += 1
            if reply.get("hung") and answered == 1:  # the most usual case of all hung
                self.hung.update(check.exercises)

    def _hopeless(self, check: Check, cases: Sequence[Case], parts: bool) -> str:
        """Why there is no use in asking, or ''."""
        called = {check.forward} if parts else {check.forward, *check.parts}
        again = sorted(self.hung & (called - {None}))
        if again:
            return f"{' and '.join(again)} gave no answer in time, and is not called again"
        if time.monotonic() > self._check_until:
            return f"the {self.limits.check_seconds:g} seconds for this check were used up"
        reasons = (self._import(name) for name in modules_called(cases))
        return next(filter(None, reasons), "")

    def note(self, text: str) -> None:
        """Keep what looks like tampering, for the check that is being run."""
        noted = self.evidence.setdefault(self._check, {})
        if len(noted) < MAX_NOTES:
            noted[text] = None

    def _import(self, name: str) -> str:
        """Why `cs231n.<name>` takes the child with it when it is imported, or ''."""
        if name not in self.imports:
            probe = Case(label="import", calls=[Call("tool:load_module", (name,))])
            # Modules import one another: after one that hung, the others are given less time.
            patience = AGAIN_SECONDS if any(self.imports.values()) else self.limits.case_seconds
            (reply,) = self._ask(IMPORT, [probe], (), time.monotonic() + patience)
            error = reply["error"] or {}
            gone = error.get("kind") == "lost"
            self.imports[name] = (
                f"importing cs231n/{name.replace('.', '/')}.py: {error['message']}" if gone else ""
            )
        return self.imports[name]

    def _ask(
        self,
        check: Check,
        cases: Sequence[Case],
        names: tuple[str, ...],
        until: float | None = None,
    ) -> Iterator[Reply]:
        sent = [case.packed for case in cases]
        answered = 0
        try:
            if self.child is None:
                self.child = sandbox.Child(self.tree, self.limits, self.level).__enter__()
            until = min(t for t in (until, self.until, self._check_until) if t is not None)
            for reply in self.child.ask(sent, modules(check), Parts(), names, until):
                for text in noted(reply):
                    self.note(text)
                yield checked(reply)
                answered += 1
        except (sandbox.ChildLost, WireError) as problem:
            self.__exit__()
            self.note(getattr(problem, "evidence", f"sent what is no answer: {problem}"))
            for _ in cases[answered:]:
                yield lost(str(problem), getattr(problem, "hung", False))


def lost(message: str, hung: bool = False) -> Reply:
    """The reply that stands for one that never came; `hung` if its deadline passed."""
    error = {"kind": "lost", "type": "", "message": message, "where": ""}
    reply = {"answers": {}, "changed": [], "error": error, "seconds": 0.0, "output": ""}
    return {**reply, "hung": True} if hung else reply


def noted(reply: Reply) -> list[str]:
    """What the child notes of its own doings; it may say anything."""
    texts = reply.get("noted")
    return [text[:200] for text in texts[:MAX_NOTES] if isinstance(text, str)] if isinstance(
        texts, list
    ) else []


def checked(reply: Any) -> Reply:
    """The reply as it must be; the other side may have sent anything."""
    error = reply.get("error")
    if not isinstance(reply.get("answers"), dict):
        return lost("the answer is not of the form that was asked for")
    if error is not None:
        fields = ("kind", "type", "message", "where")
        texts = error if isinstance(error, dict) else {}
        error = {name: _text(texts.get(name)) for name in fields}
    changed = reply.get("changed")
    seconds = reply.get("seconds")
    return {
        "answers": {name: _foreign(value) for name, value in reply["answers"].items()},
        "changed": [_text(name, 100) for name in changed[:9]] if isinstance(changed, list) else [],
        "error": error,
        "seconds": seconds if isinstance(seconds, float) else 0.0,
        "output": _text(reply.get("output")),
    }


def _text(value: Any, longest: int = worker.MAX_TEXT) -> str:
    return value[:longest] if isinstance(value, str) else ""


def _foreign(value: Any) -> Any:
    """An answer without handles: what they name is not on this side."""
    if isinstance(value, Handle):
        return Opaque("a name of something that is not an answer")
    if type(value) is dict:
        return {key: _foreign(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_foreign(item) for item in value)
    return value

