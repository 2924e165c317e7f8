"""The solved package, for every test of this process.

The `cs231n` at the top of the repository has its exercises unwritten, so a test could only see
them raise NotImplementedError. Before anything imports it, a solved tree goes first on sys.path:
here `import cs231n` is the solved package, while `grading` and `datasets` come from the
repository. A test about the stubs themselves reads their files, or starts a process of its own.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import needed
import postgresql
import pytest
from hypothesis import HealthCheck, settings

from grading.overlay import ROOT, solved_tree
from grading.sealed import isolation

settings.register_profile(
    "course",
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # of a busy machine, not of a test
    derandomize=needed.CI,  # a build server sees the same shapes each time
)
settings.load_profile("course")

TREE = pytest.StashKey[Path]()


def pytest_configure(config):
    """Write the solved tree, and put it before the repository on sys.path."""
    os.environ.setdefault("LEVEL", isolation.level().name)  # what this machine has must do here
    for name in ("CS231N_DB_URL", "DASK_SCHEDULER"):  # a real class is none of a test's business
        os.environ.pop(name, None)
    for name in ("cifar-10-batches-py", "synthetic/cifar-10-batches-py"):
        folder = ROOT / "datasets" / name  # the solved package would look beside itself
        if folder.is_dir() and not os.environ.get("CIFAR10_DIR"):
            os.environ["CIFAR10_DIR"] = str(folder)
    loaded = sys.modules.get("cs231n")
    if loaded is not None:
        raise pytest.UsageError(f"cs231n was imported too early, from {loaded.__file__}")
    tree = Path(tempfile.mkdtemp(prefix="solved-"))
    config.stash[TREE] = solved_tree(tree)
    sys.path.insert(0, str(tree))


def pytest_unconfigure(config):
    """Remove the solved tree."""
    tree = config.stash.get(TREE, None)
    if tree is not None:
        sys.path.remove(str(tree))
        shutil.rmtree(tree, ignore_errors=True)


@pytest.fixture(scope="session")
def solved(request):
    """Folder of the solved tree, for PYTHONPATH of a process that a test starts."""
    return request.config.stash[TREE]


@pytest.fixture(scope="session")
def real_archive():
    """The archive of real CIFAR-10: that of CIFAR10_ARCHIVE, or beside the project; else None."""
    beside = ROOT.parent / "shared" / "data" / "cifar-10-python.tar.gz"
    archive = Path(os.environ.get("CIFAR10_ARCHIVE", beside))
    return archive if archive.is_file() else None


@pytest.fixture(scope="session")
def cifar10_dir(tmp_path_factory, real_archive):
    """Folder of CIFAR-10's batches: that of CIFAR10_DIR, which is that of datasets/ where it has
    one, what the real archive unpacks to, or a stand-in."""
    from datasets import cifar10, synthetic  # they import cs231n, so not before the tree is there

    chosen = os.environ.get("CIFAR10_DIR")
    if chosen and Path(chosen).is_dir():
        return Path(chosen)
    folder = tmp_path_factory.mktemp("data") / "cifar-10-batches-py"
    if real_archive:
        cifar10.unpack(real_archive, folder)
        return folder
    return synthetic.write(folder)


@pytest.fixture(scope="session")
def postgresql_server():
    """A PostgreSQL server for the tests of this process; else it is said how to install one."""
    if postgresql.programs() is None:
        needed.lacks(f"PostgreSQL is not installed: {postgresql.INSTALL}")
    with postgresql.Server() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def gradebook_url(request):
    """CS231N_DB_URL for a module's tests: not set, then an empty database on a server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CS231N_DB_URL", raising=False)
        if request.param == "postgresql":
            server = request.getfixturevalue("postgresql_server")
            patch.setenv("CS231N_DB_URL", server.database())
        yield os.environ.get("CS231N_DB_URL", "")
