"""Which images the checkpoints of a class were tested on, noted in its folder.

A setting that is forgotten (CIFAR10_DIR, CIFAR10_1_URL) must not take a class's points away.
"""

from __future__ import annotations

from pathlib import Path

from datasets import cifar10_1
from grading import exam
from grading.store import write_atomically

CHECK = "resnet18_accuracy"
NEW = "and new images"
ORDER = ("missing", "a stand-in", "CIFAR-10")  # from what `exam.source` says least of


def here() -> str:
    """What there is to test on; ValueError if CIFAR10_1_URL names no set of images."""
    return f"{exam.source()} {NEW if cifar10_1.version() else ''}".strip()


def note(course: Path) -> Path:
    """Where it stands what the class was tested on last."""
    return course / "images.txt"


def before(course: Path) -> str:
    """What the class was tested on last; '' if that is not known."""
    return note(course).read_text("utf-8").strip() if note(course).is_file() else ""


def fewer(course: Path) -> str:
    """Why the class must not be graded now: there was more to test on when checkpoints got their
    points. '' if it may be."""
    was, now = before(course), here()
    less = was and any(a < b for a, b in zip(_worth(now), _worth(was), strict=True))
    if not less or not (count := _with_points(course)):
        return ""
    return (
        f"{count} checkpoints have points from a test on {was}, and here is less ({now}): nothing "
        "is graded. Set CIFAR10_DIR and CIFAR10_1_URL as they were; or, if this is meant, delete "
        f"{note(course)} and run it again."
    )


def keep(course: Path) -> None:
    """Note what the class is tested on from now on."""
    if before(course) != here():
        write_atomically(note(course), f"{here()}\n")


def _worth(images: str) -> tuple[bool, int]:
    """New images or none, and a number for the others."""
    return NEW in images, next(i for i, name in enumerate(ORDER) if images.startswith(name))


def _with_points(course: Path) -> int:
    """How many students have points for a checkpoint."""
    from grading.class_report.table import outcomes

    marks = [path.read_text().split() for path in course.glob("graded/*")]
    found = [outcomes(course, words[-1])[0].get(CHECK) for words in marks if words]
    return sum(1 for one in found if one is not None and one.points > 0)
