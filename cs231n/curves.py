"""What a run looked like: a plot of its curves, and a log for TensorBoard."""

from matplotlib.figure import Figure


def plot_curves(history, path=None):
    """Draw loss and accuracy by epoch; return the figure, and save it to `path` if there is one."""
    epochs = range(1, len(history["loss"]) + 1)
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, history["loss"], "o-")
    left.set(xlabel="epoch", ylabel="training loss")
    right.plot(epochs, history["train_acc"], "o-", label="training, shifted and mirrored")
    if history["val_acc"]:
        right.plot(epochs, history["val_acc"], "o-", label="validation")
    right.set(xlabel="epoch", ylabel="accuracy")
    right.legend(loc="lower right")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure


def open_log(folder, step):
    """Open a TensorBoard log in `folder`; what an earlier session wrote after `step` is dropped."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ImportError(
            "a TensorBoard log needs a package that is not here: pip install tensorboard"
        ) from None
    return SummaryWriter(folder, purge_step=step + 1)
