"""A set of new images in the files of CIFAR-10.1, from a folder or a server."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from datasets import cifar10_1
from grading import classroom, store


@pytest.fixture
def folder(tmp_path):
    """A made-up set in the layout of the project's `datasets` folder."""
    rng = np.random.default_rng(0)
    there = tmp_path / "new"
    there.mkdir()
    np.save(there / cifar10_1.IMAGES, rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8))
    np.save(there / cifar10_1.LABELS, rng.integers(0, 10, 20, dtype=np.int32))
    return there


@pytest.fixture
def set_url(monkeypatch):
    cifar10_1._load.cache_clear()  # a test may change what lies at a URL
    return partial(monkeypatch.setenv, cifar10_1.VARIABLE)


@pytest.fixture
def server(folder):
    """The set behind http, and the paths that were asked for."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", asked
        http.shutdown()


def test_without_a_url_there_is_none(monkeypatch):
    """Is there no set, and no version of one, where nobody asked for it?"""
    monkeypatch.delenv(cifar10_1.VARIABLE, raising=False)
    assert cifar10_1.load() is None and cifar10_1.version() == ""


def test_a_folder_is_read_where_it_is(folder, set_url, tmp_path):
    """Does a file:// URL give the images as they are, without a copy?"""
    set_url(folder.as_uri() + "/")
    images, labels = cifar10_1.load(tmp_path / "cache")
    assert (images == np.load(folder / cifar10_1.IMAGES)).all() and labels.dtype == np.int64
    assert not (tmp_path / "cache").exists()


def test_a_server_is_asked_once(folder, server, set_url, tmp_path):
    """Are both files downloaded, and not again by the next process?"""
    url, asked = server
    set_url(url)
    for _ in range(2):
        cifar10_1._load.cache_clear()
        images, _ = cifar10_1.load(tmp_path / "cache")
        assert (images == np.load(folder / cifar10_1.IMAGES)).all()
    assert sorted(asked) == [f"/{cifar10_1.IMAGES}", f"/{cifar10_1.LABELS}"]


def test_a_page_in_its_place_is_not_kept(folder, server, set_url, tmp_path):
    """Is what a proxy once sent for the images asked for again by the next process?"""
    whole = (folder / cifar10_1.IMAGES).read_bytes()
    (folder / cifar10_1.IMAGES).write_text("<html>sign in</html>")
    set_url(server[0])
    with pytest.raises(ValueError, match="the set cannot be had"):
        cifar10_1.load(tmp_path / "cache")
    (folder / cifar10_1.IMAGES).write_bytes(whole)
    images, _ = cifar10_1.load(tmp_path / "cache")
    assert (images == np.load(folder / cifar10_1.IMAGES)).all()


def spoiled(name, array):
    return lambda folder: np.save(folder / name, array)


def cut(folder):
    path = folder / cifar10_1.IMAGES
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda folder: (folder / cifar10_1.LABELS).unlink(), "No such file"),
        (spoiled(cifar10_1.IMAGES, np.zeros((20, 32, 32, 3), np.float32)), "images are float32"),
        (spoiled(cifar10_1.IMAGES, np.zeros((19, 32, 32, 3), np.uint8)), "images are uint8"),
        (spoiled(cifar10_1.LABELS, np.full(20, 10)), "not 0 to 9"),
        (spoiled(cifar10_1.LABELS, np.full(20, -1)), "labels below 0"),
        (spoiled(cifar10_1.LABELS, np.array([{}] * 20)), "Python objects"),
        (cut, "mmap length is greater than file size"),
    ],
)
def test_a_set_that_is_none_is_told(folder, set_url, change, said):
    """Does each fault end in a sentence with the variable's name, and none in a grade?"""
    change(folder)
    set_url(folder.as_uri())
    with pytest.raises(ValueError, match="CIFAR10_1_URL names file://") as problem:
        cifar10_1.load()
    assert said in str(problem.value)


def test_a_class_is_not_graded_without_the_set_it_wants(set_url, tmp_path, capsys):
    """Does `make grade` end before it begins where the set cannot be had?"""
    set_url("http://127.0.0.1:9/none")
    assert classroom.grade(tmp_path) == 1
    assert "CIFAR10_1_URL names http://127.0.0.1:9/none" in capsys.readouterr().err


def test_outcomes_are_those_of_the_set(folder, set_url, monkeypatch):
    """Is what is stored without new images, or with others, not taken for a grade with these?"""
    monkeypatch.delenv(cifar10_1.VARIABLE, raising=False)
    keys = {store.key_of("content", 1, "sealed")}
    set_url(folder.as_uri())
    keys.add(store.key_of("content", 1, "sealed"))
    cifar10_1._load.cache_clear()
    np.save(folder / cifar10_1.LABELS, np.zeros(20, int))
    keys.add(store.key_of("content", 1, "sealed"))
    assert len(keys) == 3
