"""A student's JupyterLab with nbgrader's extensions: validate a notebook, fetch and submit."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import small_course
from chromium import PATIENCE, chromium, find, look, server
from nbformat import v4
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from grading.overlay import SOLUTIONS, TASK_FILES

pytestmark = pytest.mark.slow
MENU = ".lm-MenuBar-item"
ROW = "#fetched_assignments_list .list_item"
# An exchange on one machine: a folder that the course releases into and collects from.
EXCHANGE = """
c = get_config()
c.Exchange.root = {exchange!r}
c.Exchange.cache = {cache!r}
c.CourseDirectory.course_id = "cs231n"
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    """A course that is released into an exchange, `exchange` beside it."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "exchange").mkdir(mode=0o777)
    course = small_course.write_course(folder / "course")
    with (course / "nbgrader_config.py").open("a") as config:
        config.write(settings(folder, "instructor"))
    small_course.must(small_course.nbgrader(course, "generate_assignment", "assignment2"))
    small_course.must(small_course.nbgrader(course, "release_assignment", "assignment2"))
    return course


def settings(folder: Path, who: str) -> str:
    cache = folder / f"cache-{who}"
    return EXCHANGE.format(exchange=str(folder / "exchange"), cache=str(cache))


@pytest.fixture(scope="module")
def student(course: Path, solved: Path) -> Path:
    """A student's folder: nothing fetched yet, a notebook that is right and one that is not."""
    folder = course.parent / "student"
    folder.mkdir()
    (folder / "nbgrader_config.py").write_text(settings(course.parent, "student"))
    setup = f"import sys; sys.path[:0] = [{str(solved)!r}, {str(small_course.ROOT)!r}]\n"
    setup += "import cs231n.layers as layers\nfrom grading import check\n"
    for name, line in {"right": "", "wrong": "layers.relu_backward = lambda dout, x: dout"}.items():
        cells = [v4.new_code_cell(setup + line, id="setup")]
        for check in ("relu_forward", "relu_backward"):
            cell = v4.new_code_cell(f'check("{check}")')
            cells.append(small_course.marked(cell, check, 1.0, False))
        spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
        made = v4.new_notebook(cells=cells, metadata={"kernelspec": spec})
        nbformat.write(made, folder / f"{name}.ipynb")
    return folder


@pytest.fixture(scope="module")
def url(student: Path) -> Iterator[str]:
    with server(student) as url:
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory, url: str) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile"), url) as made:
        yield made


def press(browser: Chrome, css: str, label: str = "") -> None:
    """Click on the element (the one with that text), as soon as it is there."""
    def pressed(page: Chrome) -> bool:
        for element in page.find_elements(By.CSS_SELECTOR, css):
            if element.is_displayed() and label in element.text:
                browser.execute_script("arguments[0].click()", element)
                return True
        return False

    stale = [StaleElementReferenceException]
    WebDriverWait(browser, PATIENCE, 0.3, stale).until(pressed, f"{css} {label}")


@pytest.mark.parametrize("name, box, said", [
    ("right", ".nbgrader-SuccessDialog", "passes all the tests"),
    ("wrong", ".nbgrader-ErrorDialog", "relu_backward"),
])  # fmt: skip
def test_validate(browser, url, name, box, said):
    """Does the button Validate pass a right notebook, and show what a wrong one was told?"""
    browser.switch_to.new_window("tab")  # the page before may ask whether to save
    browser.get(url.format(f"lab/workspaces/{name}/tree/{name}.ipynb"))
    press(browser, ".validate-button")
    dialog = find(browser, ".nbgrader-SuccessDialog, .nbgrader-ErrorDialog")[0]
    look(browser, f"validate-{name}")
    assert find(browser, box) == [dialog]
    assert said in dialog.text


def test_fetch_and_submit(browser, url, course, student):
    """Can a student fetch the assignment and hand it in, own code included, for us to collect?"""
    browser.switch_to.new_window("tab")
    browser.get(url.format("lab/workspaces/list"))
    open_list(browser)
    press(browser, "#released_assignments_list .item_status button")
    find(browser, ROW)
    look(browser, "fetched")
    for name in TASK_FILES:
        path = student / "assignment2" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((SOLUTIONS / name).read_text("utf-8"))
    press(browser, f"{ROW} .item_status button", "Submit")
    find(browser, "#submitted_assignments_list .list_item")
    look(browser, "submitted")
    small_course.must(small_course.nbgrader(course, "collect", "assignment2"))
    (collected,) = course.glob("submitted/*/assignment2")
    assert collected.parent.name == getpass.getuser()
    assert (collected / "cs231n/layers.py").read_text() == (SOLUTIONS / TASK_FILES[0]).read_text()
    assert (collected / "Dropout.ipynb").is_file()


def open_list(browser: Chrome) -> None:
    """Open nbgrader's list of assignments from the menu, with the mouse as JupyterLab wants it."""
    WebDriverWait(browser, PATIENCE).until(
        lambda page: "Nbgrader" in [e.text for e in page.find_elements(By.CSS_SELECTOR, MENU)]
    )
    menu = next(e for e in browser.find_elements(By.CSS_SELECTOR, MENU) if e.text == "Nbgrader")
    ActionChains(browser).click(menu).perform()
    items = find(browser, ".lm-Menu-item")
    look(browser, "menu")
    chosen = next(item for item in items if "Assignment List" in item.text)
    ActionChains(browser).move_to_element(chosen).click().perform()
