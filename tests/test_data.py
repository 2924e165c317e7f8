"""CIFAR-10 on disk and over the network, and the stand-in."""

import hashlib
import http.server
import io
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from cs231n import data_utils
from datasets import cifar10, synthetic
from datasets import folder as folders

COURSE = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder in CIFAR-10's layout with 20 images a batch."""
    return synthetic.write(tmp_path_factory.mktemp("small") / folders.NAME, images_per_batch=20)


@pytest.fixture(scope="module")
def archive(small, tmp_path_factory):
    """A tar archive of the small folder."""
    path = tmp_path_factory.mktemp("archive") / "small.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in [*folders.BATCHES, "batches.meta"]:
            tar.add(small / name, f"{folders.NAME}/{name}")
    return path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` on loopback; the path of a request says how badly.

    - /good, /ranged: all of it; /ranged answers Range requests too
    - /broken: half of it, then the connection ends, whatever the request
    - /flaky: half of it to the first request, then like /ranged
    - /busy: status 503 to the first request, then like /good
    - anything else: 404
    """

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.requests = []  # (path, Range header) of each

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        content, asked = self.server.content, self.headers["Range"]
        first = not self.server.requests
        self.server.requests.append((self.path, asked))
        if self.path not in ("/good", "/ranged", "/broken", "/flaky", "/busy"):
            return self.send_error(404)
        if self.path == "/busy" and first:
            return self.send_error(503)
        start = 0
        if asked and self.path in ("/ranged", "/flaky"):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        breaks = self.path == "/broken" or (self.path == "/flaky" and first)
        self.wfile.write(content[start : len(content) // 2] if breaks else content[start:])

    def log_message(self, *_):
        """Stay silent."""


@pytest.fixture
def server(archive):
    server = Server(archive.read_bytes())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(cifar10.time, "sleep", lambda seconds: None)
    for variable in ("CIFAR10_URL", "CIFAR10_SHA256", "CIFAR10_DIR"):
        monkeypatch.delenv(variable, raising=False)


def leftovers(folder):
    return sorted(path.name for path in folder.parent.iterdir() if path != folder)


# Loading


def test_images_and_labels(small):
    """Are the images small integers with the channel last, and the labels int64?"""
    Xtr, Ytr, Xte, Yte = data_utils.load_CIFAR10(small)
    assert Xtr.shape == (100, 32, 32, 3) and Xte.shape == (20, 32, 32, 3)
    assert Xtr.dtype == Xte.dtype == np.uint8 and Ytr.dtype == Yte.dtype == np.int64
    images, labels = synthetic.draw(1, 20)
    np.testing.assert_array_equal(Xtr[20:40], images.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(Ytr[20:40], labels)


def test_one_batch(small):
    """Does the loader of one batch give what the loader of all gives?"""
    X, y = data_utils.load_CIFAR_batch(str(small / "test_batch"))
    _, _, Xte, Yte = data_utils.load_CIFAR10(str(small))
    np.testing.assert_array_equal(X, Xte)
    np.testing.assert_array_equal(y, Yte)


def test_splits(small, monkeypatch, capsys):
    """Do the parts follow each other, less the mean image of the training part alone?"""
    monkeypatch.setenv("CIFAR10_DIR", str(small))
    raw = data_utils.get_CIFAR10_data(70, 20, 10, subtract_mean=False)
    data = data_utils.get_CIFAR10_data(70, 20, 10)
    X, y, X_test, y_test = data_utils.load_CIFAR10(small)
    assert list(data) == ["X_train", "y_train", "X_val", "y_val", "X_test", "y_test"]
    mean = X[:70].mean(axis=0).transpose(2, 0, 1)
    expected = {"X_train": X[:70], "X_val": X[70:90], "X_test": X_test[:10]}
    for name, images in expected.items():
        assert data[name].dtype == np.float32 and data[name].flags.c_contiguous
        np.testing.assert_array_equal(raw[name], images.transpose(0, 3, 1, 2))
        np.testing.assert_allclose(data[name], raw[name] - mean, atol=1e-4)
    np.testing.assert_array_equal(data["y_train"], y[:70])
    np.testing.assert_array_equal(data["y_val"], y[70:90])
    np.testing.assert_array_equal(data["y_test"], y_test[:10])
    assert "stand-in data" in capsys.readouterr().out


@pytest.mark.parametrize("sizes", [(90, 20, 1), (10, 10, 21), (50_000, 1, 1)])
def test_too_many_images(small, monkeypatch, sizes):
    """Is a request for more images than there are refused?"""
    monkeypatch.setenv("CIFAR10_DIR", str(small))
    with pytest.raises(ValueError, match="there are only"):
        data_utils.get_CIFAR10_data(*sizes)


def test_missing_batch(small, tmp_path):
    """Is an incomplete folder refused, with the name of what is missing?"""
    for name in folders.BATCHES[:3]:
        (tmp_path / name).write_bytes((small / name).read_bytes())
    with pytest.raises(FileNotFoundError, match="data_batch_4 is missing.*make cifar10"):
        data_utils.load_CIFAR10(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "labels", "code"])
def test_damaged_batch(small, tmp_path, damage):
    """Is a damaged file refused in one sentence, and is no code in it run?"""
    whole = (small / "test_batch").read_bytes()
    batch = pickle.loads(whole, encoding="bytes")
    content = {
        "truncated": whole[:-5000],
        "empty": b"",
        "text": b"<html>not found</html>",
        "labels": pickle.dumps({b"data": batch[b"data"], b"labels": [1]}),
        "code": pickle.dumps(os.getcwd),
    }
    path = tmp_path / "test_batch"
    path.write_bytes(content[damage])
    with pytest.raises(ValueError, match=r"test_batch is damaged \(.+\): run `make cifar10`"):
        data_utils.load_CIFAR_batch(path)


def test_search_for_the_folder(small, tmp_path, monkeypatch):
    """Which folder is taken: the environment's, then the download, then the stand-in?"""
    monkeypatch.setattr(data_utils, "__file__", str(tmp_path / "cs231n" / "data_utils.py"))
    with pytest.raises(FileNotFoundError, match="make cifar10.*make synthetic-data"):
        data_utils.cifar10_folder()
    stand_in = tmp_path / "datasets" / "synthetic" / folders.NAME
    stand_in.mkdir(parents=True)
    assert data_utils.cifar10_folder() == stand_in
    download = tmp_path / "datasets" / folders.NAME
    download.mkdir()
    assert data_utils.cifar10_folder() == download
    monkeypatch.setenv("CIFAR10_DIR", str(small))
    assert data_utils.cifar10_folder() == small
    assert data_utils.is_stand_in(small) and not data_utils.is_stand_in(download)
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="CIFAR10_DIR"):
        data_utils.cifar10_folder()


# The download


def test_download(server, archive, small, tmp_path, capsys):
    """Does the download give the files of the archive, leave nothing else, and happen once?"""
    folder = tmp_path / "data" / folders.NAME
    for _ in range(2):
        assert cifar10.fetch(folder, [server.url("good")], sha256(archive)) == folder
    for name in folders.BATCHES:
        assert (folder / name).read_bytes() == (small / name).read_bytes()
    assert len(server.requests) == 1 and leftovers(folder) == []
    assert "already" in capsys.readouterr().out


def test_interrupted_and_resumed(server, archive, tmp_path):
    """Does a download that broke off go on from where it was?"""
    folder = tmp_path / folders.NAME
    cifar10.fetch(folder, [server.url("flaky")], sha256(archive))
    paths, ranges = zip(*server.requests, strict=True)
    assert paths == ("/flaky", "/flaky") and ranges[0] is None
    assert 0 < int(ranges[1].removeprefix("bytes=").removesuffix("-")) <= len(server.content) // 2
    assert folders.is_whole(folder)


def test_resumed_by_a_later_run(server, archive, tmp_path):
    """Does what an earlier run received count, with another server of the same archive too?"""
    folder = tmp_path / folders.NAME
    with pytest.raises(cifar10.DownloadError, match="broke"):
        cifar10.fetch(folder, [server.url("broken")], sha256(archive))
    assert not folder.exists()
    cifar10.fetch(folder, [server.url("ranged")], sha256(archive))
    assert server.requests[-1][1].startswith("bytes=")
    assert folders.is_whole(folder) and leftovers(folder) == []


def test_truncated_by_every_server(server, archive, tmp_path):
    """Is half an archive never unpacked, and is the way out named?"""
    folder = tmp_path / folders.NAME
    with pytest.raises(cifar10.DownloadError, match="(?s)broke.*CIFAR10_URL.*make synthetic-data"):
        cifar10.fetch(folder, [server.url("broken")], sha256(archive))
    assert not folder.exists()


def test_server_without_ranges(server, archive, tmp_path):
    """Does a download start again where the server cannot go on in the middle?"""
    folder = tmp_path / folders.NAME
    with pytest.raises(cifar10.DownloadError):
        cifar10.fetch(folder, [server.url("broken")], sha256(archive))
    cifar10.fetch(folder, [server.url("good")], sha256(archive))
    assert folders.is_whole(folder)


def test_worthless_leftover(server, archive, tmp_path):
    """Is a damaged leftover of an earlier run thrown away and not the end of all attempts?"""
    folder = tmp_path / folders.NAME
    downloads = tmp_path / "download.part"
    downloads.mkdir()
    (downloads / f"{sha256(archive)}.tar.gz.part").write_bytes(b"x" * 3 * len(server.content))
    cifar10.fetch(folder, [server.url("ranged")], sha256(archive))
    assert folders.is_whole(folder)


def test_wrong_checksum(server, tmp_path):
    """Is an archive with another checksum refused, and nothing of it kept?"""
    folder = tmp_path / folders.NAME
    with pytest.raises(cifar10.DownloadError, match="not the archive that is wanted"):
        cifar10.fetch(folder, [server.url("good")], "0" * 64)
    assert not folder.exists() and list((tmp_path / "download.part").iterdir()) == []


def test_mirror(server, archive, tmp_path):
    """Is the next server asked, at once, when the first does not have the file?"""
    folder = tmp_path / folders.NAME
    cifar10.fetch(folder, [server.url("nothing"), server.url("good")], sha256(archive))
    assert [path for path, _ in server.requests] == ["/nothing", "/good"]
    assert folders.is_whole(folder)


def test_busy_server(server, archive, tmp_path):
    """Is a server that is busy asked again?"""
    folder = tmp_path / folders.NAME
    cifar10.fetch(folder, [server.url("busy")], sha256(archive))
    assert folders.is_whole(folder)


def test_wrong_size(server, tmp_path):
    """Is a file that cannot be the official archive refused by its size, before it is loaded?"""
    with pytest.raises(cifar10.DownloadError, match=r"offers [\d,]+ bytes, not 170,498,071"):
        cifar10.fetch(tmp_path / folders.NAME, [server.url("good")])


def test_reasons_are_words(server, archive, tmp_path, capsys):
    """Is each server's failure one short reason, without a library's own repr?"""
    urls = [server.url("nothing"), server.url("broken")]
    with pytest.raises(cifar10.DownloadError) as caught:
        cifar10.fetch(tmp_path / folders.NAME, urls, sha256(archive))
    assert f"{urls[0]}: the server answers 404 Not Found\n" in str(caught.value)
    assert f"{urls[1]}: the connection broke off\n" in str(caught.value)
    assert "the connection broke off; trying again" in capsys.readouterr().err


def test_no_network(tmp_path):
    """Is a server that cannot be reached named in plain words?"""
    url = "http://127.0.0.1:9/cifar.tar.gz"  # the discard port: nobody listens
    with pytest.raises(cifar10.DownloadError, match=r"127\.0\.0\.1 cannot be reached"):
        cifar10.fetch(tmp_path / folders.NAME, [url])


def test_url_of_a_file(archive, tmp_path, monkeypatch):
    """Do CIFAR10_URL and CIFAR10_SHA256 lead to an archive on disk, which stays there?"""
    monkeypatch.setenv("CIFAR10_URL", archive.as_uri())
    folder = tmp_path / folders.NAME
    with pytest.raises(cifar10.DownloadError, match="its sha256 is"):
        cifar10.fetch(folder)
    monkeypatch.setenv("CIFAR10_SHA256", sha256(archive).upper())  # as PowerShell writes it
    cifar10.fetch(folder)
    assert folders.is_whole(folder) and archive.exists()
    monkeypatch.setenv("CIFAR10_URL", (tmp_path / "nothing.tar.gz").as_uri())
    (folder / "test_batch").unlink()
    with pytest.raises(cifar10.DownloadError, match="there is no file"):
        cifar10.fetch(folder)


@pytest.mark.parametrize("damage", ["changed", "shorter", "missing", "no manifest"])
def test_damaged_folder_is_mended(archive, small, tmp_path, damage):
    """Is a changed, cut or missing file noticed and mended, and never loaded?"""
    folder = tmp_path / folders.NAME
    cifar10.fetch(folder, [archive.as_uri()], sha256(archive))
    batch = folder / "data_batch_3"
    whole = batch.read_bytes()
    if damage == "changed":
        batch.write_bytes(whole[:-50] + bytes([whole[-50] ^ 1]) + whole[-49:])
    elif damage == "shorter":
        batch.write_bytes(whole[:-50])
    elif damage == "missing":
        batch.unlink()
    else:
        (folder / folders.MANIFEST).unlink()
    assert not folders.is_whole(folder)
    if damage != "no manifest":
        with pytest.raises((ValueError, FileNotFoundError), match="data_batch_3 is (damaged|miss)"):
            data_utils.load_CIFAR10(folder)
    cifar10.fetch(folder, [archive.as_uri()], sha256(archive))
    assert folders.is_whole(folder) and leftovers(folder) == []
    assert batch.read_bytes() == (small / "data_batch_3").read_bytes()


def evil_member(kind):
    member = tarfile.TarInfo(f"{folders.NAME}/extra")
    if kind == "parent":
        member.name = f"{folders.NAME}/../../escaped"
    elif kind == "absolute":
        member.name = "/escaped"
    elif kind == "deeper":
        member.name = f"{folders.NAME}/sub/file"
    elif kind == "of Windows":
        member.name = f"{folders.NAME}/..\\..\\escaped"
    elif kind == "symbolic link":
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    elif kind == "hard link":
        member.type, member.linkname = tarfile.LNKTYPE, "/etc/passwd"
    elif kind == "device":
        member.type = tarfile.CHRTYPE
    return member


@pytest.mark.parametrize(
    "kind",
    ["parent", "absolute", "deeper", "of Windows", "symbolic link", "hard link", "device"],
)
def test_evil_archive(small, tmp_path, kind):
    """Is an archive refused as a whole when one member would leave the folder or is no file?"""
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as tar:
        for name in [*folders.BATCHES, "batches.meta"]:
            tar.add(small / name, f"{folders.NAME}/{name}")
        tar.addfile(evil_member(kind), io.BytesIO())
    folder = tmp_path / "deep" / "er" / folders.NAME
    with pytest.raises(cifar10.DownloadError, match="is refused"):
        cifar10.unpack(path, folder)
    assert list(folder.parent.iterdir()) == [] and not (tmp_path / "deep/escaped").exists()


@pytest.mark.parametrize("when", ["in the block", "at the rename", "killed between"])
def test_the_old_folder_comes_back(archive, tmp_path, monkeypatch, when):
    """Are the old data there after a replacement that failed, wherever it did?"""
    folder = tmp_path / folders.NAME
    cifar10.unpack(archive, folder)
    rename = type(folder).rename
    if when == "killed between":
        rename(folder, folder.with_name(f"{folders.NAME}.old.part"))

    def fails(path, target):
        if path.name.endswith(".new.part"):
            raise PermissionError("another program has it open")
        return rename(path, target)

    monkeypatch.setattr(type(folder), "rename", fails)
    with pytest.raises((PermissionError, RuntimeError)), folders.replacing(folder) as new:
        if when != "at the rename":
            raise RuntimeError("stopped")
        shutil.copytree(folder, new, dirs_exist_ok=True)
    assert folders.is_whole(folder) and leftovers(folder) == []


def test_not_an_archive(archive, small, tmp_path):
    """Are a web page, half an archive and one without all batches refused, the old data kept?"""
    folder = tmp_path / folders.NAME
    cifar10.unpack(archive, folder)
    page, half, partial = (tmp_path / name for name in ("page", "half.tar.gz", "partial.tar"))
    page.write_text("<html>sign in</html>")
    half.write_bytes(archive.read_bytes()[:-2000])
    with tarfile.open(partial, "w") as tar:
        tar.add(small / "test_batch", f"{folders.NAME}/test_batch")
    for path in (page, half, partial):
        with pytest.raises(cifar10.DownloadError, match="is not an archive of CIFAR-10"):
            cifar10.unpack(path, folder)
        assert folders.is_whole(folder)


def test_command(tmp_path):
    """Does the command end with a sentence and a status, and not with a traceback?"""
    code = tmp_path / "course" / "datasets"  # a course of its own, where no data is yet
    shutil.copytree(COURSE / "datasets", code, ignore=shutil.ignore_patterns("*batches-py"))
    path = os.pathsep.join((str(code.parent), str(COURSE)))
    result = subprocess.run(
        [sys.executable, "-c", "from datasets import cifar10; cifar10.main()"],
        env={**os.environ, "CIFAR10_URL": "file:///nowhere", "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "there is no file" in result.stderr and "Traceback" not in result.stderr


def test_real_archive(tmp_path, real_archive):
    """Does real CIFAR-10 come through download and loaders with its known channel means?"""
    if real_archive is None:
        pytest.skip("set CIFAR10_ARCHIVE to CIFAR-10's archive")
    folder = cifar10.fetch(tmp_path / folders.NAME, [real_archive.as_uri()], sha256(real_archive))
    Xtr, Ytr, Xte, Yte = data_utils.load_CIFAR10(folder)
    assert Xtr.shape == (50000, 32, 32, 3) and Xte.shape == (10000, 32, 32, 3)
    assert np.bincount(Ytr).tolist() == [5000] * 10 and np.bincount(Yte).tolist() == [1000] * 10
    means = Xtr.mean(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=5e-5)
    assert not data_utils.is_stand_in(folder)


# The stand-in


def test_stand_in_is_the_same_each_time(small, tmp_path):
    """Is the drawing deterministic, and not repeated when the files are there?"""
    again = synthetic.write(tmp_path / folders.NAME, images_per_batch=20)
    assert (again / "data_batch_5").read_bytes() == (small / "data_batch_5").read_bytes()
    before = (again / "data_batch_5").stat().st_mtime_ns
    synthetic.write(again, images_per_batch=20)
    assert (again / "data_batch_5").stat().st_mtime_ns == before


def test_stand_in_has_the_layout_of_cifar10(small):
    """Do the files read as CIFAR-10's do, with either encoding that people use?"""
    for encoding, convert in (("bytes", str.encode), ("latin1", str)):
        batch = pickle.loads((small / "data_batch_1").read_bytes(), encoding=encoding)
        assert set(batch) == {convert(k) for k in ("batch_label", "labels", "data", "filenames")}
        data, labels = batch[convert("data")], batch[convert("labels")]
        assert data.shape == (20, 3072) and data.dtype == np.uint8
        assert isinstance(labels, list) and sorted(labels) == sorted([*range(10)] * 2)
        meta = pickle.loads((small / "batches.meta").read_bytes(), encoding=encoding)
        assert meta[convert("label_names")] == [convert(name) for name in synthetic.CLASSES]
    assert "not CIFAR-10" in (small / "STAND-IN.txt").read_text()


def accuracy_after_training(net, epochs):
    """Test accuracy of a torch network after training on 4000 drawn images."""
    (X, y), (X_test, y_test) = (
        (torch.tensor(images).float() / 64 - 2, torch.tensor(labels))
        for images, labels in (synthetic.draw(0, 4000), synthetic.draw(5, 1000))
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(X)).split(50):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(X[batch]), y[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        return (net(X_test).argmax(dim=1) == y_test).float().mean().item()


@pytest.fixture
def one_thread():
    """More threads are slower for networks this small, by much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_stand_in_needs_a_network(one_thread):
    """Can a small convolutional network tell the classes apart, and a linear one not?"""
    torch.manual_seed(0)
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10))
    convolutional = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 5, stride=2, padding=2),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(16, 32, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(32 * 4 * 4, 10),
    )
    assert accuracy_after_training(linear, epochs=2) < 0.3
    assert accuracy_after_training(convolutional, epochs=5) > 0.7
