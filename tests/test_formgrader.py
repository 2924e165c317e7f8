"""nbgrader's formgrader with this course, driven in headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import small_course
from chromium import PATIENCE, chromium, find, look, server
from nbgrader.api import Gradebook
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def course() -> Path:
    return small_course.graded_course()


@pytest.fixture(scope="module")
def url(course: Path) -> Iterator[str]:
    with server(course) as url:
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory, url: str) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile"), url) as made:
        yield made


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


def test_feedback_opens_without_a_network(browser, course):
    """Are formulas drawn, and points and diagnosis there, on a page that nothing is loaded for?"""
    browser.get((course / "feedback/ann/assignment2/FullyConnectedNets.html").as_uri())
    look(browser, "feedback")
    text = find(browser, "table.found")[0].text
    assert "softmax_loss" in text and "1.2 of 2" in text and "the sum is not divided by N" in text
    assert find(browser, "img[src^='data:image/png']")
    assert find(browser, "math msup")[0].size["width"] > 0
    loaded = browser.execute_script("return performance.getEntriesByType('resource').length")
    assert loaded == 0
