"""CIFAR-10.1, or another set of new images in its files: what no training set and no table holds.

`CIFAR10_1_URL` is the folder that has both files, such as
https://raw.githubusercontent.com/modestyachts/CIFAR-10.1/master/datasets, or a file:// URL. The
grader asks a checkpoint about some of these images too. CIFAR-10.1 is B. Recht, R. Roelofs,
L. Schmidt and V. Shankar, "Do ImageNet Classifiers Generalize to ImageNet?", ICML 2019.
"""

import hashlib
import os
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np

VARIABLE = "CIFAR10_1_URL"
IMAGES, LABELS = "cifar10.1_v6_data.npy", "cifar10.1_v6_labels.npy"
FOLDER = Path(__file__).parent / "cifar-10.1"


def load(folder=FOLDER):
    """Images (N, 32, 32, 3) uint8 and labels (N,) int64 of CIFAR10_1_URL; None if it is not set.

    What is on another machine is downloaded once, into a sub-folder of `folder` for each URL.
    Raises ValueError, which says why, when the set cannot be had or is none.
    """
    url = os.environ.get(VARIABLE, "").rstrip("/")
    return _load(url, folder) if url else None


def version(folder=FOLDER):
    """A hash of the set that `load` returns, for a grade depends on it; '' without one."""
    found = load(folder)
    if found is None:
        return ""
    return hashlib.sha256(b"".join(array.tobytes() for array in found)).hexdigest()


@cache
def _load(url, folder):
    parts = urlsplit(url)
    there = Path(folder) / hashlib.sha256(url.encode()).hexdigest()[:12]
    try:
        if parts.scheme == "file":
            local = Path(url2pathname(parts.path))
            paths = local / IMAGES, local / LABELS
        else:
            import pooch  # takes long to import, and few need it

            pooch.get_logger().setLevel("WARNING")
            paths = [
                pooch.retrieve(f"{url}/{name}", None, name, there) for name in (IMAGES, LABELS)
            ]
        # Mapped, so that a header that claims more than the file holds is an error, not memory.
        images, labels = (np.load(p, mmap_mode="r", allow_pickle=False) for p in paths)
        if images.dtype != np.uint8 or images.shape != (len(labels), 32, 32, 3):
            raise ValueError(f"its images are {images.dtype} {images.shape}")
        if labels.dtype.kind not in "iu" or labels.ndim != 1 or not (labels < 10).all():
            raise ValueError(f"its labels are {labels.dtype} {labels.shape}, not 0 to 9")
        if not len(labels) or labels.min() < 0:
            raise ValueError("it has no images, or labels below 0")
    except (ValueError, OSError, EOFError, TypeError) as problem:
        if parts.scheme != "file":  # what came once may be a proxy's page: have it sent again
            for name in (IMAGES, LABELS):
                (there / name).unlink(missing_ok=True)
        raise ValueError(f"{VARIABLE} names {url}, but the set cannot be had: {problem}") from None
    return np.array(images), np.array(labels, dtype=np.int64)
