"""Headless Chromium before a Jupyter server, for tests of the desk; nothing leaves the machine."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 60  # seconds; a page takes less than one on a quiet machine
SHOTS = os.environ.get("SCREENSHOTS")  # a folder: the pictures are kept there


@contextmanager
def server(course: Path) -> Iterator[str]:
    """Jupyter's server on the loopback address; its URL with token is what `open` needs."""
    token = secrets.token_hex(16)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyter_server", "--ServerApp.open_browser=False"]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    command += ["--ServerApp.port_retries=0", f"--ServerApp.root_dir={course}"]
    command += [f"--IdentityProvider.token={token}"]
    command += ["--allow-root"] if os.getuid() == 0 else []
    with (course / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=course, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/api?token={token}"), process, course)
        yield f"http://127.0.0.1:{port}/{{}}?token={token}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False


def wait_for(condition, process: subprocess.Popen, course: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"no server:\n{(course / 'server.log').read_text()[-2000:]}")
        time.sleep(0.2)


@contextmanager
def chromium(profile: Path, url: str) -> Iterator[Chrome]:
    """A browser that reaches this machine alone, logged in to the server at `url`."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (program and driver):
        sentence = "no Chromium: apt-get install chromium chromium-driver"
        if os.environ.get("WITHOUT_CHROMIUM"):
            pytest.skip(f"{sentence} (WITHOUT_CHROMIUM is set)")
        pytest.fail(f"{sentence} (or set WITHOUT_CHROMIUM=1 to leave these tests out)")
    options = ChromeOptions()
    options.binary_location = program
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 "--disable-background-networking", f"--user-data-dir={profile}",
                 "--window-size=1200,1600", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE "
                 "127.0.0.1"):
        options.add_argument(flag)
    made = Chrome(options=options, service=Service(driver))
    made.set_page_load_timeout(PATIENCE)
    made.get(url.format("api"))  # the token becomes a cookie
    try:
        yield made
    finally:
        made.quit()


def look(browser: Chrome, name: str) -> None:
    if SHOTS:
        browser.save_screenshot(str(Path(SHOTS, f"{name}.png")))


def find(browser: Chrome, css: str, count: int = 1) -> list:
    """The elements, as soon as there are `count` of them and they can be seen."""
    def there(page: Chrome):
        found = [e for e in page.find_elements(By.CSS_SELECTOR, css) if e.is_displayed()]
        return found if len(found) >= count else False

    return WebDriverWait(browser, PATIENCE, 0.2).until(there, f"{count} of {css}")
