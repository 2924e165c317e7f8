"""Where the gradebook is: in the course folder, or on the PostgreSQL server of CS231N_DB_URL.

A server may be away for a while. What needs it is then run again once it is back; after
PATIENCE seconds it ends with a sentence, and the same command goes on from there.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, create_engine, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, StatementError

if TYPE_CHECKING:  # its import takes a while, and most commands have no use for it
    from nbgrader.api import Gradebook

VARIABLE = "CS231N_DB_URL"  # environment variable: the gradebook's URL
INSTALL = "pip install psycopg psycopg-binary"
PATIENCE = 300.0  # seconds to wait for a server that does not answer
OUTAGES = 20  # of a server during one command, before it is given up
# A server that is gone without a word is noticed within a minute.
NOTICED = {
    "connect_timeout": "10", "keepalives_idle": "20", "keepalives_interval": "10",
    "keepalives_count": "3", "tcp_user_timeout": "60000",
}  # fmt: skip
# The one lock of all who write into this gradebook, from whatever machine.
WRITER = int.from_bytes(hashlib.sha256(b"cs231n gradebook").digest()[:8], signed=True)


class GradebookError(RuntimeError):
    """The gradebook cannot be used; the text says why, in one sentence."""


def url(course: Path) -> str:
    """The gradebook's URL: that of the environment, or SQLite in the course folder."""
    said = os.environ.get(VARIABLE)
    if not said:
        return f"sqlite:///{course}/gradebook.db"
    address = _parsed(said)
    if address.get_backend_name() == "sqlite":  # nbgrader's command works in the course folder
        if not address.database or address.database == ":memory:":
            raise GradebookError(f"{VARIABLE} names no file: sqlite:////folder/gradebook.db does")
        address = address.set(database=str(Path(course).resolve() / address.database))
    if address.get_backend_name() == "postgresql":
        address = address.update_query_dict(NOTICED | dict(address.query))
    return address.render_as_string(hide_password=False)


def _parsed(said: str) -> URL:
    try:
        address = make_url(said)
        address.get_dialect()
        return address
    except (ArgumentError, NoSuchModuleError, ValueError):  # it may hold a password: not shown
        raise GradebookError(
            f"{VARIABLE} is not the URL of a database that is known here: it begins with "
            "postgresql:// or sqlite:///"
        ) from None


def shown(course: Path) -> str:
    """The gradebook's URL as it may be printed: without password and settings."""
    return make_url(url(course)).set(query={}).render_as_string(hide_password=True)


def name(course: Path) -> str:
    """A short name of this gradebook, the same wherever the course folder is."""
    said = shown(course) if os.environ.get(VARIABLE) else "of the course folder"
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def on_server(course: Path) -> bool:
    return not url(course).startswith("sqlite")


def there(course: Path) -> bool:
    """Whether there is a gradebook to look into: SQLite would make an empty one."""
    return on_server(course) or Path(make_url(url(course)).database or "").is_file()


@contextmanager
def connected(course: Path) -> Iterator[Connection]:
    """A connection to the gradebook; GradebookError where there is none."""
    with _sentence(course):
        engine = create_engine(url(course), isolation_level="AUTOCOMMIT")
        connection = engine.connect()
    try:
        yield connection
    finally:
        with suppress(DBAPIError):  # the server may have gone meanwhile
            connection.close()
        engine.dispose()


@contextmanager
def opened(course: Path) -> Iterator[Gradebook]:
    """nbgrader's gradebook, for reading; GradebookError where it cannot be read."""
    from nbgrader.api import Gradebook

    with _sentence(course), Gradebook(url(course)) as gradebook:
        yield gradebook


@contextmanager
def _sentence(course: Path) -> Iterator[None]:
    """Say in a sentence why the gradebook could not be used."""
    try:
        yield
    except StatementError as problem:
        reason = next(iter(str(problem.orig).splitlines()), type(problem).__name__)
        raise GradebookError(
            f"the gradebook at {shown(course)} cannot be used ({reason}). What was graded is "
            "kept: run the same command again once it answers."
        ) from problem
    except ModuleNotFoundError as problem:
        if not str(problem.name).startswith("psycopg"):
            raise
        raise GradebookError(f"a gradebook at {shown(course)} needs psycopg: {INSTALL}") from None


def students(course: Path, assignment: str) -> set[str]:
    """Those who have a submission in the gradebook. GradebookError if it cannot be read, or does
    not know the assignment."""
    unknown = GradebookError(
        f"the gradebook at {shown(course)} does not know {assignment}: `make release` with the "
        "same settings writes it there"
    )
    if not there(course):
        raise unknown
    with connected(course) as connection, _sentence(course):
        if not inspect(connection).has_table("assignment"):
            raise unknown
        question = text("SELECT id FROM assignment WHERE name = :name")
        found = connection.execute(question, {"name": assignment}).scalar()
        if found is None:
            raise unknown
        question = text("SELECT student_id FROM submitted_assignment WHERE assignment_id = :id")
        return set(connection.execute(question, {"id": found}).scalars())


def through_outages(course: Path, command: Callable[[], int], writes: bool = False) -> int:
    """The status of `command`, run again for as long as its failures are those of the server.

    A server lets one in who `writes` at a time, from whatever machine. GradebookError where it
    stays away. Whether it went away is told by a connection that was held all the while.
    """
    if not on_server(course):
        return command()
    status = 1
    for _ in range(OUTAGES):
        with connected(course) as held:
            try:
                if writes:
                    _become_writer(held)
                status = command()
                if status:
                    held.execute(text("SELECT 1"))
                return status
            except DBAPIError:  # the connection is lost, and with it the right to write
                pass
        _wait(course)
    return status


def _become_writer(connection: Connection) -> None:
    """Wait until nobody else writes; whoever does lets go when its connection ends."""
    said = False
    while not connection.scalar(text(f"SELECT pg_try_advisory_lock({WRITER})")):
        if not said:
            print("somebody else writes into this gradebook: waiting for it", file=sys.stderr)
            said = True
        time.sleep(0.5)


def _wait(course: Path) -> None:
    """Wait until the server answers again, for at most PATIENCE seconds."""
    print(
        f"the gradebook at {shown(course)} went away: waiting for it, {PATIENCE:g} s at most",
        file=sys.stderr,
    )
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with connected(course):
                return
        except GradebookError:
            if time.monotonic() > end:
                raise
            time.sleep(1.0)
