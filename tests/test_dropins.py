"""Solutions of other years, graded on their merits: layout, keywords, shapes, old Python."""

import re
import shutil

import pytest

from grading.grade import grade_submission
from grading.release.submission import import_failures

LAYERS = "cs231n/layers.py"
FC_NET = "cs231n/classifiers/fc_net.py"
RESNET = "cs231n/classifiers/resnet.py"


@pytest.fixture
def dropin(solved, tmp_path):
    """A copy of the solved task files to rewrite as another year would have them."""
    folder = tmp_path / "dropin"
    shutil.copytree(solved / "cs231n", folder / "cs231n")
    for given in ("__init__.py", "fast_layers.py", "solver.py", "classifiers/__init__.py"):
        (folder / "cs231n" / given).unlink()

    def rewrite(path, *changes):
        file = folder / path
        text = file.read_text()
        for old, new in changes:
            assert re.search(old, text), f"{old} is not in {path}"
            text = re.sub(old, new, text)
        file.write_text(text)
        return folder

    rewrite.folder = folder
    return rewrite


def grade(folder, *names):
    return grade_submission(folder, entropy=11, names=names or None, level="process")


def lost(outcomes):
    return {name: found.summary for name, found in outcomes.items() if not found.passed}


def test_package_in_assignment2_without_init_files(dropin):
    """Is a package at assignment2/cs231n, with no __init__.py, found and graded?"""
    inner = dropin.folder / "assignment2"
    inner.mkdir()
    shutil.move(dropin.folder / "cs231n", inner / "cs231n")
    names = ("affine_forward", "FullyConnectedNet", "ThreeLayerConvNet", "sgd_momentum")
    assert not lost(grade(dropin.folder, *names))


def test_relative_and_absolute_imports_and_helpers(dropin):
    """Do a helper module and either kind of import work?"""
    (dropin.folder / "cs231n" / "my_helpers.py").write_text("def twice(x):\n    return 2 * x\n")
    dropin(LAYERS, (r"import numpy as np\n", "import numpy as np\nfrom .my_helpers import twice\n"))
    dropin(
        FC_NET,
        (r"from \.\.layers import .*|from cs231n\.layers import .*", "from cs231n.layers import *"),
    )
    assert not lost(grade(dropin.folder, "affine_forward", "FullyConnectedNet"))


def test_old_imports(dropin):
    """Do past.builtins, builtins and matplotlib in layers.py stand in nobody's way?"""
    imports = (
        "from builtins import range\nfrom past.builtins import xrange\n"
        "import matplotlib.pyplot as plt\nimport numpy as np\n"
    )
    dropin(LAYERS, (r"import numpy as np\n", imports))
    assert not lost(grade(dropin.folder, "affine_forward", "conv_forward_naive"))
    assert import_failures(dropin.folder) == []  # in a notebook, and before it is handed in


@pytest.mark.parametrize(
    "file, line, count, check, hint",
    [
        (LAYERS, "import torch", 4, "affine_forward", "torch is not there for the NumPy exercises"),
        (RESNET, "from torchvision import models", 1, "ResNet18", "torchvision is not there"),
    ],
)
def test_an_import_that_the_grader_has_not_is_told_before_it_is_handed_in(
    dropin, file, line, count, check, hint
):
    """Is a student warned of it, and told what to do, there and in the grade?"""
    dropin(file, (r"\nimport (numpy as np|torch)\n", rf"\nimport \1\n{line}\n"))
    told = import_failures(dropin.folder)
    assert "does not import" in told[0] and len(told) == count
    outcome = grade(dropin.folder, check)[check]
    for text in (told[0], outcome.summary):
        assert hint in text and "remove this import" in text


def test_a_cython_fast_layers_is_replaced_by_ours(dropin):
    """Does our fast_layers stand in for one that wants a Cython build?"""
    fast = dropin.folder / "cs231n" / "fast_layers.py"
    fast.write_text("from .im2col_cython import col2im_cython\n")
    assert not lost(grade(dropin.folder, "ThreeLayerConvNet"))


def test_the_keywords_of_2016(dropin):
    """Is use_batchnorm, with dropout=0 as off, understood?"""
    folder = dropin.folder
    text = (folder / FC_NET).read_text()
    signature = re.search(r"def __init__\(.*?\):\n", text, re.S).group()
    old = signature.replace("dropout_keep_ratio=1", "dropout=0")
    old = old.replace("normalization=None", "use_batchnorm=False")
    assert old != signature
    head, doc, rest = text.partition(signature)[2].split('"""', 2)
    names = (
        "\n        normalization = 'batchnorm' if use_batchnorm else None"
        "\n        dropout_keep_ratio = dropout if dropout else 1\n"
    )
    start = text.partition(signature)[0]
    (folder / FC_NET).write_text(f'{start}{old}{head}"""{doc}"""{names}{rest}')
    names = ("FullyConnectedNet", "FullyConnectedNet_batchnorm", "FullyConnectedNet_dropout")
    assert not lost(grade(folder, *names))


def test_the_keywords_of_2020(dropin):
    """Is dropout, with 1 as off, understood as what is kept?"""
    folder = dropin(FC_NET, (r"dropout_keep_ratio", "dropout"))
    assert not lost(grade(folder, "FullyConnectedNet", "FullyConnectedNet_dropout"))


@pytest.mark.parametrize("shape", ["(-1,)", "(1, -1, 1, 1)"])
def test_shapes_of_group_norms_gamma(dropin, shape):
    """Is a group norm that takes gamma in one shape only, and returns it so, right?"""
    ndim = 1 if shape == "(-1,)" else 4
    more = (
        "\n\n_forward, _backward = spatial_groupnorm_forward, spatial_groupnorm_backward\n\n"
        "def spatial_groupnorm_forward(x, gamma, beta, G, gn_param):\n"
        f"    assert gamma.ndim == {ndim} and beta.ndim == {ndim}\n"
        "    gamma, beta = gamma.reshape(1, -1, 1, 1), beta.reshape(1, -1, 1, 1)\n"
        "    return _forward(x, gamma, beta, G, gn_param)\n\n"
        "def spatial_groupnorm_backward(dout, cache):\n"
        "    dx, dgamma, dbeta = _backward(dout, cache)\n"
        f"    return dx, dgamma.reshape{shape}, dbeta.reshape{shape}\n"
    )
    path = dropin.folder / LAYERS
    path.write_text(path.read_text() + more)
    names = ("spatial_groupnorm_forward", "spatial_groupnorm_backward")
    assert not lost(grade(dropin.folder, *names))


def test_extra_unit_axes(dropin):
    """Are gradients and running statistics of shape (1, D) right?"""
    more = (
        "\n\n_forward, _backward = batchnorm_forward, batchnorm_backward\n\n"
        "def batchnorm_forward(x, gamma, beta, bn_param):\n"
        "    bn_param.update({k: np.ravel(bn_param[k]) for k in ('running_mean', 'running_var')\n"
        "                     if k in bn_param})\n"
        "    out, cache = _forward(x, gamma, beta, bn_param)\n"
        "    bn_param['running_mean'] = bn_param['running_mean'][None]\n"
        "    bn_param['running_var'] = bn_param['running_var'][None]\n"
        "    return out, cache\n\n"
        "def batchnorm_backward(dout, cache):\n"
        "    dx, dgamma, dbeta = _backward(dout, cache)\n"
        "    return dx, dgamma[None], dbeta[None]\n"
    )
    path = dropin.folder / LAYERS
    path.write_text(path.read_text() + more)
    assert not lost(grade(dropin.folder, "batchnorm_forward", "batchnorm_backward"))


def test_a_part_may_be_called_by_name(dropin):
    """Does one mistake cost once where layers are called by keyword, bn_param among them?"""
    dropin(
        LAYERS,
        (r"    dx /= x\.shape\[0\]\n", ""),
        (r"db = dout\.sum\(axis=0\)", "db = dout.mean(axis=0)"),
        (r"np\.sqrt\(var \+ eps\)\n    x_hat", "(np.sqrt(var) + eps)\n    x_hat"),
        (r"\(rows, gamma, beta, bn_param\)", "(rows, gamma, beta, bn_param=bn_param)"),
    )
    dropin(
        FC_NET,
        (r"softmax_loss\(scores, y\)", "softmax_loss(y=y, x=scores)"),
        (r"affine_backward\(dscores, affine\)", "affine_backward(dscores, cache=affine)"),
    )
    wrong = ["affine_backward", "softmax_loss", "batchnorm_forward"]
    found = grade(dropin.folder, *wrong, "FullyConnectedNet", "spatial_batchnorm_forward")
    assert sorted(lost(found)) == sorted(wrong)


def test_inputs_changed_in_place_are_remarked(dropin):
    """Is a change of the input in place a remark and no loss, and does it end with its case?"""
    more = (
        "\n\ndef relu_backward(dout, cache):\n    dout[cache <= 0] = 0\n    return dout\n"
        "\n\ndef relu_forward(x):\n    return np.maximum(x, 0), x\n"
    )
    path = dropin.folder / LAYERS
    path.write_text(path.read_text() + more)
    outcome = grade(dropin.folder, "relu_backward")["relu_backward"]
    assert outcome.passed and "in place" in outcome.remarks[0]


@pytest.mark.parametrize(
    "line, said",
    [
        ("    print 'x'", "print(x)"),
        ("    for i in xrange(3): pass", "range for xrange"),
        ("    np.int(3)", "write int"),
        ("    {}.iteritems()", "items()"),
        ("    np.zeros(3 / 1)", "//"),
        ("    breakpoint()", "BdbQuit. At cs231n"),
        ("    breakpoint()", "remove the breakpoint"),
        ("    input()", "remove the input"),
    ],
)
def test_old_python_is_named_with_its_modern_form(dropin, line, said):
    """Does the message name the line and the modern form?"""
    path = dropin.folder / LAYERS
    path.write_text(path.read_text() + f"\n\ndef relu_forward(x):\n{line}\n    return x, x\n")
    outcome = grade(dropin.folder, "relu_forward")["relu_forward"]
    assert outcome.points == 0.0
    assert said in outcome.summary and "cs231n/layers.py, line" in outcome.summary
    assert "deprecated" not in outcome.summary  # NumPy's own advice, in five lines


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_file_in_another_encoding_is_told_what_to_do(dropin, encoding):
    """Does a file that is not UTF-8 get a sentence with the next step?"""
    path = dropin.folder / LAYERS
    path.write_bytes(f"{path.read_text()}\nNAME = 'ä'\n".encode(encoding))
    outcome = grade(dropin.folder, "relu_forward")["relu_forward"]
    assert outcome.points == 0.0 and "save the file as UTF-8" in outcome.summary


def test_a_file_that_does_not_parse_is_the_place(dropin):
    """Is the line named that does not parse, where another file imports it, and no case?"""
    path = dropin.folder / LAYERS
    path.write_text(path.read_text() + "\n\ndef broken(x:\n")
    found = grade(dropin.folder, "affine_forward", "FullyConnectedNet")
    line = len(path.read_text().splitlines())
    for outcome in found.values():
        assert outcome.summary.startswith("SyntaxError: '(' was never closed. At cs231n/layers.py")
        assert f"line {line}: def broken(x:" in outcome.summary
