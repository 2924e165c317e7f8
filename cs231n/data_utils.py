"""CIFAR-10 from the files of its Python archive, as small integers or ready to train on."""

import hashlib
import json
import os
import pickle
from pathlib import Path

import numpy as np

TRAINING_BATCHES = [f"data_batch_{n}" for n in range(1, 6)]
TEST_BATCH = "test_batch"
NUM_TRAINING_IMAGES = 50000
STAND_IN_MARKER = "STAND-IN.txt"
MANIFEST = "manifest.json"  # checksums, written beside the files by the download or the drawing


def cifar10_folder():
    """The folder of CIFAR-10's batches.

    That is $CIFAR10_DIR when it is set; else datasets/cifar-10-batches-py of the course folder;
    else the stand-in that `make synthetic-data` draws.
    Raises FileNotFoundError when there is none of them.
    """
    chosen = os.environ.get("CIFAR10_DIR")
    if chosen:
        if not Path(chosen).is_dir():
            raise FileNotFoundError(f"CIFAR10_DIR names {chosen}, which is not a folder")
        return Path(chosen)
    datasets = Path(__file__).resolve().parents[1] / "datasets"
    places = [datasets / "cifar-10-batches-py", datasets / "synthetic" / "cifar-10-batches-py"]
    for folder in places:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"there is no CIFAR-10 in {places[0]}. Run `make cifar10` in the course folder to download "
        "it, or `make synthetic-data` to draw a stand-in without a network"
    )


def is_stand_in(folder):
    """True when the folder holds the drawn stand-in and not CIFAR-10's photographs."""
    return (Path(folder) / STAND_IN_MARKER).exists()


def load_CIFAR_batch(filename):
    """Images (N, 32, 32, 3) as uint8 and labels (N,) as int64 of one batch file.

    Raises FileNotFoundError when the file is missing and ValueError when it is damaged.
    """
    images, labels = _read_batch(Path(filename))
    return images.transpose(0, 2, 3, 1), labels


def load_CIFAR10(ROOT):
    """All of CIFAR-10: Xtr (50000, 32, 32, 3), Ytr (50000,), Xte (10000, 32, 32, 3), Yte (10000,).

    Images are uint8, 0 to 255, labels int64. (The assignment's own loader returned float64
    images, eight times as large.)
    Raises FileNotFoundError when a file is missing and ValueError when one is damaged.
    """
    _announce(ROOT)
    Xtr = np.empty((NUM_TRAINING_IMAGES, 3, 32, 32), dtype=np.uint8)
    Ytr = np.empty(len(Xtr), dtype=np.int64)
    filled = _read_training_batches(Path(ROOT), Xtr, Ytr)
    Xte, Yte = _read_batch(Path(ROOT, TEST_BATCH))
    return Xtr[:filled].transpose(0, 2, 3, 1), Ytr[:filled], Xte.transpose(0, 2, 3, 1), Yte


def get_CIFAR10_data(num_training=49000, num_validation=1000, num_test=1000, subtract_mean=True):
    """CIFAR-10 split for training, as a dict: X_train, y_train, X_val, y_val, X_test, y_test.

    The first num_training images train, the num_validation after them validate; the test images
    are the first num_test of the test batch. X is float32 (N, 3, 32, 32), values 0 to 255, minus
    the mean training image when subtract_mean; y is int64 (N,).

    Raises FileNotFoundError when there are no data (see cifar10_folder) or a file is missing, and
    ValueError when a file is damaged or more images are asked for than there are.
    """
    wanted = num_training + num_validation
    _require_enough("num_training + num_validation", wanted, NUM_TRAINING_IMAGES)
    folder = cifar10_folder()
    _announce(folder)
    X = np.empty((wanted, 3, 32, 32), dtype=np.float32)
    y = np.empty(wanted, dtype=np.int64)
    filled = _read_training_batches(folder, X, y)
    _require_enough("num_training + num_validation", wanted, filled)
    X_test, y_test = _read_batch(folder / TEST_BATCH)
    _require_enough("num_test", num_test, len(y_test))
    X_test, y_test = X_test[:num_test].astype(np.float32), y_test[:num_test]

    if subtract_mean:
        mean = X[:num_training].mean(axis=0)
        X -= mean
        X_test -= mean
    return {
        "X_train": X[:num_training],
        "y_train": y[:num_training],
        "X_val": X[num_training:],
        "y_val": y[num_training:],
        "X_test": X_test,
        "y_test": y_test,
    }


def _read_training_batches(folder, X, y):
    """Fill X (N, 3, 32, 32) and y (N,) with the first N training images; returns how many came.

    One batch at a time, so that no more than one is in memory beside X.
    """
    filled = 0
    for name in TRAINING_BATCHES:
        images, labels = _read_batch(folder / name)
        end = min(filled + len(images), len(X))
        X[filled:end] = images[: end - filled]
        y[filled:end] = labels[: end - filled]
        filled = end
    return filled


def _announce(folder):
    if is_stand_in(folder):
        print(f"stand-in data: {folder} holds drawn images, no accuracy on it is CIFAR-10's")


def _require_enough(argument, wanted, available):
    if wanted > available:
        raise ValueError(f"{argument} is {wanted}, but there are only {available} images")


def _read_batch(path):
    """Images (N, 3, 32, 32) as uint8 and labels (N,) as int64 of one batch file."""
    advice = "run `make cifar10` (or `make synthetic-data`) again"
    try:
        with open(path, "rb") as file:
            _require_recorded(path, file)
            batch = BatchUnpickler(file, encoding="bytes").load()
        images, labels = batch[b"data"], np.array(batch[b"labels"], dtype=np.int64)
        if images.dtype != np.uint8 or images.shape != (len(labels), 3 * 32 * 32):
            raise ValueError(f"its images are {images.dtype} {images.shape}")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: the data are incomplete; {advice}") from None
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ValueError(f"{path} is damaged ({error}): {advice}") from None
    return images.reshape(-1, 3, 32, 32), labels


def _require_recorded(path, file):
    """Raise ValueError unless the file's content is that of the manifest; there may be none."""
    manifest = path.parent / MANIFEST
    if manifest.exists():
        recorded = json.loads(manifest.read_text())[path.name]["sha256"]
        if hashlib.file_digest(file, "sha256").hexdigest() != recorded:
            raise ValueError(f"its checksum is not that of {MANIFEST}")
        file.seek(0)


class BatchUnpickler(pickle.Unpickler):
    """Reads arrays and nothing else: a pickle from the network must not run code.

    Strings stay bytes (encoding="bytes"), so the images are not decoded and encoded again.
    """

    def find_class(self, module, name):
        if name == "dtype":
            return lambda code, *_: np.dtype(code)  # NumPy 2.4 warns about the flags of 2009
        if name == "ndarray":
            return np.ndarray
        if name == "_reconstruct":
            return lambda cls, shape, code: np.ndarray.__new__(np.ndarray, shape, "b")
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
