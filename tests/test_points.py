"""The course's 100 points: who solves everything earns them, 10 of them from the instructor."""

import shutil

import nbformat
import numpy as np
import torch

from cs231n.classifiers.resnet import ResNet18
from cs231n.training import save_weights
from grading import checkpoint, exam, twin
from grading.checks import ALL, NOTEBOOKS
from grading.grade import grade_submission
from grading.release.notebooks import build_notebook


def points_by_hand():
    """Points of the cells that the instructor marks."""
    cells = [
        cell.metadata.get("nbgrader", {})
        for name in NOTEBOOKS
        for cell in nbformat.reads(build_notebook(name, answers=False), as_version=4).cells
    ]
    return sum(cell["points"] for cell in cells if cell.get("grade") and cell["solution"])


def test_a_solved_course_earns_100_points(solved, tmp_path, monkeypatch, cifar10_dir):
    """Do code, a network that is always right, and full marks by hand make 100?

    A network of the full width that nobody trained is right on images labelled by itself.
    """
    monkeypatch.setenv("CIFAR10_DIR", str(cifar10_dir))
    shutil.copytree(solved / "cs231n", tmp_path / "cs231n")
    torch.manual_seed(0)
    network = ResNet18().eval()
    (tmp_path / "checkpoints").mkdir()
    save_weights(network, tmp_path / "checkpoints" / checkpoint.NAMES[0])
    drawn = exam.draw(5)
    some = np.concatenate([drawn.of("test")[:60], drawn.of("training")[:20]])
    some = np.concatenate([some, drawn.of(*exam.VARIATIONS)[:20]])
    images, twins = drawn.images[some], np.where(drawn.twins[some] < 0, -1, 0)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    labels = twin.scores(images, weights, torch.float32).argmax(1)
    known = exam.Exam(images, labels, drawn.groups[some], twins)
    monkeypatch.setattr(exam, "draw", lambda entropy: known)
    outcomes = grade_submission(tmp_path, entropy=5, level="process")
    assert not {name: found.summary for name, found in outcomes.items() if not found.passed}
    assert outcomes.keys() == ALL.keys()
    assert sum(found.points for found in outcomes.values()) + points_by_hand() == 100
