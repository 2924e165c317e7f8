"""The Solver: updates, histories, best parameters, checkpoints, progress."""

import pickle

import numpy as np
import pytest

from cs231n import fast_columns
from cs231n.classifiers.cnn import ThreeLayerConvNet
from cs231n.solver import Solver


class LinearClassifier:
    """Softmax on X @ W; `loss_after` replaces the loss from that call on by nan."""

    def __init__(self, D=4, C=3, loss_after=None):
        self.params = {"W": np.zeros((D, C)), "b": np.zeros(C)}
        self.calls, self.loss_after = [], loss_after

    def loss(self, X, y=None):
        scores = X @ self.params["W"] + self.params["b"]
        if y is None:
            return scores
        self.calls.append(len(X))
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        loss = -np.log(p[np.arange(len(y)), y]).mean()
        if self.loss_after is not None and len(self.calls) > self.loss_after:
            loss = np.nan
        p[np.arange(len(y)), y] -= 1
        return loss, {"W": X.T @ p / len(y), "b": p.mean(axis=0)}


@pytest.fixture
def data():
    """Points whose label is their largest coordinate among the first three."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(130, 4))
    y = X[:, :3].argmax(axis=1)
    return {"X_train": X[:90], "y_train": y[:90], "X_val": X[90:], "y_val": y[90:]}


@pytest.fixture(autouse=True)
def seeded():
    np.random.seed(0)


def test_training(data):
    """Does training learn, and is every history as long as it should be?"""
    model = LinearClassifier()
    solver = Solver(model, data, optim_config={"learning_rate": 0.5}, num_epochs=8, batch_size=20)
    solver.train()
    assert model.calls == [20] * 4 * 8  # 90 // 20 iterations an epoch
    assert len(solver.loss_history) == 32 and solver.epoch == 8
    assert len(solver.train_acc_history) == len(solver.val_acc_history) == 9
    assert solver.best_val_acc == max(solver.val_acc_history) > 0.8
    assert solver.loss_history[-1] < solver.loss_history[0]


def test_best_parameters(data):
    """Does the model end with the parameters that gave the best validation accuracy?"""
    model = LinearClassifier()
    solver = Solver(model, data, optim_config={"learning_rate": 3.0}, verbose=False)
    solver.train()
    assert solver.check_accuracy(data["X_val"], data["y_val"]) == solver.best_val_acc
    for name, value in solver.best_params.items():
        np.testing.assert_array_equal(model.params[name], value)


def test_never_empty_parameters(data):
    """Does the model keep parameters when every validation image is always wrong?"""
    data["y_val"] = np.full_like(data["y_val"], 7)
    for epochs in (2, 0):
        model = LinearClassifier()
        solver = Solver(model, data, num_epochs=epochs, verbose=False)
        solver.train()
        assert set(model.params) == {"W", "b"}
        assert (model.params["W"] != 0).any() == (epochs > 0)  # what was learnt is not undone


def test_rule_that_works_in_place(data, monkeypatch):
    """Are the best parameters safe from a rule that changes its argument?"""
    from cs231n import optim

    def in_place(w, dw, config):
        w -= 0.5 * dw
        return w, config

    monkeypatch.setattr(optim, "in_place", in_place, raising=False)
    solver = Solver(LinearClassifier(), data, update_rule="in_place", verbose=False)
    solver.train()
    best = {name: value.copy() for name, value in solver.best_params.items()}
    solver._step()
    for name, value in solver.best_params.items():
        np.testing.assert_array_equal(value, best[name])


def test_learning_rate(data):
    """Does each parameter have its own configuration, decayed after each epoch?"""
    config = {"learning_rate": 0.1}
    solver = Solver(
        LinearClassifier(),
        data,
        update_rule="sgd_momentum",
        optim_config=config,
        lr_decay=0.5,
        num_epochs=3,
        verbose=False,
    )
    solver.train()
    for name, own in solver.optim_configs.items():
        assert own["learning_rate"] == pytest.approx(0.1 / 8)
        assert own["velocity"].shape == solver.model.params[name].shape
    assert config == {"learning_rate": 0.1}


def test_accuracy(data):
    """Is the accuracy that of all images, in whatever batches, or of a sample of them?"""
    model = LinearClassifier()
    model.params["W"][:3] = np.eye(3)
    solver = Solver(model, data, verbose=False)
    X, y = data["X_train"], data["y_train"].copy()
    y[:9] = 5
    assert solver.check_accuracy(X, y, batch_size=7) == pytest.approx(0.9)
    assert solver.check_accuracy(X, y, num_samples=1000) == pytest.approx(0.9)
    assert solver.check_accuracy(X, y, num_samples=1) in (0, 1)


def test_sample_sizes(data):
    """Are num_train_samples and num_val_samples what the accuracy is measured on?"""
    sizes = []

    class Recording(Solver):
        def check_accuracy(self, X, y, num_samples=None, batch_size=100):
            sizes.append(num_samples)
            return super().check_accuracy(X, y, num_samples, batch_size)

    Recording(
        LinearClassifier(),
        data,
        num_epochs=1,
        num_train_samples=5,
        num_val_samples=6,
        verbose=False,
    ).train()
    assert sizes == [5, 6]


def test_few_images(data):
    """Is an epoch at least one iteration when the batch is larger than the data?"""
    solver = Solver(LinearClassifier(), data, batch_size=1000, num_epochs=3, verbose=False)
    solver.train()
    assert len(solver.loss_history) == 3 and len(solver.val_acc_history) == 3


def test_checkpoints(data, tmp_path):
    """Does each epoch leave one whole file, from which the model comes back?"""
    name = tmp_path / "net"
    solver = Solver(LinearClassifier(), data, num_epochs=2, checkpoint_name=name, verbose=False)
    solver.train()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["net_epoch_1.pkl", "net_epoch_2.pkl"]
    state = pickle.loads((tmp_path / files[-1]).read_bytes())
    assert state["epoch"] == 2 and state["loss_history"] == solver.loss_history
    assert state["model"].params["W"].shape == (4, 3)


def test_interrupted_checkpoint(data, tmp_path, monkeypatch):
    """Is the old checkpoint whole when writing the new one fails?"""
    solver = Solver(LinearClassifier(), data, checkpoint_name=tmp_path / "net", verbose=False)
    solver._save_checkpoint()
    whole = (tmp_path / "net_epoch_0.pkl").read_bytes()

    def fail(state, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(pickle, "dump", fail)
    with pytest.raises(OSError, match="disk full"):
        solver._save_checkpoint()
    assert (tmp_path / "net_epoch_0.pkl").read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["net_epoch_0.pkl"]


def test_progress(data, capsys):
    """Does verbose show epoch, loss and accuracies on stdout, and not a line an iteration?"""
    Solver(LinearClassifier(), data, num_epochs=40, batch_size=10).train()
    shown = capsys.readouterr()
    assert shown.err == ""
    last = shown.out.split("\r")[-1]
    for part in ("epoch 40/40", "100%", "loss=", "train_acc=", "val_acc="):
        assert part in last
    assert shown.out.count("\n") == 1


def test_silence(data, capsys):
    """Does verbose=False print nothing, even when the loss explodes?"""
    Solver(LinearClassifier(loss_after=0), data, verbose=False).train()
    assert capsys.readouterr() == ("", "")


def test_loss_that_is_not_finite(data, capsys):
    """Is a loss of nan recorded and named once, and does the training go on?"""
    solver = Solver(LinearClassifier(loss_after=2), data, num_epochs=5, batch_size=30)
    solver.train()
    assert np.isfinite(solver.loss_history[:2]).all() and np.isnan(solver.loss_history[2:]).all()
    assert len(solver.loss_history) == 15
    assert capsys.readouterr().out.count("The loss is nan at iteration 3") == 1


@pytest.mark.parametrize(
    "keywords, message",
    [
        ({"learning_rate": 1}, "unknown keywords of Solver: learning_rate"),
        ({"update_rule": "magic"}, "update_rule 'magic' is not a function"),
        ({"update_rule": "np"}, "update_rule 'np' is not a function"),
    ],
)
def test_wrong_keywords(data, keywords, message):
    """Is a keyword or a rule that does not exist refused by name?"""
    with pytest.raises(ValueError, match=message):
        Solver(LinearClassifier(), data, **keywords)


@pytest.mark.parametrize("change", ["missing", "short", "empty"])
def test_wrong_data(data, change):
    """Are data that lack a part, or whose parts do not fit, refused by name?"""
    if change == "missing":
        del data["X_val"]
    else:
        data["X_val"] = data["X_val"][: 3 if change == "short" else 0]
    with pytest.raises(ValueError, match="X_val"):
        Solver(LinearClassifier(), data)


@pytest.mark.parametrize("rule", ["sgd", "sgd_momentum", "nesterov", "adagrad", "rmsprop", "adam"])
def test_a_float32_network_is_trained_in_float32(rule, monkeypatch):
    """Are parameters and the rule's state float32 after training, and images without gradient?"""
    asked = []
    backward = fast_columns.backward
    monkeypatch.setattr(
        fast_columns, "backward", lambda *args: asked.append(args[-1]) or backward(*args)
    )
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 2, 4, 4)).astype(np.float32), rng.integers(0, 3, 20)
    data = {"X_train": X, "y_train": y, "X_val": X, "y_val": y}
    model = ThreeLayerConvNet((2, 4, 4), 3, 3, 5, 3, reg=np.float64(0.1))
    solver = Solver(
        model, data, update_rule=rule, optim_config={"learning_rate": np.float64(1e-2)},
        lr_decay=np.float64(0.9), num_epochs=2, batch_size=10, verbose=False,
    )  # fmt: skip
    solver.train()
    state = [value for config in solver.optim_configs.values() for value in config.values()]
    arrays = [*model.params.values(), *(v for v in state if isinstance(v, np.ndarray))]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    assert asked == [None] * 4
