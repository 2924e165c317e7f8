"""A folder of batch files that is either whole or not there."""

import contextlib
import hashlib
import json
import shutil
from pathlib import Path

from cs231n.data_utils import MANIFEST, TEST_BATCH, TRAINING_BATCHES

NAME = "cifar-10-batches-py"
BATCHES = [*TRAINING_BATCHES, TEST_BATCH]


def is_whole(folder):
    """True when every file that `replacing` left in the folder is there and unchanged."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        return all(_describe(folder / name) == entry for name, entry in manifest.items())
    except (OSError, ValueError, AttributeError):
        return False


@contextlib.contextmanager
def replacing(folder):
    """An empty folder to fill, which takes the place of `folder` when the block ends well.

    Writes the manifest that `is_whole` reads. When the block raises, `folder` stays as it was.
    Raises ValueError when a batch file is missing at the end of the block.
    """
    new, old = (folder.with_name(f"{folder.name}.{state}.part") for state in ("new", "old"))
    _clear(folder, new, old)
    new.mkdir(parents=True)
    try:
        yield new
        missing = [name for name in [*BATCHES, "batches.meta"] if not (new / name).is_file()]
        if missing:
            raise ValueError(f"{', '.join(missing)} not found among the files of {NAME}")
        manifest = {path.name: _describe(path) for path in sorted(new.iterdir())}
        (new / MANIFEST).write_text(json.dumps(manifest, indent=1))
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        _clear(folder, new, old)


def _clear(folder, new, old):
    """Remove what a replacement leaves, once the old folder is back if the new one never came."""
    if old.exists() and not folder.exists():
        old.rename(folder)
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)


def _describe(path):
    with open(path, "rb") as file:
        return {
            "bytes": Path(path).stat().st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }
