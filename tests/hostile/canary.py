"""What a hostile submission could harm, put out for it to find, and looked at afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Canary:
    """A gradebook, another student's file, a secret, a server, a bystander. A context manager."""

    def __enter__(self) -> Canary:
        self.mark = f"mark-{secrets.token_hex(8)}"
        self.secret = f"secret-{secrets.token_hex(8)}"
        self.folder = Path(tempfile.mkdtemp(prefix="canary-"))
        os.chmod(self.folder, 0o777)  # an open door, so that the wall alone protects
        (self.folder / "other_student.py").write_text(f"# {self.secret}\n")
        with sqlite3.connect(self.folder / "gradebook.db") as book:
            book.execute("CREATE TABLE grade (points)")
            book.execute("INSERT INTO grade VALUES (0)")
        book.close()
        for path in self.folder.iterdir():
            os.chmod(path, 0o666)
        self.before = self._files()
        self.connections = 0
        self.servers = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)]
        self.servers[1].bind(f"\0{self.mark}")
        self.servers[1].listen()
        for server in self.servers:
            threading.Thread(target=self._accept, args=(server,), daemon=True).start()
        self.bystander = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"],
            env={"CANARY_SECRET": self.secret},
        )
        os.environ["CANARY_SECRET"] = self.secret
        self.open_file = os.open(self.folder / "other_student.py", os.O_RDONLY)
        os.set_inheritable(self.open_file, True)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._marked():
            os.kill(process, signal.SIGKILL)
        for server in self.servers:
            server.close()
        self.bystander.kill()
        self.bystander.wait()
        os.close(self.open_file)
        os.environ.pop("CANARY_SECRET", None)
        shutil.rmtree(self.folder, ignore_errors=True)
        Path("/dev/shm", self.mark).unlink(missing_ok=True)

    def fill_in(self, text: str) -> str:
        """A submission's text with the places of this canary in it."""
        port = self.servers[0].getsockname()[1]
        places = {
            "@CANARY@": self.folder,
            "@MARK@": self.mark,
            "@PID@": self.bystander.pid,
            "@PORT@": port,
            "@ROOT@": ROOT,
        }
        for name, value in places.items():
            text = text.replace(name, str(value))
        return text

    def harm(self) -> list[str]:
        """What has happened to it, in words."""
        found, now = [], self._files()
        if now.keys() - self.before.keys() - {"state"}:
            found.append("a file was written outside")
        if any(now.get(name) != data for name, data in self.before.items()):
            found.append("the gradebook or another student's file was changed")
        if self.connections:
            found.append("a connection was made")
        if self.bystander.poll() is not None:
            found.append("another process was killed")
        if Path("/dev/shm", self.mark).exists():
            found.append("shared memory was written")
        if self._marked():
            found.append("a process outlived the grading")
        return found

    def _files(self) -> dict[str, bytes]:
        return {p.name: p.read_bytes() if p.is_file() else b"" for p in self.folder.iterdir()}

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                server.accept()[0].close()
            except OSError:  # it was closed
                return
            self.connections += 1

    def _marked(self) -> list[int]:
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                command = Path("/proc", name, "cmdline").read_bytes()
            except OSError:
                continue
            if self.mark.encode() in command and b"time.sleep" in command:
                found.append(int(name))
        return found
