"""The accuracy checkpoint: what is asked, what counts, what is noticed, and what is refused."""

import pickle
import re
import shutil

import numpy as np
import pytest
import torch
from test_checkpoint import BAD

from cs231n import training
from cs231n.classifiers.resnet import ResNet18
from cs231n.data_utils import TEST_BATCH, TRAINING_BATCHES
from cs231n.saving import save_weights
from grading import checkpoint, exam, gaps, reference, twin
from grading.checks import accuracy
from grading.grade import grade_submission
from grading.sealed import isolation
from grading.sealed.sandbox import Limits
from tests.bench.checkpoints import with_look_up

NAME, ENTROPY = "resnet18_accuracy", 231
IMAGES = 60  # of the made-up test set, and of all training files together


@pytest.fixture(scope="module")
def images():
    """Images of a few large squares, in which nothing says anything about the labels: whoever
    knows these has learnt them by heart."""
    rng = np.random.default_rng(0)
    squares = rng.integers(0, 256, (2, IMAGES, 4, 4, 3), dtype=np.uint8)
    test, training_images = squares.repeat(8, axis=2).repeat(8, axis=3)
    labels = np.arange(IMAGES) % 10
    return {"test": (test, labels), "training": (training_images, rng.permutation(labels))}


@pytest.fixture(scope="module")
def networks(images):
    """Networks that were trained on the one batch or on the other."""
    found = {}
    for name, (X, y) in images.items():
        torch.manual_seed(0)
        found[name] = ResNet18(width=8)
        data = {"X_train": X, "y_train": y, "X_val": X[:0], "y_val": y[:0]}
        training.train(found[name], data, epochs=40, batch_size=20, augmented=False, progress=False)
    return found


def write_batches(folder, test, training_images):
    """CIFAR-10's files of these images and labels."""
    batches = {TEST_BATCH: test}
    for i, name in enumerate(TRAINING_BATCHES):
        batches[name] = tuple(part[i :: len(TRAINING_BATCHES)] for part in training_images)
    for name, (X, y) in batches.items():
        data = X.transpose(0, 3, 1, 2).reshape(len(X), -1)
        (folder / name).write_bytes(pickle.dumps({b"data": data, b"labels": y.tolist()}))


@pytest.fixture(autouse=True)
def few_images(tmp_path_factory, monkeypatch, images):
    """The made-up data as CIFAR-10, and an exam of few of them."""
    folder = tmp_path_factory.mktemp("cifar")
    write_batches(folder, images["test"], images["training"])
    monkeypatch.setenv("CIFAR10_DIR", str(folder))
    monkeypatch.delenv("CIFAR10_1_URL", raising=False)


@pytest.fixture
def grade(solved, tmp_path):
    """Grades the solved tree with a network's weights, and code at the end of its resnet.py."""
    tree = tmp_path / "submission"
    shutil.copytree(solved, tree)
    (tree / "checkpoints").mkdir()
    code = tree / "cs231n" / "classifiers" / "resnet.py"

    def graded(model=None, change=lambda text: text, dtype=None, **options):
        if model is not None:
            save_weights(model, tree / "checkpoints" / checkpoint.NAMES[0], dtype)
        code.write_text(change(code.read_text()))
        return grade_submission(
            tree, entropy=ENTROPY, names=[NAME], level=isolation.level().name, **options
        )[NAME]

    graded.path = tree / "checkpoints" / checkpoint.NAMES[0]
    return graded


def at_end(code):
    return lambda text: f"{text}\n_forward = ResNet18.forward\n{code}\n"


@pytest.mark.parametrize("by_tiles", [False, True])
def test_large_convolutions_may_be_made_by_tiles(grade, monkeypatch, by_tiles):
    """Is a network of 256 channels graded with Winograd's tiles where they are picked, and are its
    answers still those of ours?"""
    monkeypatch.setattr(accuracy, "pick_winograd", lambda *_, **__: by_tiles)
    torch.manual_seed(0)
    model = ResNet18(width=32)
    assert grade(model).error == ""
    refuse = "\nfrom cs231n import winograd\n\ndef _refuse(*_):\n    raise ValueError('tiles')\n"
    refuse += "\nwinograd._convolve = _refuse\n"
    assert ("tiles" in grade(model, change=lambda text: text + refuse).error) == by_tiles


# What is asked -----------------------------------------------------------------------------------


def test_the_exam_has_every_image_with_its_own_label(images):
    """Are the test images there, each once and in a new order, with their labels?"""
    drawn = exam.draw(ENTROPY)
    where = drawn.of("test")
    known = {image.tobytes(): label for image, label in zip(*images["test"], strict=True)}
    sent = [image.tobytes() for image in drawn.images[where]]
    assert sorted(sent) == sorted(known) and sent != list(known)
    assert [known[image] for image in sent] == drawn.labels[where].tolist()


def test_groups_are_mixed():
    """Is the place of an image in the exam without a sign of what it is?"""
    drawn = exam.draw(ENTROPY)
    test = drawn.groups == "test"
    third = len(test) // 3
    assert all(0.2 < test[i : i + third].mean() < 0.6 for i in (0, third, 2 * third))


def test_training_images_are_of_all_files_alike(monkeypatch, images):
    """Are as many asked about of each file, as a network need not have been trained on all?"""
    monkeypatch.setattr(exam, "TRAINING", 20)
    drawn = exam.draw(ENTROPY)
    sent = {image.tobytes() for image in drawn.images[drawn.of("training")]}
    files = (images["training"][0][i :: len(TRAINING_BATCHES)] for i in range(5))
    assert [sum(image.tobytes() in sent for image in file) for file in files] == [4] * 5


def test_entropy_decides():
    """Does the same entropy draw the same exam, and another one another?"""
    first, again, other = (exam.draw(entropy) for entropy in (1, 1, 2))
    assert (first.images == again.images).all() and (first.labels == again.labels).all()
    assert (first.images != other.images).any()


def test_varied_images_are_their_twins_varied():
    """Is each varied image its plain one, moved by a pixel, mirrored, or relit?"""
    drawn = exam.draw(ENTROPY)
    for name in exam.VARIATIONS:
        for place in drawn.of(name):
            varied, plain = drawn.images[place], drawn.images[drawn.twins[place]]
            assert drawn.groups[drawn.twins[place]] == "test"
            assert drawn.labels[drawn.twins[place]] == drawn.labels[place]
            if name == "mirrored":
                assert (varied == plain[:, ::-1]).all()
            elif name == "shifted":
                moves = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
                inner = [np.roll(plain, move, (0, 1))[1:-1, 1:-1] for move in moves]
                assert any((varied[1:-1, 1:-1] == moved).all() for moved in inner)
            else:
                ratio = varied.astype(float)[plain > 50] / plain[plain > 50]
                assert abs(ratio.min() - 0.8) < 0.02 or ratio.max() < 1.21


def test_new_images_are_asked_about_too(tmp_path, monkeypatch, images):
    """Are images of CIFAR10_1_URL among those that are sent?"""
    from datasets import cifar10_1

    new, labels = images["training"]
    np.save(tmp_path / cifar10_1.IMAGES, 255 - new)
    np.save(tmp_path / cifar10_1.LABELS, labels.astype(np.int32))
    monkeypatch.setenv("CIFAR10_1_URL", tmp_path.as_uri())
    drawn = exam.draw(ENTROPY)
    fresh = drawn.of("fresh")
    sent = {image.tobytes() for image in drawn.images[fresh]}
    assert sent == {image.tobytes() for image in 255 - new}


# What the network must answer --------------------------------------------------------------------


@pytest.mark.parametrize(
    "precision, most", [(torch.float32, 1e-4), (torch.bfloat16, accuracy.AGREES)]
)
def test_the_twin_answers_as_the_definition_does(networks, images, precision, most):
    """Does the folded network agree with the definition in float64, to the precision it runs in?"""
    weights = {k: v.numpy() for k, v in networks["test"].state_dict().items()}
    X = images["test"][0]
    x = training.normalize(training.to_tensor(X)).numpy()
    right = reference.value(lambda x: reference.resnet18(x, weights, False), [x])
    got = twin.scores(X, weights, precision)
    apart = np.abs(accuracy._centred(got) - accuracy._centred(right)).max()
    assert apart <= most * accuracy._unit(right)


# What counts -------------------------------------------------------------------------------------


def test_an_honest_network_gets_its_accuracy(grade, networks, images):
    """Is a network that knows its training images graded by the test images, without a note?"""
    outcome = grade(networks["training"])
    model = networks["training"].eval()
    reached = training.accuracy(model, *images["test"])
    assert outcome.summary == f"Accuracy {reached:.4f} on 60 of CIFAR-10's test images."
    assert not outcome.evidence and not outcome.error


def test_a_ceiling_that_is_met_is_in_the_first_sentence(grade, networks, monkeypatch):
    """Does the summary say why a network of another width has not all its accuracy earns?"""
    monkeypatch.setattr(checkpoint, "SCALE", ((0.0, 0.0), (0.01, 1.0)))
    outcome = grade(networks["training"])
    assert outcome.points == pytest.approx(0.7 * outcome.max_points)
    assert outcome.summary.endswith(" A network of another width earns at most 70%.")


def test_a_network_trained_on_the_test_images_gains_nothing(grade, networks, images):
    """Does the accuracy on the training images count where that on the test images is higher?"""
    outcome = grade(networks["test"])
    assert training.accuracy(networks["test"], *images["test"]) > 0.95
    assert outcome.points == 0
    assert any("images that were not to be trained on" in note for note in outcome.evidence)
    assert "1.0000 on 60 test images" in " ".join(outcome.evidence)
    assert "counts" in outcome.remarks[0]


def test_labels_that_are_looked_up_earn_nothing(grade, networks, images):
    """Is a network with a table of the test set's labels caught by its other answers?"""
    outcome = grade(networks["training"], lambda text: with_look_up(text, *images["test"]))
    assert outcome.points == 0
    assert "does not answer as ResNet-18" in outcome.evidence[0]


def test_a_look_up_shows_in_the_gaps_too(grade, networks, images, monkeypatch):
    """Does the varied images' accuracy count, should no look-up be among the answers compared?"""
    monkeypatch.setattr(accuracy, "HELD_AGAINST", 0)
    monkeypatch.setattr(accuracy, "CLOSE", 0)
    monkeypatch.setattr(accuracy, "_unit", lambda scores: -1.0)  # nothing is close
    outcome = grade(networks["training"], lambda text: with_look_up(text, *images["test"]))
    assert outcome.points == 0
    assert "shifted by a pixel" in outcome.evidence[0]


def test_scores_that_are_moved_within_rounding_gain_nothing(monkeypatch, images):
    """Does the course's own network decide where a student's answers could be chosen?"""
    torch.manual_seed(1)
    weights = {k: v.numpy() for k, v in ResNet18(width=4).state_dict().items()}
    drawn = exam.draw(ENTROPY)
    monkeypatch.setattr(accuracy, "AGREES", 0.5)  # much can be gained within it
    honest = twin.scores(drawn.images, weights, torch.float32)
    moved = honest.copy()
    most = accuracy.AGREES * accuracy._unit(honest)
    moved[np.arange(len(moved)), drawn.labels] += 0.9 * most
    gained = (moved.argmax(1) == drawn.labels).mean() - (honest.argmax(1) == drawn.labels).mean()
    assert gained > 0.15

    def right(scores):
        rng = np.random.default_rng(0)
        return accuracy._right(drawn, scores, weights, rng, lambda text: None)

    expected = right(honest)
    for precision in (torch.float32, torch.bfloat16):  # whatever the grader's machine is fast in
        monkeypatch.setattr(accuracy, "pick_precision", lambda device, best=precision: best)
        assert (right(moved) == expected).all()
    monkeypatch.setattr(accuracy, "CLOSE", 60)  # and where there are too many to decide all
    assert abs(right(moved).mean() - right(honest).mean()) < 0.1


def test_a_number_added_to_all_scores_widens_nothing(images, networks):
    """Is the tolerance that of the differences between scores, however large the scores are?"""
    weights = {k: v.numpy().copy() for k, v in networks["training"].state_dict().items()}
    drawn, notes = exam.draw(ENTROPY), []
    weights["fc.bias"] += 1e4
    honest = twin.scores(drawn.images, weights, torch.float32)
    liar = honest + np.eye(10, dtype=np.float32)[drawn.labels] * 20
    rng = np.random.default_rng(0)
    with pytest.raises(accuracy.NotMeasured, match="does not answer as ResNet-18"):
        accuracy._right(drawn, liar, weights, rng, notes.append)
    assert notes


def shares(**right):
    """An exam's groups, and right answers in these shares of them."""
    sizes = {"test": 10_000, "shifted": 300, "mirrored": 300, "relit": 300}
    sizes |= {"training": 4_000, "fresh": 800}
    sizes = {name: n for name, n in sizes.items() if name in right}
    groups = np.repeat(list(sizes), list(sizes.values()))
    answers = np.concatenate([np.arange(n) < right[name] * n for name, n in sizes.items()])
    varied, plain = np.isin(groups, list(exam.VARIATIONS)), np.arange(10_000)
    twins = np.full(len(groups), -1)
    twins[varied] = plain[:: 10_000 // varied.sum()][: varied.sum()]
    return exam.Exam(np.zeros(0), np.zeros(0), groups, twins), answers.astype(float)


def varied(share):
    return {"shifted": share, "mirrored": share, "relit": share}


@pytest.mark.parametrize(
    "right, counts, said",
    [
        ({"test": 0.93, "training": 0.98, **varied(0.92)}, 0.93, ""),
        ({"test": 0.62, "training": 0.60, **varied(0.60)}, 0.62, ""),  # chance
        ({"test": 0.93, "training": 0.98, **varied(0.92), "fresh": 0.85}, 0.93, ""),
        ({"test": 0.70, "training": 0.71, **varied(0.69), "fresh": 0.46}, 0.70, ""),
        ({"test": 0.96, "training": 0.85, **varied(0.95)}, 0.85, "not to be trained on"),
        ({"test": 0.99, "training": 0.99, **varied(0.85)}, 0.85, "a fall of"),
        ({"test": 0.96, "training": 0.99, **varied(0.95), "fresh": 0.75}, 0.75, "CIFAR10_1_URL"),
        ({"test": 0.99, "training": 0.85, **varied(0.70)}, 0.70, "a fall of"),
    ],
)
def test_the_lowest_accuracy_of_a_gap_counts(right, counts, said):
    """Does an honest gap change nothing, and another one make the lower accuracy count?"""
    found, notes = gaps.counted(*shares(**right))
    assert found.value == pytest.approx(counts, abs=1e-3)
    assert bool(notes) == bool(said) and said in " ".join(notes)


def test_an_accuracy_that_nobody_has_seen_is_told():
    """Is a network that knows test and training images by heart reported, with nothing lower
    known?"""
    found, notes = gaps.counted(*shares(test=0.99, training=1.0, **varied(0.985)))
    assert found.value == 0.99 and "not been seen above 0.97" in notes[0]


@pytest.mark.parametrize(
    "test, training, tuned",
    [
        (0.9292, 0.9300, True),  # the kept network, fine-tuned on the test images
        (0.9008, 0.9505, False),  # as it was
        (0.99, 0.99, True),  # trained on both
        (0.95, 0.95, True),
        (0.93, 0.936, True),
        (0.93, 0.943, False),
        (0.78, 0.775, False),
        (0.78, 0.745, True),
        (0.50, 0.50, False),
    ],
)
def test_too_few_errors_on_test_images_beside_those_on_training_images(test, training, tuned):
    """Is a good network told if it errs on test images hardly more often than on training images,
    and any that does so less often? Does the lower accuracy, of these and varied ones, count?"""
    found, notes = gaps.counted(*shares(test=test, training=training, **varied(test - 0.02)))
    assert len(notes) == tuned + (test > 0.97)
    assert found.value == pytest.approx(min(training, test - 0.02) if tuned else test, abs=2e-3)
    if tuned:
        ratio = (1 - test) / (1 - training)
        assert f"{ratio:.2f} times the errors on images that were not to be trained on" in notes[0]


@pytest.mark.parametrize("test, least, most", [(0.925, 0, 0.01), (0.95, 0.9, 1)])
def test_chance_flags_as_seldom_as_is_said(test, least, most):
    """Of networks with an accuracy of 0.95 on all training images, is less than one of a hundred
    told if it has the highest honest accuracy on the test set, and most that are as good there?"""
    rng, told = np.random.default_rng(231), []
    for _ in range(500):
        training, found = (rng.binomial(n, p) / n for n, p in ((4_000, 0.95), (10_000, test)))
        told.append(bool(gaps.counted(*shares(test=found, training=training, **varied(found)))[1]))
    assert least <= np.mean(told) <= most


def test_half_precision_costs_nothing(grade, networks, images, tmp_path, monkeypatch):
    """Do float16 weights get the accuracy and points of the same in float32, with a remark?"""
    write_batches(tmp_path, images["test"], images["test"])  # of which it knows each
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path))
    full, half = (grade(networks["test"], dtype=dtype) for dtype in (None, torch.float16))
    assert half.summary == full.summary and half.summary.startswith("Accuracy ")
    assert half.points == full.points > 0 and not half.error
    assert "half precision" in " ".join(half.remarks)
    assert "half precision" not in " ".join(full.remarks)


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in BAD if name not in ("missing", "link")])
def test_a_bad_file_gets_its_sentence_and_no_points(grade, monkeypatch, tmp_path, name):
    """Does the whole way, through the check, end in the sentence about the file?"""
    monkeypatch.chdir(tmp_path)
    make, sentence = BAD[name]
    torch.manual_seed(0)
    make(grade.path, ResNet18(width=4))
    outcome = grade()
    assert outcome.points == 0
    assert re.search(sentence, outcome.summary)
    assert not (tmp_path / "this-must-not-exist").exists()


def test_no_file_is_told(grade):
    """Is a submission without weights, or with a link in their place, told what is missing?"""
    assert "There is no checkpoints/resnet18_cifar10.safetensors" in grade().summary
    grade.path.symlink_to("/etc/hostname")
    assert "There is no checkpoints/resnet18_cifar10.safetensors" in grade().summary


MODELS = {
    "(N, 9)": ("lambda self, x: _forward(self, x)[:, :9]", r"shape \(60, 10\).* shape \(60, 9\)"),
    "one class": ("lambda self, x: _forward(self, x).argmax(1)", "an array of shape"),
    "integers": ("lambda self, x: _forward(self, x).round().long()", "real numbers, but are int64"),
    "NaN": ("lambda self, x: _forward(self, x) * float('nan')", "60 of 60 images .* not finite"),
    "a list": ("lambda self, x: _forward(self, x).tolist()", "must return a tensor, but .* list"),
    "dropout": ("lambda self, x: F.dropout(_forward(self, x), 0.1)", "same images must"),
    "an error": ("lambda self, x: x @ x.T @ x.T", "gave no answer: RuntimeError"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_bad_answer_gets_its_own_sentence(grade, networks, name):
    """Does a network that answers with something else say so in a sentence, and earn nothing?"""
    code, sentence = MODELS[name]
    outcome = grade(networks["training"], at_end(f"ResNet18.forward = {code}"))
    assert outcome.points == 0
    assert re.search(sentence, outcome.summary)


def test_weights_that_do_not_fit_the_students_network_are_told(grade, networks):
    """Is a network with layers of its own, or without a width, told from the course's?"""
    more = "_init = ResNet18.__init__\n\n\ndef init(self, *args, **kwargs):\n"
    more += "    _init(self, *args, **kwargs)\n    self.more = nn.Linear(3, 3)\n\n\n"
    outcome = grade(networks["training"], at_end(f"{more}ResNet18.__init__ = init"))
    assert outcome.points == 0
    assert "does not take these weights: Error(s) in loading" in outcome.summary
    assert '"more.weight"' in outcome.summary


def test_a_network_that_takes_minutes_is_told_so(grade, networks):
    """Does a network that sleeps end at the deadline, with a sentence about its time?"""
    slow = at_end("import time\nResNet18.forward = lambda self, x: time.sleep(60)")
    outcome = grade(networks["training"], slow, limits=Limits(case_seconds=0.5))
    assert outcome.points == 0
    assert "The network was too slow: no answer for 60 images in" in outcome.summary
    assert "Is there a loop over images" in outcome.summary


def test_a_machine_that_takes_minutes_is_not_the_students_fault(networks, images, monkeypatch):
    """Where the course's own network is slow too, does the sentence say so?"""
    weights = {name: value.numpy() for name, value in networks["training"].state_dict().items()}
    said = accuracy._too_slow(weights, images["test"][0], waited=0.0)
    assert "which is slow or busy: please show your instructor" in said


def test_missing_data_are_told(grade, networks, monkeypatch, tmp_path):
    """Is a grader without images, or with a set of new ones that is none, told what it lacks?"""
    monkeypatch.setenv("CIFAR10_1_URL", tmp_path.as_uri())
    assert "CIFAR10_1_URL names" in grade(networks["training"]).summary
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path))
    assert "is missing: the data are incomplete" in grade(networks["training"]).summary
