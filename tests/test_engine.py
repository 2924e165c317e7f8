"""The engine: from answers to points and sentences, and one mistake that costs once."""

import re
import textwrap
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from cs231n.layers import batchnorm_forward, softmax_loss
from grading import follow, judge
from grading.checks import ALL
from grading.checks.batchnorm import TEST_MODE
from grading.checks.case import Call, Case, Check, Law, OneOf
from grading.checks.fully_connected import LOG_OF_ZERO, ONE_MAXIMUM
from grading.checks.tolerance import compare
from grading.misconceptions import BANK
from grading.misconceptions.kill import InPlace
from grading.outcome import Finding, Outcome
from grading.overlay import ROOT, solved_tree, submission_tree
from grading.report import html, rows, text
from grading.sealed import sandbox
from grading.session import check as check_here
from grading.subject import Submission
from grading.sweep import draw, in_words, sweep

BY_CODE = [check for check in ALL.values() if not check.procedure]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The checks' arrays are small: more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def outcomes(subject, entropy, names=None):
    found = {}
    for check in BY_CODE:
        if names is None or check.name in names:
            found[check.name] = judge.run(check, subject, entropy, found)
    return found


def held(tree, **limits):
    """A child on a tree; without a limit on memory, since some checks import torch."""
    bound = sandbox.torch_limits(replace(sandbox.Limits(), **limits))
    return Submission(tree, bound, "process", tree)


def judged(function, answer, check="affine_backward", entropy=7):
    """The outcome of a check where `function` of the layers answers with `answer(*args)`."""
    return judge.run(ALL[check], InPlace({f"layers:{function}": answer}), entropy, {})


# Whole submissions --------------------------------------------------------------------------------


@pytest.mark.parametrize("entropy", range(100, 120))
def test_the_solved_package_gets_every_point(entropy):
    """Does the solved package get all 80 points of the code, whatever is drawn?"""
    found = outcomes(InPlace({}), entropy)
    assert {n: o.summary for n, o in found.items() if o.summary != judge.ALL_HOLD} == {}
    assert sum(o.points for o in found.values()) == 80
    assert not any(o.diagnosis for o in found.values())


def test_the_solved_package_gets_every_point_in_a_child(solved):
    """Does it get them on the other side of the wall too?"""
    with held(solved) as subject:
        found = outcomes(subject, 3)
    assert sum(o.points for o in found.values()) == 80


def test_what_is_not_written_gets_nothing():
    """Do the stubs get 0 points, and a sentence that says where the work is?"""
    with held(ROOT) as subject:
        found = outcomes(subject, 3)
    assert sum(o.points for o in found.values()) == 0
    assert all(o.summary.startswith("Not written yet") for o in found.values())
    assert not any(o.diagnosis for o in found.values())


def test_an_empty_submission_gets_nothing(tmp_path):
    """Does a student who handed in nothing get 0 points, without an error?"""
    (tmp_path / "submission").mkdir()
    submission_tree(tmp_path / "submission", tmp_path / "tree")
    with held(tmp_path / "tree") as subject:
        found = outcomes(subject, 3)
    assert sum(o.points for o in found.values()) == 0


@pytest.mark.fast
def test_the_same_entropy_gives_the_same_outcome():
    """Is an outcome a function of the code and the entropy alone?"""
    functions = BANK["batch norm: epsilon outside the root"].functions
    names = ["batchnorm_forward", "batchnorm_backward"]
    first, second = (outcomes(InPlace(functions), 11, names) for _ in range(2))
    for name in names:
        assert replace(first[name], seconds=0) == replace(second[name], seconds=0)
    other = outcomes(InPlace(functions), 12, names)
    assert other["batchnorm_forward"].findings != first["batchnorm_forward"].findings


def test_a_loop_that_is_too_slow_costs_its_check_alone(tmp_path):
    """Is a loop that does not end given up, said to be so, and the next check asked anew?"""
    tree = solved_tree(tmp_path / "tree") or tmp_path / "tree"
    layers = tree / "cs231n" / "layers.py"
    slow = layers.read_text(encoding="utf-8") + textwrap.dedent("""

        def conv_forward_naive(x, w, b, conv_param):
            while True:
                pass
        """)
    layers.write_text(slow, encoding="utf-8")
    with held(tree, case_seconds=0.1) as subject:
        found = outcomes(subject, 5, ["conv_forward_naive", "max_pool_forward_naive"])
    assert found["conv_forward_naive"].points == 0
    assert "no answer within" in found["conv_forward_naive"].summary
    assert found["conv_forward_naive"].known == (judge.TOO_SLOW,)
    assert found["max_pool_forward_naive"].passed


@pytest.mark.fast
def test_a_report_fits_a_terminal():
    """Is no line of a report longer than the terminal, with nothing lost in breaking them?"""
    for name, known in list(BANK.items())[::9]:
        outcome = outcomes(InPlace(known.functions), 4, [known.fails[0]])[known.fails[0]]
        plain, broken = text(outcome), text(outcome, width=79)
        assert max(map(len, broken.splitlines())) < 80, name
        assert broken.split() == plain.split()
        painted = text(outcome, color=True, width=79)
        assert re.sub(r"\x1b\[\d+m", "", painted).split() == plain.split()


@pytest.mark.fast
def test_a_loop_without_an_end_is_given_up_in_a_notebook_too():
    """Does a cell come back from such a loop, though it catches every Exception?"""

    def forever(x):
        while True:
            try:
                time.sleep(10)
            except Exception:
                continue

    subject = InPlace({"layers:relu_forward": forever})
    subject.limits = replace(subject.limits, case_seconds=0.1)
    start = time.monotonic()
    found = outcomes(subject, 5, ["relu_forward", "affine_forward"])
    assert time.monotonic() - start < 5
    assert found["relu_forward"].known == (judge.TOO_SLOW,)
    assert found["relu_forward"].points == 0 and found["affine_forward"].passed


# Points -------------------------------------------------------------------------------------------


def _check(points=4.0):
    return Check("made up", points, "BatchNorm", ("made_up",), lambda rng: [])


def _findings(cases, failed):
    return [Finding("out", case.label, case.label not in failed, case.edge) for case in cases]


@pytest.mark.fast
@pytest.mark.parametrize(
    "failed, points",
    [
        ((), 4.0),
        (("core 1",), 2.0),
        (("core 1", "core 2"), 0.0),
        (("edge 1",), 3.4),  # 15 % of four
        (("edge 1", "edge 2"), 2.8),
        (("core 1", "edge 1"), 1.7),
    ],
)
def test_core_cases_earn_and_edges_take_a_little(failed, points):
    """Do core cases share the points, and edges take 15 % of what was earned each?"""
    cases = [Case(f"core {i}", []) for i in (1, 2)]
    cases += [Case(f"edge {i}", [], edge=True) for i in (1, 2)]
    assert judge.points(_check(), cases, _findings(cases, failed)) == points


@pytest.mark.fast
def test_edges_together_take_at_most_two_fifths():
    """Does a solution that fails at every edge keep 60 % of its points?"""
    cases = [Case("core", [])] + [Case(f"edge {i}", [], edge=True) for i in range(6)]
    failed = [case.label for case in cases if case.edge]
    assert judge.points(_check(10.0), cases, _findings(cases, failed)) == 6.0


@pytest.mark.fast
def test_weights_share_a_case():
    """Does an answer that weighs three times as much earn three times as much?"""
    case = Case("core", [], want={"a": 0, "b": 0}, weights={"a": 3.0})
    findings = [Finding("a", "core", True), Finding("b", "core", False)]
    assert judge.points(_check(), [case], findings) == 3.0


@pytest.mark.fast
def test_a_mistake_at_an_edge_is_said_to_be_one():
    """Does a student who is right on the usual inputs read that first?"""
    found = outcomes(InPlace(BANK["softmax: no shift"].functions), 5, ["softmax_loss"])
    outcome = found["softmax_loss"]
    assert 0.6 * outcome.max_points <= outcome.points < outcome.max_points
    assert "Right on the usual inputs, not at an edge." in outcome.summary


# Remarks ------------------------------------------------------------------------------------------


@pytest.mark.fast
def test_either_place_of_epsilon_is_right_and_remarked():
    """Are both forms of an update rule right, with a remark on which one it is?"""
    want = OneOf({"epsilon outside the root": np.ones(3), "epsilon inside the root": np.zeros(3)})
    place = {"dtype": "float64", "gradient": False, "case": "", "edge": False}
    finding, remark = compare("next_w", np.zeros(3), want, **place)
    assert finding.passed and remark == "epsilon inside the root"
    finding, remark = compare("next_w", np.full(3, 5.0), want, **place)
    assert not finding.passed and remark == ""


@pytest.mark.fast
def test_no_remark_where_both_forms_agree():
    """Is nothing remarked where the two forms cannot be told apart?"""
    want = OneOf({"one": np.ones(3), "other": np.ones(3)})
    place = {"dtype": "float64", "gradient": False, "case": "", "edge": False}
    assert compare("next_w", np.ones(3), want, **place)[1] == ""


@pytest.mark.fast
@pytest.mark.parametrize("epsilon, remarks", [(1e-8, 1), (0, 0)])
def test_no_form_is_remarked_of_what_is_none_of_them(epsilon, remarks):
    """Is nothing said of where epsilon stands to who has none?"""
    def rmsprop(w, dw, config):
        decay = config.setdefault("decay_rate", 0.99)
        cache = config.get("cache", np.zeros_like(w))
        config["cache"] = cache = decay * cache + (1 - decay) * dw**2
        return w - config["learning_rate"] * dw / np.sqrt(cache + epsilon), config

    outcome = outcomes(InPlace({"optim:rmsprop": rmsprop}), 4, ["rmsprop"])["rmsprop"]
    assert outcome.passed == (remarks == 1) and len(outcome.remarks) == remarks


@pytest.mark.fast
def test_an_input_changed_in_place_is_remarked_and_costs_nothing():
    """Does a backward that writes into dout keep its points, and is it told?"""

    def backward(dout, cache):
        dout *= cache > 0
        return dout

    outcome = judged("relu_backward", backward, check="relu_backward")
    assert outcome.passed
    assert outcome.remarks == ("relu_backward changes its input in place: work on a copy.",)


def _momentum_in_place(w, dw, config):
    config.setdefault("momentum", 0.9)
    v = config.setdefault("velocity", np.zeros_like(w))
    v *= config["momentum"]
    v -= (config["learning_rate"] * dw).astype(w.dtype)
    return w + v, config


def _affine_in_place(x, w, b):
    x.shape = len(x), -1
    return x @ w + b, (x, w, b)


def _batchnorm_in_place(x, gamma, beta, bn_param, right=batchnorm_forward):
    given = {key: bn_param[key] for key in ("running_mean", "running_var") if key in bn_param}
    answer = right(x, gamma, beta, bn_param)
    for key, array in given.items():
        array[:] = bn_param[key]
        bn_param[key] = array
    return answer


@pytest.mark.fast
@pytest.mark.parametrize(
    "module, name, function",
    [
        ("optim", "sgd_momentum", _momentum_in_place),
        ("layers", "affine_forward", _affine_in_place),
        ("layers", "batchnorm_forward", _batchnorm_in_place),
    ],
)
def test_arrays_in_a_dictionary_and_shapes_are_inputs_too(module, name, function):
    """Is it remarked, and not said that all holds, where one of them is changed in place?"""
    outcome = outcomes(InPlace({f"{module}:{name}": function}), 4, [name])[name]
    assert outcome.points == outcome.max_points
    assert outcome.remarks == (f"{name} changes its input in place: work on a copy.",)
    assert outcome.summary == "Right, with a remark."


def _log_of_quotient(x, y):
    p = np.exp(x - x.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        loss = -np.log(p[range(len(y)), y]).mean()
    return loss, (p - np.eye(x.shape[1], dtype=x.dtype)[y]) / len(y)


def _one_maximum(x, y):
    s = x - x.max()
    with np.errstate(all="ignore"):
        log_p = s - np.log(np.exp(s).sum(axis=1, keepdims=True))
    dx = np.exp(log_p)
    dx[range(len(y)), y] -= 1
    return -log_p[range(len(y)), y].mean(), dx / len(y)


@pytest.mark.fast
@pytest.mark.parametrize(
    "function, remarks",
    [
        (_log_of_quotient, (LOG_OF_ZERO,)),
        (_one_maximum, (ONE_MAXIMUM,)),
        (softmax_loss, ()),
    ],
)
def test_a_loss_that_is_not_finite_is_remarked_and_costs_nothing(function, remarks):
    """Is each usual form told of the scores that it has no loss for, and only of those?"""
    outcome = judged("softmax_loss", function, check="softmax_loss")
    assert (outcome.points, outcome.remarks) == (2, remarks)
    assert outcome.summary == ("Right, with a remark." if remarks else judge.ALL_HOLD)
    assert "scores far apart" not in {finding.case for finding in outcome.findings}


@pytest.mark.fast
@pytest.mark.parametrize("wrong", ["no mode", "no cache", "nothing"])
def test_a_backward_of_batch_norm_in_training_alone_is_remarked(wrong):
    """Does who knows no test mode keep the points, with a cache or without, and is it told?"""

    def forward(x, gamma, beta, bn_param):
        out, (centred, std, x_hat, gamma, mode) = batchnorm_forward(x, gamma, beta, bn_param)
        mode = mode if wrong == "nothing" else "train"
        test = wrong == "no cache" and bn_param["mode"] == "test"
        return out, None if test else (centred, std, x_hat, gamma, mode)

    outcome = judged("batchnorm_forward", forward, check="batchnorm_backward")
    assert outcome.points == 4
    assert outcome.remarks == (() if wrong == "nothing" else (TEST_MODE,))


@pytest.mark.fast
def test_a_remark_names_a_function_of_the_student():
    """Is dropout_forward named where a tool of the grader's called it?"""
    from cs231n import layers

    right = layers.dropout_forward

    def forward(x, param):
        out, cache = right(x, param)
        x *= out / np.where(x == 0, 1, x)
        return x, cache

    names = ["FullyConnectedNet_dropout"]
    outcome = outcomes(InPlace({"layers:dropout_forward": forward}), 4, names)[names[0]]
    assert outcome.remarks == ("dropout_forward changes its input in place: work on a copy.",)


@pytest.mark.fast
def test_a_gradient_that_is_not_there_is_said_to_be_missing():
    """Does a network with dropout that leaves gamma out of grads read that, and not of a None?"""
    from cs231n.classifiers.fc_net import FullyConnectedNet

    class WithoutGamma(FullyConnectedNet):
        def loss(self, X, y=None):
            loss = super().loss(X, y)
            if y is not None:
                loss[1].pop("gamma1", None)
            return loss

    names = ["FullyConnectedNet_dropout"]
    network = {"classifiers.fc_net:FullyConnectedNet": WithoutGamma}
    assert "grads has no 'gamma1'" in outcomes(InPlace(network), 4, names)[names[0]].summary


# Follow-through -----------------------------------------------------------------------------------


def test_a_backward_that_is_right_for_its_own_forward_keeps_its_points():
    """Does epsilon outside the root cost the forward alone, in layer, sandwich and network?"""
    found = outcomes(InPlace(BANK["batch norm: epsilon outside the root"].functions), 21)
    assert {name for name, o in found.items() if not o.passed} == {"batchnorm_forward"}
    backward = found["batchnorm_backward"]
    assert backward.summary == "Right for your own forward."
    assert backward.remarks[-1].startswith("Judged against your own forward")


def test_a_wrong_layer_costs_no_point_in_the_networks_that_use_it():
    """Are the networks judged with a right layer where the student's own is wrong?"""
    found = outcomes(InPlace(BANK["affine: mean for sum in db"].functions), 21)
    assert {name for name, o in found.items() if not o.passed} == {"affine_backward"}
    assert found["FullyConnectedNet"].remarks == (
        "Judged with the course's affine_backward in place of yours, which does not pass yet.",
    )


@pytest.mark.fast
def test_the_documented_gradient_of_an_unbiased_forward_keeps_its_points():
    """Does a variance by N - 1 cost the forward alone, where the backward is the docstring's?"""
    def forward(x, gamma, beta, bn_param):
        keep, now = bn_param.get("momentum", 0.9), (x.mean(axis=0), x.var(axis=0, ddof=1))
        if bn_param["mode"] == "train":
            for key, value in zip(("running_mean", "running_var"), now, strict=True):
                bn_param[key] = keep * bn_param.get(key, 0 * value) + (1 - keep) * value
        else:
            now = bn_param["running_mean"], bn_param["running_var"]
        std = np.sqrt(now[1] + bn_param.get("eps", 1e-5)).astype(x.dtype)
        hat = (x - now[0]) / std
        return gamma * hat + beta, (hat, std, gamma)

    def backward(dout, cache):
        hat, std, gamma = cache
        dbeta, dgamma = dout.sum(axis=0), (dout * hat).sum(axis=0)
        return gamma / std * (dout - dbeta / len(hat) - hat * dgamma / len(hat)), dgamma, dbeta

    names = ["batchnorm_forward", "batchnorm_backward"]
    made = {f"layers:{name}": f for name, f in zip(names, (forward, backward), strict=True)}
    found = outcomes(InPlace(made), 4, names)
    assert found[names[0]].known == ("batch norm: unbiased variance",)
    assert found[names[1]].points == 4
    made["layers:batchnorm_backward"] = lambda dout, cache: backward(1.1 * dout, cache)
    assert outcomes(InPlace(made), 4, names)[names[1]].points < 4


@pytest.mark.fast
def test_a_wrong_block_costs_no_point_in_the_network_that_is_made_of_it():
    """Is a ReLU that the block lacks charged once, and a mistake of the network's own as well?"""
    missing = BANK["residual block: no ReLU at the end"].functions
    found = outcomes(InPlace(missing), 4, ["BasicBlock", "ResNet18"])
    assert found["BasicBlock"].points < 1 and found["ResNet18"].points == 2
    assert found["ResNet18"].summary == "Right for your own BasicBlock."
    alone = {**missing, f"{RESNET}:ResNet18": lambda *sizes, **more: torch.nn.Flatten()}
    assert outcomes(InPlace(alone), 4, ["BasicBlock", "ResNet18"])["ResNet18"].points == 0


@pytest.mark.fast
def test_a_mistake_in_l2_is_an_edge_of_dropout():
    """Does a penalty without its half, charged in the plain network, leave dropout its points?"""
    functions = BANK["network: L2 without the half"].functions
    outcome = outcomes(InPlace(functions), 21, ["FullyConnectedNet_dropout"])
    assert 1.7 <= outcome["FullyConnectedNet_dropout"].points < 2


def test_a_forward_that_is_far_off_earns_its_backward_nothing():
    """Is half of a layer, with half of its gradient, none, although the two agree?"""
    from cs231n import layers

    right_forward, right_backward = layers.batchnorm_forward, layers.batchnorm_backward

    def forward(*args):
        out, cache = right_forward(*args)
        return 0.5 * out, cache

    half = {
        "layers:batchnorm_forward": forward,
        "layers:batchnorm_backward": lambda dout, cache: right_backward(0.5 * dout, cache),
    }
    found = outcomes(InPlace(half), 21, ["batchnorm_forward", "batchnorm_backward"])
    assert found["batchnorm_backward"].points == 0
    assert "Error" not in found["batchnorm_backward"].summary


@pytest.mark.fast
def test_a_forward_in_steps_earns_its_backward_nothing():
    """Is a zero no gradient, although it is that of a forward which rounds its input?"""
    steps = {
        "layers:affine_forward": lambda x, w, b: (
            np.round(x, 2).reshape(len(x), -1) @ np.round(w, 2) + np.round(b, 2), (x, w, b)
        ),
        "layers:affine_backward": lambda dout, cache: tuple(np.zeros_like(a) for a in cache),
    }
    found = outcomes(InPlace(steps), 21, ["affine_forward", "affine_backward"])
    assert found["affine_backward"].points == 0


@pytest.mark.parametrize("right_in_single", [True, False])
def test_a_forward_that_is_wrong_at_edges_forgives_no_float32(right_in_single):
    """Does a gradient in float32 that is wrong by itself cost its share, where the forward is
    wrong for an unusual eps alone?"""
    from cs231n import layers

    right_forward, right_backward = layers.batchnorm_forward, layers.batchnorm_backward

    def forward(x, gamma, beta, bn_param):
        usual = {key: value for key, value in bn_param.items() if key != "eps"}
        out = right_forward(x, gamma, beta, usual)
        bn_param.update(usual)
        return out

    def backward(dout, cache):
        dx, dgamma, dbeta = right_backward(dout, cache)
        wrong = dout.dtype == np.float32 and not right_in_single
        return (1.01 if wrong else 1) * dx, dgamma, dbeta

    made = {"layers:batchnorm_forward": forward, "layers:batchnorm_backward": backward}
    found = outcomes(InPlace(made), 21, ["batchnorm_forward", "batchnorm_backward"])
    assert found["batchnorm_forward"].points < 4
    assert (found["batchnorm_backward"].points == 4) == right_in_single
    assert any("your own forward" in r for r in found["batchnorm_backward"].remarks)


@pytest.mark.fast
def test_where_the_forward_is_right_nothing_is_forgiven():
    """Does a wrong gradient stay wrong whose forward is wrong elsewhere, and lies about itself?"""
    from cs231n import layers

    right_forward, right_backward = layers.batchnorm_forward, layers.batchnorm_backward
    asked = []

    def forward(x, gamma, beta, bn_param):
        out, cache = right_forward(x, gamma, beta, bn_param)
        if bn_param["mode"] == "test":
            return out + 0.01, cache
        for at, right, dout, dx in asked:
            if x.shape == at.shape and 0 < abs(x - at).max() < 1e-3:
                missing = np.sum(dx * (x - at)) - np.sum(dout * (out - right))
                out = out + missing * dout / np.sum(dout**2)
        return out, (x.copy(), out.copy(), cache)

    def backward(dout, cache):
        x, out, cache = cache
        dx, dgamma, dbeta = right_backward(dout, cache)
        asked.append((x, out, dout, 1.3 * dx))
        return 1.3 * dx, dgamma, dbeta

    liar = {"layers:batchnorm_forward": forward, "layers:batchnorm_backward": backward}
    names = ["batchnorm_forward", "batchnorm_backward"]
    found = outcomes(InPlace(liar), 21, names)
    assert 0 < found["batchnorm_forward"].points < ALL["batchnorm_forward"].points
    assert "forward" not in found["batchnorm_backward"].summary
    gradients = [f for f in found["batchnorm_backward"].findings if f.label == "dx"]
    assert gradients and not any(finding.passed for finding in gradients)


@pytest.mark.fast
def test_follow_through_asks_in_the_form_that_counted():
    """Does a group norm that takes gamma (C,) alone keep the points of its own backward?"""
    from cs231n import layers

    right_forward = layers.spatial_groupnorm_forward
    right_backward = layers.spatial_groupnorm_backward

    def forward(x, gamma, beta, G, gn_param):
        if gamma.ndim != 1:
            return np.zeros(1), None
        return right_forward(x, gamma, beta, G, {**gn_param, "eps": 2e-3})

    def backward(dout, cache):
        dx, dgamma, dbeta = right_backward(dout, cache)
        return dx, dgamma.reshape(-1), dbeta.reshape(-1)

    group = {"layers:spatial_groupnorm_forward": forward,
             "layers:spatial_groupnorm_backward": backward}  # fmt: skip
    names = ["spatial_groupnorm_forward", "spatial_groupnorm_backward"]
    found = outcomes(InPlace(group), 21, names)
    assert not found[names[0]].passed and found[names[1]].passed


@pytest.mark.fast
def test_a_network_may_change_the_list_of_its_layers():
    """Has each question a list of its own in the notebook's process too?"""
    from cs231n.classifiers import fc_net
    from grading.sealed import worker

    sizes = [3, 4]
    filled = worker._fill({"hidden_dims": sizes}, {})
    filled["hidden_dims"].append(5)
    assert sizes == [3, 4] and fc_net.FullyConnectedNet(sizes).num_layers == 3


@pytest.mark.fast
def test_a_wrong_backward_of_a_wrong_forward_is_not_forgiven():
    """Does a backward that is wrong for its own forward too lose its points?"""
    functions = dict(BANK["batch norm: epsilon outside the root"].functions)
    right = functions["layers:batchnorm_backward"]
    functions["layers:batchnorm_backward"] = lambda dout, cache: right(1.5 * dout, cache)
    found = outcomes(InPlace(functions), 21, ["batchnorm_forward", "batchnorm_backward"])
    assert found["batchnorm_backward"].points < 4


@pytest.mark.fast
def test_what_is_left_after_follow_through_is_what_is_said():
    """Does the summary name a property that still fails, and none that was forgiven?"""
    functions = dict(BANK["batch norm: epsilon outside the root"].functions)
    right = functions["layers:batchnorm_backward"]

    def backward(dout, cache):
        dx, dgamma, dbeta = right(dout, cache)
        return dx, dgamma, 1.5 * dbeta

    functions["layers:batchnorm_backward"] = backward
    found = outcomes(InPlace(functions), 21, ["batchnorm_forward", "batchnorm_backward"])
    assert "training: every entry of dbeta is wrong" in found["batchnorm_backward"].summary


# PyTorch ------------------------------------------------------------------------------------------

NETS, RESNET = "classifiers.pytorch_nets", "classifiers.resnet"


@pytest.mark.fast
@pytest.mark.parametrize("lazy", [False, True])
def test_a_module_may_make_its_layers_in_any_order(lazy):
    """Is ConvNetModule right whatever stands first in __init__, with lazy layers too?"""
    from cs231n.classifiers.pytorch_nets import ConvNetModule

    class Other(ConvNetModule):
        def __init__(self, channels, C1, C2, classes):
            torch.nn.Module.__init__(self)
            self.fc = torch.nn.LazyLinear(classes) if lazy else torch.nn.Linear(C2 * 1024, classes)
            conv = torch.nn.LazyConv2d if lazy else partial(torch.nn.Conv2d, C1)
            self.conv2 = conv(C2, 3, padding=1)
            self.conv1 = torch.nn.Conv2d(channels, C1, 5, padding=2)

    outcome = outcomes(InPlace({f"{NETS}:ConvNetModule": Other}), 4, ["ConvNetModule"])
    assert outcome["ConvNetModule"].passed


@pytest.mark.fast
@pytest.mark.parametrize("name", ["convnet_functional", "ConvNetModule", "convnet_sequential"])
def test_a_network_whose_weights_get_no_gradient_loses_points(name):
    """Is right scores not enough where no convolution can be trained, in each style?"""
    from cs231n.classifiers.pytorch_nets import ConvNetModule, convnet_functional

    def functional(x, params):
        return convnet_functional(x, [*(p.detach() for p in params[:4]), *params[4:]])

    class Detached(ConvNetModule):
        def forward(self, x):
            hidden = self.conv2(self.conv1(x).relu()).relu().detach()
            return self.fc(hidden.flatten(1))

    made = functional if name == "convnet_functional" else lambda *sizes: Detached(*sizes)
    outcome = outcomes(InPlace({f"{NETS}:{name}": made}), 4, [name])[name]
    assert outcome.points == pytest.approx(2 / 3, abs=1e-3)
    assert outcome.known == ("three styles: cut from the graph",)


@pytest.mark.fast
def test_what_a_network_lacks_is_said_from_its_own_side():
    """Is a sequence that is too short told so, and a block whose shortcut has another name?"""
    from cs231n.classifiers.resnet import BasicBlock

    class Renamed(BasicBlock):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.downsample, self.shortcut = self.shortcut, None

        def forward(self, x):
            raise ValueError("no shortcut")

    def short(channels, C1, C2, classes):
        return torch.nn.Sequential(torch.nn.Conv2d(channels, C1, 5), torch.nn.Flatten())

    made = {f"{NETS}:convnet_sequential": short, f"{RESNET}:BasicBlock": Renamed}
    found = outcomes(InPlace(made), 4, ["convnet_sequential", "BasicBlock"])
    said = "only 0.weight, 0.bias are registered as parameters of the network, 4 too few."
    assert said in found["convnet_sequential"].summary
    block = found["BasicBlock"]
    said = [f.message for f in block.findings if f.case.startswith("stride 2") and f.label == "out"]
    assert "Renamed has downsample.0.weight" in said[0]
    assert "and lacks shortcut.0.weight" in said[0]
    named = [f for f in block.findings if f.label == "names and shapes"]
    assert [f.passed for f in named] == [True, False, False, False]  # though the rest raised


@pytest.mark.fast
def test_layers_in_a_plain_list_are_said_to_be_the_reason():
    """Is nn.ModuleList named where layers are in a plain list, and what is there told apart?"""
    from cs231n.classifiers.pytorch_nets import ConvNetModule

    class Listed(ConvNetModule):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.layers = [self.conv1]
            del self.conv1

    class More(ConvNetModule):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.norm = torch.nn.BatchNorm2d(sizes[1])

    few, many = (
        outcomes(InPlace({f"{NETS}:ConvNetModule": made}), 4, ["ConvNetModule"])["ConvNetModule"]
        for made in (Listed, More)
    )
    assert "only conv2.weight, conv2.bias, fc.weight, fc.bias are registered" in few.summary
    assert "2 too few; layers in a plain list, self.layers, are not: nn.ModuleList" in few.summary
    assert "has 8 parameters, 2 too many: conv1.weight" in many.summary


@pytest.mark.fast
def test_a_resnet_may_pool_by_a_window_of_four():
    """Is the form of the net that is for 32 x 32 images alone right?"""
    from cs231n.classifiers.resnet import ResNet18

    class Pooled(ResNet18):
        def forward(self, x):
            out = torch.relu(self.bn1(self.conv1(x)))
            out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
            return self.fc(torch.nn.functional.avg_pool2d(out, 4).flatten(1))

    assert outcomes(InPlace({f"{RESNET}:ResNet18": Pooled}), 4, ["ResNet18"])["ResNet18"].passed


# Bad answers --------------------------------------------------------------------------------------


def _grads(dout, cache):
    x, w = cache
    return np.zeros_like(x), np.zeros_like(w), np.zeros(w.shape[1])


BAD = {
    "None": (lambda dout, cache: None, "returned None (is a return missing?)"),
    "too few": (
        lambda dout, cache: _grads(dout, cache)[:2], "3 values (dx, dw, db); it returned 2"
    ),
    "one array": (lambda dout, cache: dout, "it returned one array of shape"),
    "a None inside": (
        lambda dout, cache: (*_grads(dout, cache)[:2], None), "db is None; it must be an array"
    ),
    "a list": (
        lambda dout, cache: (*_grads(dout, cache)[:2], [0.0, 1.0]),
        "db is a list of 2; it must be an array of float64 of shape",
    ),
    "a text": (
        lambda dout, cache: (*_grads(dout, cache)[:2], "db"), "db is a str; it must be an array"
    ),
    "complex numbers": (
        lambda dout, cache: (*_grads(dout, cache)[:2], np.zeros(dout.shape[1], complex)),
        "db is an array of complex numbers",
    ),
    "objects": (
        lambda dout, cache: (*_grads(dout, cache)[:2], np.full(dout.shape[1], None)),
        "db is an array of objects",
    ),
    "wrong shape": (
        lambda dout, cache: (*_grads(dout, cache)[:2], np.zeros(99)),
        "db has shape (99,); it must have shape",
    ),
    "NaN": (
        lambda dout, cache: (*_grads(dout, cache)[:2], np.full(dout.shape[1], np.nan)),
        "; it must be finite float64",
    ),
    "whole numbers": (
        lambda dout, cache: (*_grads(dout, cache)[:2], np.zeros(dout.shape[1], int)),
        "db is int64, whole numbers alone; it must be float64",
    ),
    "a function": (
        lambda dout, cache: (*_grads(dout, cache)[:2], print), "it must be an array of float64"
    ),
    "an input": (
        lambda dout, cache: (cache[0][:, :], *_grads(dout, cache)[1:]),
        "dx equals one of the inputs, entry for entry; it must be an array of float64",
    ),
    "an exception": (lambda dout, cache: dout @ dout, "ValueError: matmul"),
    "the program's end": (lambda dout, cache: exit(3), "SystemExit: 3"),
}  # fmt: skip


@pytest.mark.fast
@pytest.mark.parametrize("answer, sentence", BAD.values(), ids=BAD)
def test_each_bad_answer_has_a_sentence_of_its_own(answer, sentence):
    """Is what was expected, and what came, said in words for every kind of bad answer?"""
    outcome = judged("affine_backward", answer)
    assert not outcome.passed
    assert any(sentence in finding.message for finding in outcome.findings), outcome.findings[:3]
    assert sentence in text(outcome) and outcome.points < 2


@pytest.mark.fast
@pytest.mark.parametrize("dtype, other", [("float64", "float32"), ("float32", "float64")])
def test_right_numbers_in_another_dtype_are_said_to_be_that(dtype, other):
    """Is the dtype named where it is all that is wrong, and no entry called wrong?"""
    right = np.abs(np.random.default_rng(0).normal(size=(3, 2, 5, 5))).astype(dtype)
    place = {"gradient": False, "case": "", "edge": False}
    finding, _ = compare("out", right.astype(other), right, dtype=dtype, **place)
    assert finding.message == (
        f"out has the right numbers, in {other}; {dtype} goes in, so {dtype} must come out"
    )


@pytest.mark.fast
def test_a_wrong_count_is_told_with_the_right_one():
    """Is a wrong t said to be wrong, and not to be of a wrong type?"""
    place = {"dtype": "float64", "gradient": False, "case": "", "edge": False}
    finding, _ = compare("config['t']", 8, np.array(7), **place)
    assert finding.message == "config['t'] is 8; it must be 7"
    assert compare("loss", 8, np.array(7.5), **place)[0].message == "loss is wrong"


@pytest.mark.fast
def test_a_second_batch_may_have_another_size():
    """Is a layer norm noticed that leaves running statistics of its examples in ln_param?"""
    from cs231n import layers

    def forward(x, gamma, beta, ln_param):
        ln_param.setdefault("mode", "train")
        hat, _ = layers.batchnorm_forward(x.T, np.ones(len(x)), np.zeros(len(x)), ln_param)
        return (gamma * hat.T + beta).astype(x.dtype), None

    outcome = judged("layernorm_forward", forward, check="layernorm_forward")
    assert [f.case for f in outcome.findings if not f.passed] == ["a second batch of another size"]


@pytest.mark.fast
def test_what_is_not_written_is_named_by_its_stub():
    """Is a forward that is not written the one to write, and an exception of one's own no stub?"""
    def stub(*_):
        raise NotImplementedError("relu_forward: not written yet. Write it in cs231n/layers.py; "
                                  "notebooks/Other.ipynb explains it.")

    def own(x):
        raise NotImplementedError("only rows yet")

    outcome = judged("relu_forward", stub, check="relu_backward")
    assert outcome.summary == "Not written yet (relu_forward); see notebooks/Other.ipynb."
    said = judged("relu_forward", own, check="relu_forward").summary
    assert said == "rows: NotImplementedError: only rows yet."


@pytest.mark.fast
def test_a_view_of_the_input_is_an_answer_like_another():
    """May a function return a view of what it was given?"""
    outcome = judged("relu_backward", lambda dout, x: dout.T.T, check="relu_backward")
    assert outcome.known == ("ReLU: no gate, or one on the output",)


@pytest.mark.fast
def test_a_law_that_cannot_be_asked_is_broken():
    """Is a law that trips over the kind of an answer broken, and the grader not?"""
    law = Law("sum", lambda answers: "" if answers["out"].sum() == 0 else "no")
    case = Case("rows", [Call("layers:relu_forward")], laws=[law])
    reply = {"answers": {"out": "text"}, "changed": [], "error": None}
    (finding,), _ = judge.judge_case(case, reply)
    assert finding.message == "sum: the answer is not of the kind that was asked for"


# Outcomes and reports -----------------------------------------------------------------------------


@pytest.mark.fast
def test_an_outcome_can_be_stored_and_read_back():
    """Does an outcome with a diagnosis survive as JSON?"""
    outcome = judged("relu_backward", lambda dout, x: dout, check="relu_backward")
    assert outcome.diagnosis and Outcome.from_json(outcome.to_json()) == outcome


@pytest.mark.fast
def test_an_outcome_of_before_there_were_diagnoses_can_be_read():
    """Is a stored outcome without the newer fields still an outcome?"""
    stored = '{"check": "c", "points": 1.0, "max_points": 1.0, "summary": "s", "findings": []}'
    assert Outcome.from_json(stored).diagnosis == ""


@pytest.mark.fast
def test_the_diagnosis_comes_first_in_every_report():
    """Is the idea behind the mistake the first thing to read, in text and in HTML?"""
    outcome = judged("relu_backward", lambda dout, x: dout, check="relu_backward")
    said = BANK["ReLU: no gate, or one on the output"].says
    assert outcome.summary.startswith(said)
    assert said in text(outcome).splitlines()[0]
    page = html(outcome)
    assert page.index("does not depend on it") < page.index("<table")
    assert '<a href="FullyConnectedNets.ipynb#ReLU%2C-backward">ReLU, backward</a>' in page


@pytest.mark.fast
def test_a_chart_shows_where_an_array_is_wrong():
    """Is there a small map of the wrong entries where some are right, and none where all are?"""
    right, wrong = np.ones((2, 3, 4)), np.ones((2, 3, 4))
    wrong[1, 2] = 2
    place = {"dtype": "float64", "gradient": False, "case": "", "edge": False}
    finding, _ = compare("dx", wrong, right, **place)
    assert finding.chart == ("....", "....", "8888")
    assert compare("dx", 2 * right, right, **place)[0].chart == ()
    outcome = Outcome("c", 0.0, 1.0, "s", (finding,))
    assert "8888" in text(outcome)
    assert "wrong in row 2 of 0 to 2, every column" in html(outcome)


@pytest.mark.fast
def test_the_sweep_shows_truncation_and_rounding():
    """Is the numeric gradient best at a middle step, and worse at a large and at a tiny one?"""
    found = dict(sweep(ALL["batchnorm_backward"], InPlace({}), 5))
    best = min(found.values())
    assert best < 1e-7 and found[1e-1] > 1e3 * best and found[1e-12] > 1e3 * best
    assert sweep(ALL["batchnorm_forward"], InPlace({}), 5) == []


@pytest.mark.fast
def test_check_returns_points_and_plots_when_asked(monkeypatch, capsys):
    """Does `check` print a report, return a plain float, and draw the sweep only when asked?"""
    shown = []
    monkeypatch.setattr("grading.sweep.draw", lambda check, found: shown.append(len(found)))
    assert check_here("relu_backward", entropy=3) == 1.0 and shown == []
    assert check_here("relu_backward", entropy=3, plot=True) == 1.0 and shown == [12]
    assert "relu_backward: 1 of 1 points. All properties hold." in capsys.readouterr().out


@pytest.mark.fast
@pytest.mark.parametrize("least, word", [(1e-9, "closest to yours at h = 1e-05"), (0.1, "is not")])
def test_a_sweep_is_said_in_words(least, word):
    """Is the picture said in a sentence, for a right gradient and for a wrong one?"""
    assert word in in_words([(1e-2, 0.5), (1e-5, least), (1e-9, 0.4)])


@pytest.mark.fast
def test_what_says_the_same_is_said_once():
    """Does a report have a row a case for what holds, and one for each thing that is wrong?"""
    good = [Finding(n, c, True, error=0.0, tolerance=1.0) for c in "ab" for n in ("dx", "dw")]
    assert [(row.properties, row.cases) for row in rows(good)] == [("dx, dw", "a"), ("dx, dw", "b")]
    shares = {"a": "20% of the entries of dx are", "b": "every entry of dx is", "c": "a few entries"
              " of dx are"}  # fmt: skip
    bad = [Finding("dx", c, False, message=f"{s} wrong", error=1.0, tolerance=0.1)
           for c, s in shares.items()]  # fmt: skip
    raised = [Finding(n, "d", False, True, "IndexError: 3") for n in ("dx", "dw")]
    found = rows([*good, *bad, *raised])
    assert [(row.properties, row.cases) for row in found[:2]] == [
        ("dx", "a; b; c"), ("dx, dw", "d (edge)")
    ]  # fmt: skip
    for shown in (text, html):
        assert shown(Outcome("c", 0.0, 1.0, "s", tuple([*bad, *raised]))).count("IndexError") == 1


@pytest.mark.fast
def test_an_error_of_the_grader_is_said_to_be_one(monkeypatch, capsys):
    """Is a student not blamed where the grader itself raises?"""
    def broken(*_):
        raise KeyError("the grader's own")

    monkeypatch.setattr(judge, "run", broken)
    assert check_here("relu_forward", entropy=3) == 0.0
    assert "an error of the grader, not of yours" in capsys.readouterr().out


@pytest.mark.fast
def test_a_gradient_followed_through_is_not_said_to_be_within_the_tolerance():
    """Does a tick that stands for 'right for your forward' say so, and give no false figures?"""
    passed = Finding("dx", "a", True, message="right for your forward", error=1.0, tolerance=0.1)
    assert rows([passed])[0].figures == "right for your forward"


@pytest.mark.fast
def test_a_sweep_that_cannot_be_is_said_to_be_none(capsys):
    """Is a check without a gradient told from one with a picture?"""
    draw(ALL["adam"], [])
    assert capsys.readouterr().out == "adam has no gradient whose steps could be plotted.\n"


@pytest.mark.fast
@pytest.mark.parametrize("name", ["batchnorm_backward", "layernorm_backward", "adam"])
def test_a_diagnosis_is_quick(name):
    """Does a failing check of a norm or an update rule name its mistake within a second?"""
    known = next(k for k in BANK.values() if k.fails == (name,))
    outcome = outcomes(InPlace(known.functions), 4, [name])[name]
    assert outcome.known == (known.name,) and outcome.seconds < 1


def test_what_is_wrong_of_a_forward_opens_only_that():
    """Is a gradient judged by the student's forward only where its output is wrong?"""
    found = [
        Finding("out", "usual", passed=True),
        Finding("running_var", "usual", passed=False),
        Finding("out", "one row", passed=False, edge=True),
    ]
    outcome = Outcome("batchnorm_forward", 3.0, 4.0, "", tuple(found))
    assert follow.where_wrong(replace(outcome, findings=tuple(found[:2]))) == set()
    assert follow.where_wrong(outcome) == {True}
    wrong = replace(found[0], passed=False)
    assert follow.where_wrong(replace(outcome, findings=(wrong, *found[1:]))) == {False, True}
