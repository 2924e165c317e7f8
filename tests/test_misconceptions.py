"""The bank of misconceptions: what it names, what it must not name, and what never fails."""

import re
import sys
import types
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from grading import judge
from grading.checks import ALL
from grading.checks.case import Call, Case
from grading.misconceptions import BANK, diagnosis
from grading.misconceptions.answers import answer, flat
from grading.misconceptions.bank import SECTIONS
from grading.misconceptions.diagnosis import best, same
from grading.misconceptions.kill import (
    ALTERNATIVES,
    InPlace,
    Table,
    alternative,
    in_place,
    replaced,
)
from grading.misconceptions.right import table
from grading.misconceptions.words import in_words
from grading.overlay import SOLUTIONS

RIGHT = sorted(ALTERNATIVES.glob("*.py"))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The checks' arrays are small: more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def kill_table() -> Table:
    return Table(entropy=2024)


def edited(file: str, *edits: tuple[str, str]) -> types.ModuleType:
    """A master with mistakes in it, as a module of its own."""
    source = (SOLUTIONS / "cs231n" / file).read_text(encoding="utf-8")
    for old, new in edits:
        assert old in source, f"{file} has no {old!r}"
        source = source.replace(old, new)
    module = types.ModuleType("mistaken")
    module.__package__ = ".".join(["cs231n", *Path(file).parts[:-1]])
    sys.modules["mistaken"] = module
    exec(compile(source, file, "exec"), vars(module))
    return module


# The bank -----------------------------------------------------------------------------------------


@pytest.mark.fast
def test_every_check_has_misconceptions():
    """Does the bank know at least 60 mistakes, and some of every check that has cases?"""
    assert len(BANK) >= 60
    without = set(ALL) - {check for known in BANK.values() for check in known.fails}
    assert without == {"resnet18_accuracy"}


@pytest.mark.fast
def test_each_section_is_a_heading_of_its_notebook():
    """Does every link of a diagnosis lead to a heading that is there?"""
    headings = {
        path.stem: set(re.findall(r"^# #+ (.+)$", path.read_text(encoding="utf-8"), re.M))
        for path in (SOLUTIONS / "notebooks").glob("*.py")
    }
    gone = [check for check, s in SECTIONS.items() if s not in headings[ALL[check].notebook]]
    assert gone == []


@pytest.mark.fast
def test_a_diagnosis_is_a_sentence_and_no_code():
    """Is each diagnosis short, ended by a stop or a question mark, and free of NumPy?"""
    for known in BANK.values():
        assert known.says[-1] in ".?" and len(known.says) < 220, known.name
        assert not re.search(r"np\.|axis=|\[:|keepdims|import ", known.says), known.name


@pytest.mark.fast
def test_right_functions_answer_as_the_solved_package():
    """Do the right functions that a misconception is built on give the solved package's answers?"""
    for check in kill_table().checks:
        cases = kill_table().cases[check.name]
        for case, reply in zip(cases, InPlace({}).replies(check, cases, False), strict=True):
            right, got = answer(case, table(), {}, reply["answers"]), flat(reply["answers"])
            wrong = [k for k in right if not same(got.get(k), right[k], case, k)]
            assert wrong == [], f"{check.name}, {case.label}"


@pytest.mark.slow
def test_every_misconception_is_killed_and_named_alone():
    """Does each mistake fail its own checks and no other, and is it called by its name?"""
    rows = [kill_table().row(known, form) for known in BANK.values() for form in known.forms]
    assert [row for row in rows if not row.killed] == []
    assert [(row.name, row.others) for row in rows if row.others] == []
    assert [(row.name, row.wrongly) for row in rows if row.wrongly] == []
    assert sum(row.diagnosed for row in rows) >= 0.95 * len(rows)


@pytest.mark.parametrize("path", RIGHT, ids=lambda path: path.stem)
def test_nothing_fails_for_a_right_solution_written_otherwise(path):
    """Does a right solution in another style get every point?"""
    functions = alternative(path)
    assert functions
    outcomes = kill_table().outcomes(functions)
    assert outcomes
    assert {n: o.summary for n, o in outcomes.items() if not o.passed} == {}


def test_there_are_twelve_alternatives_or_more():
    """Are there enough right solutions in other styles to trust the checks?"""
    assert len(RIGHT) >= 12


# Mistakes as students write them ------------------------------------------------------------------

BN_DX = "dx = dx + dvar * 2 * centred / N + dmean / N"
MISTAKES = [
    ("layers.py", [("db = dout.sum(axis=0)", "db = dout.mean(axis=0)")],
     "affine_backward", "affine: mean for sum in db"),
    ("layers.py", [("    dx = (dout @ w.T).reshape(x.shape)", "    dx = dout @ w.T")],
     "affine_backward", "affine: dx left in rows"),
    ("layers.py", [("shifted = x - x.max(axis=1, keepdims=True)", "shifted = x")],
     "softmax_loss", "softmax: no shift"),
    ("layers.py", [("shifted = x - x.max(axis=1, keepdims=True)",
                    "shifted = x - x.min(axis=1, keepdims=True)")],
     "softmax_loss", "softmax: no shift"),
    ("layers.py", [("-log_p[examples, y].mean()", "-np.log(np.exp(log_p[examples, y]) + 1e-8)"
                    ".mean()")],
     "softmax_loss", "softmax: a number inside the log"),
    ("layers.py", [("    dx /= x.shape[0]\n", "")],
     "softmax_loss", "softmax: gradient not divided"),
    ("layers.py", [("    dx /= x.shape[0]\n", ""), ("-log_p[examples, y].mean()",
                                                    "-log_p[examples, y].sum()")],
     "softmax_loss", "softmax: sum for mean"),
    ("layers.py", [("    dx[examples, y] -= 1\n", "")],
     "softmax_loss", "softmax: right class left out of the gradient"),
    ("layers.py", [("    std = np.sqrt(var + eps)\n    x_hat = centred",
                    "    std = np.sqrt(var) + eps\n    x_hat = centred")],
     "batchnorm_forward", "batch norm: epsilon outside the root"),
    ("layers.py", [("x.mean(axis=0), x.var(axis=0)", "x.mean(axis=0), x.var(axis=0, ddof=1)")],
     "batchnorm_forward", "batch norm: unbiased variance"),
    ("layers.py", [(BN_DX, "dx = dx + dvar * 2 * centred / N")],
     "batchnorm_backward", "batch norm: the mean's term forgotten"),
    ("layers.py", [(BN_DX, "dx = dx + dmean / N")],
     "batchnorm_backward", "batch norm: the variance's term forgotten"),
    ("layers.py", [(BN_DX, "dx = dx + dvar * centred / N + dmean / N")],
     "batchnorm_backward", "batch norm: the square's factor of 2 forgotten"),
    ("layers.py", [(BN_DX, "dx = dx + dvar * 2 * centred / N + dmean")],
     "batchnorm_backward", "batch norm: the mean's term not divided"),
    ("layers.py", [("    by_mean = dx_hat.mean(axis=1, keepdims=True)  # (N, 1)",
                    "    by_mean = 0")],
     "layernorm_backward", "layer norm: the mean's term forgotten"),
    ("layers.py", [("    by_var = x_hat * (dx_hat * x_hat).mean(axis=1, keepdims=True)  # (N, D)",
                    "    by_mean = gamma * dout.mean(axis=1, keepdims=True)\n"
                    "    by_var = gamma * x_hat * (dout * x_hat).mean(axis=1, keepdims=True)")],
     "layernorm_backward", "layer norm: gamma taken out of the means"),
    ("layers.py", [("    std = np.sqrt(var + eps)\n    x_hat = centred",
                    "    std = np.sqrt(var) + eps if mode == 'train' else np.sqrt(var + eps)\n"
                    "    x_hat = centred")],
     "batchnorm_forward", "batch norm: epsilon outside the root"),
    ("layers.py", [("    return dout * (x > 0)", "    return dout * (x >= 0)")],
     "relu_backward", "ReLU: gate open at 0"),
    ("layers.py", [("    return dout * (x > 0)", "    return x > 0")],
     "relu_backward", "ReLU: upstream gradient left out"),
    ("layers.py", [("    return dout * (x > 0)", "    return (x > 0).astype(x.dtype)")],
     "relu_backward", "ReLU: upstream gradient left out"),
    ("layers.py", [("    return dout * (x > 0)", "    return np.where(x > 0, 1, 0)")],
     "relu_backward", "ReLU: upstream gradient left out"),
    ("layers.py", [("    return dout * (x > 0)", "    return np.where(x > 0, 1.0, 0.0)")],
     "relu_backward", "ReLU: upstream gradient left out"),
    ("layers.py", [("    dx[examples, y] -= 1\n", "    dx[examples, y] += 1\n")],
     "softmax_loss", "softmax: one added at the right class"),
    ("layers.py", [("    dx /= x.shape[0]\n", "    dx /= x.shape[1]\n")],
     "softmax_loss", "softmax: divided by the number of classes"),
    ("optim.py", [('config["velocity"] = v\n    return w + v', 'config["velocity"] = v\n    return '
                   "w - v")],
     "sgd_momentum", "momentum: downhill velocity subtracted"),
    ("optim.py", [('return w - config["learning_rate"] * m_hat',
                   'return w + config["learning_rate"] * m_hat')],
     "adam", "Adam: step up the gradient"),
    ("optim.py", [('s = config["cache"] + dw**2', "s = dw**2")],
     "adagrad", "AdaGrad: state of this step alone"),
    ("optim.py", [("(1 - decay_rate) * dw**2", "(1 - decay_rate) * dw")],
     "rmsprop", "RMSProp: gradient not squared"),
    ("layers.py", [("    x_hat = centred / std\n    out = gamma * x_hat + beta",
                    "    x_hat = centred / std\n    out = beta * x_hat + gamma")],
     "batchnorm_forward", "batch norm: gamma and beta exchanged"),
    ("layers.py", [("    std = np.sqrt(var + eps)\n    x_hat = centred",
                    "    std = np.sqrt(var + eps * (mode == 'train'))\n    x_hat = centred")],
     "batchnorm_forward", "batch norm: no epsilon in test mode"),
    ("layers.py", [("    centred, std, x_hat, gamma, mode = cache\n"
                    "    _check_shape(\"dout\", dout, x_hat.shape)\n    N = dout.shape[0]\n"
                    "    dbeta = dout.sum(axis=0)\n    dgamma = (dout * x_hat)",
                    "    centred, std, x_hat, gamma, mode = cache\n    N = dout.shape[0]\n"
                    "    dbeta = dout.sum(axis=0)\n    dgamma = (dout * centred)")],
     "batchnorm_backward", "batch norm: dgamma by the centred x"),
    ("layers.py", [("dw += np.tensordot(here, window", "dw = np.tensordot(here, window")],
     "conv_backward_naive", "convolution: dw assigned at each place"),
    ("layers.py", [("first = window.reshape(N, C, -1).argmax(axis=2)  # (N, C)",
                    "size = window.shape"),
                   ("chosen = np.arange(pool_height * pool_width) == first[:, :, None]",
                    "chosen = window == window.max(axis=(2, 3), keepdims=True)")],
     "max_pool_backward_naive", "max pooling: gradient to all the maxima"),
    ("layers.py", [("(rng.random_sample(x.shape) < p) / p", "(rng.random_sample(x.shape) < p)")],
     "dropout_forward", "dropout: not scaled"),
    ("layers.py", [("(rng.random_sample(x.shape) < p) / p",
                    "(rng.random_sample(x.shape) > p) / (1 - p)")],
     "dropout_forward", "dropout: keep and drop exchanged"),
    ("layers.py", [("dx = dxp[:, :, pad : H_padded - pad, pad : W_padded - pad]",
                    "dx = dxp[:, :, pad:-pad, pad:-pad]")],
     "conv_backward_naive", "convolution: slice empty at padding 0"),
    ("layers.py", [("left : left + WW] += np.tensordot(here, w", "left : left + WW] = np.tensordot("
                    "here, w")],
     "conv_backward_naive", "convolution: dx assigned where windows overlap"),
    ("layers.py", [("left : left + pool_width] += here", "left : left + pool_width] = here")],
     "max_pool_backward_naive", "max pooling: gradient assigned where windows overlap"),
    ("layers.py", [("rows = x.transpose(0, 2, 3, 1).reshape(-1, C)  # (N * H * W, C): a channel "
                    "is a feature", "rows = x.reshape(-1, C)"),
                   ("return out.reshape(N, H, W, C).transpose(0, 3, 1, 2), cache",
                    "return out.reshape(x.shape), cache")],
     "spatial_batchnorm_forward", "spatial batch norm: reshaped without moving the channels"),
    ("optim.py", [('- config["learning_rate"] * dw\n    config["velocity"] = v\n    return w + v',
                   '+ config["learning_rate"] * dw\n    config["velocity"] = v\n    return w + v')],
     "sgd_momentum", "momentum: sign of the gradient"),
    ("optim.py", [('- config["learning_rate"] * dw\n    config["velocity"] = v\n    return w + v',
                   '+ config["learning_rate"] * dw\n    config["velocity"] = v\n    return w - v')],
     "sgd_momentum", "momentum: velocity that is subtracted"),
    ("optim.py", [("m_hat / (np.sqrt(v_hat) + config[\"epsilon\"])",
                   "m_hat / np.sqrt(v_hat + config[\"epsilon\"])"), ("m / (1 - beta1**t)", "m")],
     "adam", "Adam: first moment not corrected"),
    ("optim.py", [("    config.update(t=t, m=m, v=v)\n", "    config.update(m=m, v=v)\n")],
     "adam", "Adam: t not written back"),
    ("optim.py", [("m / (1 - beta1**t)", "m"), ("v / (1 - beta2**t)", "v")],
     "adam", "Adam: no bias correction"),
    ("optim.py", [("decay_rate * config[\"cache\"] + (1 - decay_rate) * dw**2",
                   "(1 - decay_rate) * config[\"cache\"] + decay_rate * dw**2")],
     "rmsprop", "RMSProp: decay turned round"),
    ("layers.py", [("left : left + WW] += np.tensordot(here, w",
                    "left : left + WW] += np.tensordot(here, w[:, :, ::-1, ::-1]")],
     "conv_backward_naive", "convolution: filter turned round in dx"),
    ("layers.py", [("    std = np.sqrt(var + eps)\n    x_hat = centred",
                    "    std = var + eps\n    x_hat = centred")],
     "batchnorm_forward", "batch norm: divided by the variance"),
    ("layers.py", [("    std = np.sqrt(var + eps)\n    x_hat = centred",
                    "    std = np.sqrt(var + 1e-8)\n    x_hat = centred")],
     "batchnorm_forward", "batch norm: no epsilon"),
    ("layers.py", [('eps = ln_param.get("eps", 1e-5)', "eps = 1e-8")],
     "layernorm_forward", "layer norm: no epsilon"),
    ("optim.py", [('v = mu * v_prev - config["learning_rate"] * dw\n    config["velocity"] = v\n'
                   "    return w - mu * v_prev + (1 + mu) * v",
                   'v = mu * v_prev + dw\n    config["velocity"] = v\n'
                   '    return w - config["learning_rate"] * (dw + mu * v)')],
     "nesterov", "Nesterov: learning rate outside the velocity"),
    ("classifiers/fc_net.py", [("for i in range(1, last + 1):\n            W = ",
                                "for i in range(last, last + 1):\n            W = ")],
     "FullyConnectedNet", "network: L2 on the last layer alone"),
    ("classifiers/fc_net.py", [("loss += 0.5 * self.reg", "loss += self.reg")],
     "FullyConnectedNet", "network: L2 without the half"),
    ("classifiers/fc_net.py", [("            grads[f\"W{i}\"] += self.reg * W\n",
                                "            if self.normalization is None or i == last:\n"
                                "                grads[f\"W{i}\"] += self.reg * W\n")],
     "FullyConnectedNet_batchnorm",
     "network: L2 left out of the gradient where there is normalisation"),
    ("classifiers/fc_net.py", [("for i in range(1, last + 1):\n            W = ",
                                "for i in range(1, last):\n            W = ")],
     "FullyConnectedNet", "network: L2 not on the last layer"),
    ("classifiers/cnn.py", [("            grads[name] += self.reg * W\n", "")],
     "ThreeLayerConvNet", "convolutional network: L2 left out of the gradient"),
]  # fmt: skip


@pytest.mark.parametrize("file, edits, check, name", MISTAKES, ids=[m[3] for m in MISTAKES])
def test_a_mistake_in_numpy_is_named(file, edits, check, name):
    """Is a mistake that a student wrote in NumPy called by its name, first of all?"""
    outcomes = kill_table().outcomes(replaced(edited(file, *edits)))
    assert outcomes[check].known == (name,)
    assert outcomes[check].summary.startswith(BANK[name].says)
    assert diagnosis.MORE not in outcomes[check].summary


@pytest.mark.fast
def test_what_is_there_in_the_wrong_kind_is_not_said_to_be_missing():
    """Are running statistics that were written back as lists not called forgotten?"""
    mistaken = edited(
        "layers.py",
        ('bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * mean',
         'bn_param["running_mean"] = list(0.9 * running_mean + 0.1 * mean)'),
        ('bn_param["running_var"] = momentum * running_var + (1 - momentum) * var',
         'bn_param["running_var"] = list(0.9 * running_var + 0.1 * var)'),
    )  # fmt: skip
    outcome = kill_table().outcomes(replaced(mistaken))["batchnorm_forward"]
    assert outcome.known == () and "is a list of" in outcome.summary


@pytest.mark.fast
def test_a_mistake_that_is_not_in_the_bank_is_not_named():
    """Does the grader keep silent about a mistake that it does not know?"""
    mistaken = edited("layers.py", (BN_DX, "dx = dx + dvar * 3 * centred / N + dmean / (N + 1)"))
    outcome = kill_table().outcomes(replaced(mistaken))["batchnorm_backward"]
    assert (outcome.passed, outcome.diagnosis, outcome.known) == (False, "", ())


@pytest.mark.fast
def test_two_mistakes_are_both_named():
    """Are two mistakes in two gradients of one function both named?"""
    mistaken = edited(
        "layers.py",
        ("db = dout.sum(axis=0)", "db = dout.mean(axis=0)"),
        ("dx = (dout @ w.T).reshape(x.shape)", "dx = dout @ w.T"),
    )
    outcome = kill_table().outcomes(replaced(mistaken))["affine_backward"]
    assert set(outcome.known) == {"affine: mean for sum in db", "affine: dx left in rows"}


@pytest.mark.fast
def test_a_name_that_does_not_explain_everything_says_so():
    """Is a student told that there is more, where one of two mistakes has a name?"""
    mistaken = edited(
        "layers.py",
        ("db = dout.sum(axis=0)", "db = dout.mean(axis=0)"),
        ("dx = (dout @ w.T).reshape(x.shape)", "dx = (dout @ w.T).reshape(x.shape) + 1"),
    )
    outcome = kill_table().outcomes(replaced(mistaken))["affine_backward"]
    assert outcome.known == ("affine: mean for sum in db",)
    assert diagnosis.MORE in outcome.diagnosis


@pytest.mark.fast
def test_answers_in_each_others_place_are_said_to_be():
    """Are two gradients that were returned in the wrong order said to be exchanged?"""
    mistaken = edited("layers.py", ("return dx, dgamma, dbeta", "return dx, dbeta, dgamma"))
    outcome = kill_table().outcomes(replaced(mistaken))["batchnorm_backward"]
    assert outcome.known == ()
    assert outcome.summary.startswith("dgamma and dbeta stand in each other's place.")


@pytest.mark.fast
def test_what_is_plain_to_see_is_said_where_no_name_is_known():
    """Is a gradient with the wrong sign, with no name?"""
    mistaken = edited("layers.py", ("return dx, dgamma, dbeta", "return -dx, dgamma, dbeta"))
    outcome = kill_table().outcomes(replaced(mistaken))["batchnorm_backward"]
    assert outcome.known == ()
    assert outcome.summary.startswith("dx has the wrong sign")


@pytest.mark.fast
def test_a_diagnosis_needs_no_second_draw_where_all_is_right():
    """Does a check that passes ask its questions once?"""
    asked = []

    class Counted(InPlace):
        def replies(self, check, cases, parts):
            asked.append(check.name)
            return super().replies(check, cases, parts)

    outcome = judge.run(ALL["affine_backward"], Counted({}), 5, {})
    assert outcome.passed and asked == ["affine_backward"]


# Parts --------------------------------------------------------------------------------------------


@pytest.mark.fast
@pytest.mark.parametrize(
    "check, answer",
    [
        ("softmax_loss", lambda x, y: (np.nan, np.zeros_like(x))),
        ("dropout_forward", lambda x, param: (np.full(x.shape, np.nan), None)),
        ("dropout_forward", lambda x, param: ("out", None)),
        ("dropout_forward", lambda x, param: (x, None)),
        ("dropout_backward", lambda dout, cache: np.nan * dout),
    ],
)
def test_an_answer_that_is_none_is_no_known_mistake(check, answer):
    """Is a mistake that is known by its looks not named for NaN, a text, or the input itself?"""
    outcome = kill_table().outcomes({f"layers:{check}": answer})[check]
    assert not outcome.passed and outcome.known == ()


@pytest.mark.fast
def test_equal_explanations_name_nobody():
    """Is nothing named where two mistakes explain the same?"""
    both = {("case", "dx")}
    assert best({"a": both, "b": set(both)}) == []
    assert best({"a": both, "b": both | {("case", "db")}}) == ["b"]
    assert best({"a": both, "b": {("case", "db")}}) == ["a", "b"]


@pytest.mark.fast
@pytest.mark.parametrize(
    "change, words",
    [
        (lambda a: -a, "has the wrong sign, and is right but for that"),
        (lambda a: 2 * a, "is twice the right answer"),
        (lambda a: a / 5, "is the right answer divided by the length of its axis 0"),
        (lambda a: 0.3 * a, "is the right answer but for a constant factor"),
        (lambda a: a.T, "is the right answer transposed"),
        (lambda a: a.reshape(-1), "holds the right numbers in the wrong shape"),
        (lambda a: 0 * a, "is 0 everywhere"),
        (lambda a: a, ""),
        (lambda a: a.astype(np.float32), ""),
        (lambda a: a + 1, ""),
        (lambda a: a[:3], ""),
        (lambda a: None, ""),
    ],
)
def test_what_is_plain_to_see_has_words(change, words):
    """Is a simple change of the right array said in words, and nothing else?"""
    right = np.random.default_rng(0).normal(size=(5, 7))
    assert in_words(change(right), right) == words


@pytest.mark.fast
def test_plain_words_follow_the_order_of_the_answers():
    """Is an outcome's text the same whatever the order of a set, which differs by process?"""
    right = {name: np.random.default_rng(0).normal(size=4) for name in ("dx", "dw", "db", "dgamma")}
    got = {name: 0.3 * array for name, array in right.items()}
    case = types.SimpleNamespace(edge=False)
    said = diagnosis.Diagnosis(ALL["affine_backward"], ())
    said.failing = [types.SimpleNamespace(case=case, right=right, got=got, failed=frozenset(right),
                                          exchanged=())]  # fmt: skip
    assert [label for label, _ in said.words()] == list(right)


@pytest.mark.fast
def test_a_number_is_not_said_to_be_off_by_a_factor():
    """Is nothing said of a wrong loss, which always is some factor times the right one?"""
    assert in_words(1.7, 2.0) == in_words(0, 2.0) == ""
    assert in_words(4.0, 2.0) == "is twice the right answer"


@pytest.mark.fast
def test_a_wrong_slice_has_words():
    """Is an array that is wrong in one slice alone said to be right but for that?"""
    right = np.random.default_rng(0).normal(size=(3, 2, 6, 6))
    last, border = right.copy(), right.copy()
    last[:, :, -1] += 1
    border[:, :, [0, -1]] += 1
    assert in_words(last, right) == "is right but for the last entry along axis 2"
    assert in_words(np.abs(right), np.abs(right)) == in_words(right, right) == ""
    assert in_words(border, right) == "is right inside each image and wrong along its border"


@pytest.mark.fast
def test_what_stands_in_place_is_taken_away_again():
    """Is the solved package itself again after a misconception stood in it?"""
    from cs231n import layer_utils, layers

    own = layers.affine_forward
    with in_place(BANK["affine: bias left out"].functions):
        assert layers.affine_forward is not own and layer_utils.affine_forward is not own
    assert layers.affine_forward is own and layer_utils.affine_forward is own


@pytest.mark.fast
def test_a_misconception_that_raises_says_nothing():
    """Is a mistake whose own answer is an exception left out of the comparison?"""

    def raises(x):
        raise ValueError("no answer")

    case = Case("rows", [Call("layers:relu_forward", (np.ones(3),), returns=("out",))])
    assert answer(case, table(), {"layers:relu_forward": raises}, {}) is None
