"""The trainings of docs/training.md: its table and its plot, from the files that each run left.

    python -m tests.bench.runs

`docs/training/NAME.history.json` is what `python -m cs231n.train --checkpoint NAME.safetensors`
wrote, NAME.png its curves and NAME.log what it printed.
"""

import json
import re
from pathlib import Path

from matplotlib.figure import Figure

DOCS = Path(__file__).resolve().parents[2] / "docs"
BEGIN, END = "<!-- runs: python -m tests.bench.runs -->\n", "<!-- end of runs -->"
SWITCHES = ("width", "epochs", "lr", "progressive", "ema", "flip", "schedule", "seed")
DEFAULTS = {"lr": 0.1, "schedule": "one_cycle", "seed": 0, "ema": False, "flip": False}


def histories(folder=DOCS / "training"):
    """Return what each run recorded, by the run's name, the longest first."""
    found = {p.name.split(".")[0]: json.loads(p.read_text()) for p in folder.glob("*.history.json")}
    return dict(sorted(found.items(), key=lambda item: -item[1]["history"]["elapsed"][-1]))


def command(run):
    """Return the command that makes this run again, or what is nearest to it today."""
    words = ["python -m cs231n.train"]
    for name in SWITCHES:
        value = run.get(name, False)  # a switch that is younger than the run
        if isinstance(value, bool) and DEFAULTS.get(name) != value:
            words.append(f"--{name}" if value else f"--no-{name}")
        elif DEFAULTS.get(name) != value:
            words.append(f"--{name} {value:g}" if name == "epochs" else f"--{name} {value}")
    return " ".join(words)


def epochs(run):
    """Return the epochs that a run took; of how many, if it left some out to end in time."""
    if "steps" not in run["history"]:  # younger than the run
        return f"{run['epochs']:.3g}"
    per_epoch = run["num_training"] // run["batch_size"]
    taken, planned = run["history"]["steps"][-1] / per_epoch, run["epochs"]
    return f"{planned:.3g}" if planned - taken < 0.05 else f"{taken:.3g} of {planned:.3g}"


def table(runs):
    """Return the Markdown table of the runs, and the command of each."""
    lines = ["| run | width | epochs | minutes | minutes of two cores | validation | "
             "test | test with mirror images |", "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, run in runs.items():
        history = run["history"]
        minutes, cores = history["elapsed"][-1] / 60, history["cpu_seconds"][-1] / 120
        lines.append(
            f"| {name} | {run['width']} | {epochs(run)} | {minutes:.1f} | {cores:.1f} | "
            f"{run['val_acc']:.4f} | {run['test_acc']:.4f} | {run['test_acc_flip']:.4f} |"
        )
    lines += ["", *(f"- {name}: `{command(run)}`" for name, run in runs.items())]
    return "\n".join(lines) + "\n"


def draw(runs):
    """Return the figure of validation accuracy against minutes, with the test accuracy reached."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, run in runs.items():
        history = run["history"]
        minutes = [seconds / 60 for seconds in history["elapsed"]]
        length = f"width {run['width']}, {epochs(run)} epochs"
        label = f"{name}: {length}, test {run['test_acc']:.4f}"
        (line,) = axes.plot(minutes, history["val_acc"], ".-", label=label)
        axes.plot(minutes[-1], run["test_acc"], "*", markersize=13, color=line.get_color())
    axes.set(xlabel="minutes on two processor cores", ylabel="validation accuracy (stars: test)")
    axes.set_ylim(0.4, 1)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def main():
    """Write the plot, and the table into docs/training.md."""
    runs = histories()
    draw(runs).savefig(DOCS / "training" / "accuracy.png", dpi=110)
    page = DOCS / "training.md"
    inside = re.compile(f"(?<={re.escape(BEGIN)}).*(?={re.escape(END)})", re.DOTALL)
    text, changed = inside.subn(table(runs), page.read_text())
    if changed != 1:
        raise ValueError(f"{page.name} must have one part between {BEGIN.strip()} and {END}")
    page.write_text(text)


if __name__ == "__main__":
    main()
