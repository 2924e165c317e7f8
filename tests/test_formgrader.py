"""nbgrader's formgrader with this course, driven in headless Chromium."""

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
import small_course
from nbgrader.api import Gradebook
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.slow
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


@pytest.fixture(scope="module")
def course() -> Path:
    return small_course.graded_course()


@pytest.fixture(scope="module")
def url(course: Path) -> Iterator[str]:
    with server(course) as url:
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory, url: str) -> Iterator[Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        sentence = "no Chromium: apt-get install chromium chromium-driver"
        if os.environ.get("WITHOUT_CHROMIUM"):
            pytest.skip(f"{sentence} (WITHOUT_CHROMIUM is set)")
        pytest.fail(f"{sentence} (or set WITHOUT_CHROMIUM=1 to leave these tests out)")
    options = ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("profile")
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 "--disable-background-networking", f"--user-data-dir={profile}",
                 "--window-size=1200,1600", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE "
                 "127.0.0.1"):
        options.add_argument(flag)
    made = Chrome(options=options, service=Service(driver))
    made.set_page_load_timeout(PATIENCE)
    made.get(url.format("api"))  # the token becomes a cookie
    yield made
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


def submission_id(course: Path, student: str) -> str:
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        return gradebook.find_submission_notebook("FullyConnectedNets", "assignment2", student).id


def test_assignment_is_listed(browser, url):
    """Does the desk list the assignment, with everybody's submission counted?"""
    browser.get(url.format("formgrader/manage_assignments"))
    row = find(browser, "tr td.name a")[0]
    look(browser, "assignments")
    assert row.text == "assignment2"
    count = find(browser, "tr td.num-submissions")[0].text
    assert count == str(len(small_course.class_of_students(Path("canary"))))


def test_submissions_are_listed(browser, url):
    """Is each student listed as autograded, whatever was in the archive?"""
    browser.get(url.format("formgrader/manage_submissions/assignment2"))
    students = small_course.class_of_students(Path("canary"))
    find(browser, "td.student-id", len(students))
    look(browser, "submissions")
    text = browser.find_element(By.CSS_SELECTOR, "table").text
    assert all(student in text for student in students)
    states = [e.text for e in browser.find_elements(By.CSS_SELECTOR, "td.status .label")]
    assert len(states) == len(students)
    assert set(states) == {"graded", "needs manual grading"}


def test_an_answer_is_graded_by_hand(browser, url, course):
    """Can an instructor read the answer, the plot and the outcome, and type a score?"""
    browser.get(url.format("formgrader/gradebook/assignment2/FullyConnectedNets"))
    find(browser, "td.name", 2)
    look(browser, "queue")
    browser.get(url.format(f"formgrader/submissions/{submission_id(course, 'ann')}/"))
    score = find(browser, "input#fc_q1.score")[0]
    page = browser.find_element(By.TAG_NAME, "body").text
    assert "Because." in page
    assert "the sum is not divided by N" in page
    assert find(browser, "img[src^='data:image/png']")
    assert "<th" not in page and "<small>" not in page  # the report is a table, not its source
    find(browser, "input#softmax_loss.score[placeholder='1.2']")  # filled in by a later request
    score.click()
    score.send_keys("0.5")
    browser.find_element(By.CSS_SELECTOR, "textarea#fc_q1-comment").click()  # leaving it saves it
    WebDriverWait(browser, PATIENCE).until(lambda _: saved(course) == 0.5, "the score is saved")
    look(browser, "answer")


def saved(course: Path) -> float | None:
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        grade = gradebook.find_grade("fc_q1", "FullyConnectedNets", "assignment2", "ann")
        return grade.manual_score


def test_a_students_script_does_not_run(browser, url, course):
    """Is what a student wrote as HTML shown as text on the instructor's page?"""
    browser.get(url.format(f"formgrader/submissions/{submission_id(course, 'vandal')}/"))
    find(browser, "input#fc_q1.score")
    look(browser, "vandal")
    text = browser.find_element(By.TAG_NAME, "body").text
    assert "script>alert(1)" in text
    assert "What we repaired in your submission" in text
    scripts = browser.find_elements(By.CSS_SELECTOR, "#notebook-container script")
    assert not any("alert" in script.get_attribute("innerHTML") for script in scripts)
