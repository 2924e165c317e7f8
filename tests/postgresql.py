"""A PostgreSQL server of the tests' own: in a folder, on a free port of this machine alone."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from itertools import count
from pathlib import Path

INSTALL = "sudo apt-get install postgresql"
# Nothing here must survive a power cut.
SETTINGS = "-c fsync=off -c full_page_writes=off -c max_connections=40 -c unix_socket_directories="


def programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`: Debian keeps them by version, off the PATH."""
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: float(path.parts[-3]),
    )
    found = debian[-1] if debian else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


class Server:
    """A server that runs from entering to leaving it as a context manager."""

    def __init__(self) -> None:
        self.data = Path(tempfile.mkdtemp(prefix="postgresql-"))
        # PostgreSQL refuses to run as root: Debian's package makes a user for it.
        self.user = pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else None
        if self.user is not None:
            os.chown(self.data, self.user, -1)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._numbers = count()

    def __enter__(self) -> Server:
        self._run("initdb", "--auth=trust", "--username=grader", "--encoding=UTF8", "--no-sync")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if (self.data / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.data, ignore_errors=True)

    def database(self) -> str:
        """The URL of a new, empty database."""
        import psycopg

        name, address = f"gradebook{next(self._numbers)}", f"grader@127.0.0.1:{self.port}"
        with psycopg.connect(f"postgresql://{address}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://{address}/{name}"

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} {SETTINGS}"
        self._run("pg_ctl", "-w", "-o", options, "-l", str(self.data / "log"), "start")

    def stop(self) -> None:
        """End the server, and every connection to it, at once."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(programs() / program), "-D", str(self.data), *arguments]
        done = subprocess.run(
            command, user=self.user, cwd="/", stdin=subprocess.DEVNULL, timeout=120,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
