"""The wall: a student's code in a child, within limits, whatever it does."""

import importlib.util
import io
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from needed import SEALED, SEALS
from test_wire import VALUES

from grading import classroom, doctor, judge, parts, subject
from grading.checks import ALL
from grading.checks.dropout import mask_problem
from grading.grade import grade_submission
from grading.sealed import isolation, sandbox, wire
from grading.sealed.sandbox import Limits

LEVELS = ["process"] + (["sealed"] if SEALS else [])
QUICK = Limits(case_seconds=2.0)
NAMES = ["affine_forward", "relu_forward", "sgd_momentum"]
IMPORT = "import numpy as np\n"


@pytest.fixture(params=LEVELS)
def level(request):
    return request.param


@pytest.fixture
def grade(solved, tmp_path, level):
    """Grades the solved tree with `code` put at the top of layers.py, or in a function."""

    def graded(code="", inside="", names=NAMES, at=level, at_end="", **options):
        folder = tmp_path / "submission"
        shutil.copytree(solved, folder, dirs_exist_ok=True)
        path = folder / "cs231n" / "layers.py"
        text = path.read_text().replace(IMPORT, IMPORT + code, 1)
        if inside:
            head, body = text.split("def relu_forward(x):", 1)
            doc, rest = body.split('"""', 2)[1:]
            text = f'{head}def relu_forward(x):\n    """{doc}"""\n    {inside}\n{rest}'
        path.write_text(text + at_end)
        options.setdefault("limits", QUICK)
        return grade_submission(folder, entropy=7, level=at, names=names, **options)

    return graded


def test_a_machine_with_bubblewrap_seals():
    """Does this machine offer what the tests below are about?"""
    if shutil.which("bwrap") is None:
        pytest.fail(f"bubblewrap is missing: {isolation.INSTALL}")
    assert isolation.level().name in ("sealed", "process")
    assert isolation.level().reason


def test_honest_code_earns_all_points(grade, level):
    """Does the wall cost honest code nothing, and is the level in the outcome?"""
    outcomes = grade()
    assert all(outcome.passed for outcome in outcomes.values())
    assert {outcome.level for outcome in outcomes.values()} == {level}


def test_an_endless_loop_costs_its_own_check(grade):
    """Does a loop without end lose its check, by its deadline, and no other?"""
    start = time.monotonic()
    outcomes = grade(inside="while True: pass")
    assert [outcomes[name].points for name in NAMES] == [1.0, 0.0, 1.0]
    assert "2 seconds" in outcomes["relu_forward"].summary
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    "inside, said",
    [
        ("import os; os._exit(3)", "exit status 3"),
        ("import os; os._exit(-1)", "exit status 255"),
        ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("import os; os.kill(os.getpid(), 35)", "35"),  # a signal without a name
        ("import sys; sys.exit(0)", "SystemExit"),
        ("raise MemoryError", "MemoryError"),
        ("return bytearray(10 << 30)", "MemoryError"),
    ],
)
def test_a_child_that_ends_costs_its_own_check(grade, inside, said):
    """Is a crash, an exit or too much memory told in words, the next check untouched?"""
    outcomes = grade(inside=inside)
    assert [outcomes[name].points for name in NAMES] == [1.0, 0.0, 1.0]
    assert said in outcomes["relu_forward"].summary


def test_a_module_that_hangs_is_waited_for_once(grade):
    """Does a layers.py that never finishes importing cost one deadline, not one a check?"""
    start = time.monotonic()
    names = ["affine_forward", "affine_backward", "relu_forward", "relu_backward", "sgd_momentum"]
    outcomes = grade(code="while True: pass\n", names=names)
    assert [outcomes[name].points for name in names] == [0, 0, 0, 0, 1.0]
    assert time.monotonic() - start < 4 * QUICK.case_seconds + 6


def test_output_is_kept_apart_from_answers(grade):
    """Can what a student prints, at any length and on any descriptor, disturb an answer?"""
    code = "import os, sys\nprint('A' * 100_000)\nos.write(1, b'c231' * 1000)\n"
    outcomes = grade(code=code, inside="print('hello'); sys.stderr.write('there')")
    assert all(outcome.passed for outcome in outcomes.values())


def test_a_forged_reply_is_no_answer_to_the_question(grade):
    """Does a frame written to every descriptor in place of an answer earn anything?

    All numbers: a process of tests that has many files open gives the answers a high one.
    """
    code = (
        "import os\n"
        "from json import dumps\n"
        "tree = dumps({'d': [['task', {'i': '999'}], ['case', {'i': '0'}]]}).encode()\n"
        "frame = b'c231' + len(tree).to_bytes(4, 'little') + bytes(8) + tree\n"
        "for descriptor in range(3, 4096):\n"
        "    try:\n"
        "        os.write(descriptor, frame)\n"
        "    except OSError:\n"
        "        pass\n"
    )
    outcomes = grade(code=code)
    assert outcomes["affine_forward"].points == 0.0
    assert outcomes["sgd_momentum"].points == 1.0


def test_numpy_checks_run_where_torch_cannot_be_found(grade):
    """Is torch, which could differentiate for the student, out of reach of numpy checks?"""
    outcomes = grade(inside="import torch")
    assert "torch" in outcomes["relu_forward"].summary
    assert outcomes["relu_forward"].points == 0.0


@SEALED
@pytest.mark.parametrize("level", ["sealed"])
def test_forks_are_bounded(grade, level):
    """Do 400 forks end at the limit, with the other checks still graded?"""
    code = (
        "import os, time\n"
        "def many():\n"
        "    for number in range(400):\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(60)\n"
    )
    outcomes = grade(code=code, inside="many()")
    assert "BlockingIOError" in outcomes["relu_forward"].summary
    assert outcomes["sgd_momentum"].points == 1.0


@SEALED
@pytest.mark.parametrize("level", ["sealed"])
@pytest.mark.parametrize(
    "inside, said",
    [
        ("open('/usr/x', 'w')", "Read-only file system"),
        ("open(__file__, 'w')", "Read-only file system"),
        ("open('/dev/shm/x', 'w')", "Read-only file system"),
        ("import os; os.setuid(0)", "Invalid argument"),
        ("import os; os.listdir('/home')", "No such file"),
        ("import socket; socket.create_connection(('127.0.0.1', 22), 1)", "refused"),
        ("import socket; socket.create_connection(('192.0.2.1', 80), 1)", "unreachable"),
        ("open('big', 'wb').write(bytes(40 << 20))", "File too large"),
        ("import grading", "No module named 'grading"),
    ],
)
def test_what_is_sealed_cannot_be_reached(grade, level, inside, said):
    """Is each way out of the sealed child closed, and told in words?"""
    outcome = grade(inside=inside)["relu_forward"]
    assert outcome.points == 0.0 and said in outcome.summary


@SEALED
@pytest.mark.parametrize("level", ["sealed"])
def test_nothing_outlives_its_grading(grade, level, tmp_path):
    """Is a daemon gone when its submission has been graded?"""
    mark = f"outlive-{tmp_path.name}-{os.getpid()}"
    code = (
        "import os, sys\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        f"        sleep = 'import time; time.sleep(99)  # {mark}'\n"
        "        os.execv(sys.executable, ['python', '-c', sleep])\n"
        "    os._exit(0)\n"
    )
    grade(code=code)
    time.sleep(0.2)
    commands = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                commands.append(file.read().decode(errors="replace"))
        except OSError:
            continue
    assert not [command for command in commands if mark in command]


def test_control_groups_are_taken_away():
    """Is no control group left behind, with or without a process in it?"""
    group = isolation.ControlGroup(1 << 30, 16)
    folders = list(group.folders)
    group.remove()
    assert not [folder for folder in folders if folder.exists()]


@pytest.mark.skipif(
    not os.access("/sys/fs/cgroup/cpu/cgroup.procs", os.W_OK), reason="no such control group here"
)
@pytest.mark.parametrize("form", ["warm", "cold"])
def test_each_child_has_one_share_of_the_processors(solved, monkeypatch, form):
    """Is a child in a group of its own, so that 60 processes of it starve no other child?"""
    if form == "cold":
        monkeypatch.setattr(sandbox.warm, "fork", lambda *_: None)
    level = isolation.level().name
    with sandbox.Child(solved, QUICK, level) as child:
        groups = Path("/proc", str(child.process.pid), "cgroup").read_text().splitlines()
        assert [g for g in groups if ":cpu" in g and f"/{isolation.GROUP}-{os.getpid()}-" in g]
    child.close()  # once more: nothing happens


def test_groups_of_a_killed_grader_are_taken_away():
    """Does the next grader remove what one that was killed has left, and who is still in it?"""
    code = (
        "import os, subprocess, sys\n"
        "from grading.sealed import isolation\n"
        "group = isolation.ControlGroup(1 << 30, 16)\n"
        "quiet = {'stdout': -3, 'stderr': -3}\n"
        "subprocess.Popen([*group.enter(), 'sleep', '60'], **quiet)\n"
        "print(*group.folders, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    left = [Path(folder) for folder in done.stdout.split()]
    for _ in range(50):
        isolation.ControlGroup(1 << 30, 16).remove()
        if not any(folder.exists() for folder in left):
            break
        time.sleep(0.1)
    assert not [folder for folder in left if folder.exists()]


def test_limits_for_torch_lift_the_address_space():
    """Does torch, which reserves far more than it uses, get no limit of address space?"""
    assert sandbox.torch_limits(QUICK).address_space == -1
    assert sandbox.torch_limits(QUICK).memory > QUICK.memory


def test_nothing_below_sealed_unless_it_is_said(monkeypatch):
    """Is a level that this machine does not offer refused, and a lower one taken only by name?"""
    monkeypatch.setattr(isolation, "level", lambda: isolation.Level("process", "no bubblewrap"))
    with pytest.raises(isolation.LevelError, match="LEVEL=process"):
        isolation.chosen()
    with pytest.raises(isolation.LevelError):
        isolation.chosen("sealed")
    assert isolation.chosen("process") == "process"
    with pytest.raises(ValueError, match="none"):
        isolation.chosen("none")


def test_a_class_is_not_graded_below_sealed(monkeypatch, tmp_path, capsys):
    """Does a class run stop before its first submission, and say what to do?"""
    monkeypatch.delenv("LEVEL", raising=False)
    monkeypatch.setattr(isolation, "level", lambda: isolation.Level("process", "no bubblewrap"))
    assert classroom.grade(tmp_path) == 1
    assert "LEVEL=process" in capsys.readouterr().err


@pytest.mark.parametrize(
    "found", [("none", False), ("process", False), ("process", True), ("sealed", True)]
)
def test_the_doctor_knows_what_is_next(found):
    """Is there advice for every level but the best?"""
    name, installed = found
    assert bool(doctor.advice(isolation.Level(name, ""), installed)) == (name != "sealed")


def test_an_imported_loop_and_a_hung_function_are_waited_for_once(grade):
    """Does a function that never returns cost one deadline, not one for each check?"""
    names = ["affine_forward", "relu_forward", "relu_backward", "FullyConnectedNet"]
    start = time.monotonic()
    outcomes = grade(inside="while True: pass", names=names)
    assert time.monotonic() - start < 2 * QUICK.case_seconds + 12
    assert outcomes["relu_forward"].points == outcomes["relu_backward"].points == 0.0
    assert outcomes["FullyConnectedNet"].passed  # with a right relu in the place of theirs


def test_a_check_has_a_deadline_of_its_own(grade):
    """Does a function that is slow, but not too slow, in each case end at the check's deadline?"""
    slow = Limits(case_seconds=2.0, check_seconds=1.0)
    outcomes = grade(inside="import time; time.sleep(0.6)", limits=slow)
    assert outcomes["relu_forward"].points < 1.0
    (seconds,) = re.findall(r"no answer within (\S+) seconds", outcomes["relu_forward"].summary)
    assert float(seconds) < 1.0  # what was left, and not what a case may take
    assert outcomes["relu_forward"].evidence == ("gave no answer before the deadline",)
    assert outcomes["sgd_momentum"].points == 1.0


@pytest.mark.parametrize("at", LEVELS)
def test_a_child_that_is_not_ready_in_time_is_lost(at):
    """Is it told as such, with the seconds that it had to start?"""
    with (
        pytest.raises(sandbox.ChildLost, match="no answer within 0 seconds"),
        sandbox.Child({"cs231n/a.py": b""}, Limits(start_seconds=0.0), at),
    ):
        pass


def test_what_was_tried_is_noted(grade):
    """Are files, processes and the network noted in words, for the check that it was in?"""
    inside = (
        "import socket, subprocess\n"
        "    tries = [lambda: open('/etc/x/y', 'w'), lambda: subprocess.run(['/no/program'])]\n"
        "    for tried in [*tries, lambda: socket.socket().connect(('127.0.0.1', 1))]:\n"
        "        try:\n"
        "            tried()\n"
        "        except OSError:\n"
        "            pass"
    )
    outcomes = grade(inside=inside)
    noticed = "\n".join(outcomes["relu_forward"].evidence)
    assert "opened /etc/x/y for writing" in noticed
    assert "used the network" in noticed and "started the program" in noticed
    assert outcomes["affine_forward"].evidence == outcomes["sgd_momentum"].evidence == ()


def test_memory_is_seen_without_control_groups(grade, monkeypatch):
    """Is a child that takes too much ended where no control group would?"""
    monkeypatch.setattr(isolation.ControlGroup, "_make", lambda *_: None)
    inside = "import time; held = b'x' * (150 << 20); time.sleep(1.0)"
    outcomes = grade(inside=inside, limits=Limits(case_seconds=5.0, memory=100 << 20))
    assert "killed" in outcomes["relu_forward"].summary
    assert outcomes["sgd_momentum"].points == 1.0


def test_a_family_is_found_and_its_threads_are_counted():
    """Are a process's children among those whose memory is added, and is it about right?"""
    code = "held = b'x' * (50 << 20); import time; print('up', flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    with child:
        child.stdout.readline()
        found = isolation.family(os.getpid())
        child.kill()
    assert os.getpid() in found and 50 << 20 < found[child.pid] < 150 << 20
    assert isolation.family(child.pid) == {}


def test_other_programs_of_the_user_are_not_the_students(monkeypatch, solved):
    """Does the limit on processes, which counts them all without a wall, leave room for them?"""
    monkeypatch.setattr(isolation, "own_threads", lambda: 1000)
    numbers = [
        sandbox.Child._numbers(SimpleNamespace(limits=Limits(), scratch=scratch))[-1]
        for scratch in (None, "scratch")
    ]
    assert numbers == [64, 1064]


def test_a_child_that_cannot_be_started_leaves_nothing(solved, monkeypatch, tmp_path):
    """Are its lines closed and its folders removed?"""

    def fail(*_, **__):
        raise BlockingIOError("no process is to be had")

    monkeypatch.setattr(sandbox, "Session", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc") else []
    for _ in range(3):
        with pytest.raises(BlockingIOError):
            sandbox.Child({"cs231n/a.py": b""}, QUICK, "process")
    assert not before or len(os.listdir("/proc/self/fd")) == len(before)
    assert list(tmp_path.iterdir()) == []


ODD = (
    VALUES
    | st.builds(wire.Handle, st.text(max_size=5))
    | st.builds(wire.Opaque, st.text(max_size=5))
    | st.integers()
)


@given(st.data())
def test_any_answer_can_be_judged(data):
    """Is an answer of whatever kind and shape judged, or refused, with no exception?"""
    name = data.draw(st.sampled_from(["relu_forward", "adam", "softmax_loss", "dropout_forward"]))
    case = data.draw(st.sampled_from(judge.draw(ALL[name], 3)))
    labels = [*case.want, "out", "first", "second", "config"]
    answers = data.draw(st.dictionaries(st.sampled_from(labels), ODD))
    answers["config"] = data.draw(ODD | st.just(answers))
    try:
        reply = subject.checked(wire_and_back({"answers": answers, "error": data.draw(ODD)}))
    except wire.WireError:
        return
    findings, _ = judge.judge_case(case, {**reply, "error": None})
    assert not any(finding.passed for finding in findings if finding.label in case.want)


def test_no_answer_is_spread_out_over_its_question(solved):
    """Does the judge take no more memory for an answer whose unit axes would broadcast?"""
    long = np.ones((600_000, 1, 1), dtype=np.uint8)

    def replies(check, cases, parts):
        for case in cases:
            names = {name for call in case.calls for name in (*call.returns, *call.echo)}
            yield {**subject.lost(""), "error": None, "answers": dict.fromkeys(names, long)}

    liar = SimpleNamespace(level="sealed", folder=solved, replies=replies)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 30), before[1]))
    try:
        for check in ALL.values():
            if not check.procedure:
                assert judge.run(check, liar, 7, {}).points == 0.0
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def wire_and_back(value):
    return wire.read(io.BytesIO(wire.encode(value)).read)


@given(st.data())
def test_no_question_for_a_right_layer_hurts_the_parent(data):
    """Is a call of a right layer with any arguments answered, or refused in words?"""
    name = data.draw(st.sampled_from([*parts.FORWARD, "softmax_loss", "relu_backward"]))
    settings = st.dictionaries(st.sampled_from(["stride", "pad", "mode", "eps", "p"]), ODD)
    args = data.draw(st.lists(ODD | settings, max_size=5))
    answer = parts.Parts().answer(name, args, {})
    assert set(answer) in ({"value", "args"}, {"error"})


@pytest.mark.parametrize(
    "name, shapes, setting",
    [
        ("affine_forward", [(500_000, 1), (1, 500_000), (500_000,)], None),
        ("batchnorm_forward", [(900, 1), (900, 900), (1,)], {"mode": "train"}),
        ("batchnorm_forward", [(2, 3, 4, 5), (3,), (3,)], {"mode": "train"}),
        ("conv_forward_naive", [(1, 1, 4, 4), (1, 1, 3, 3), (1,)], {"stride": 1, "pad": 50_000}),
        ("max_pool_forward_naive", [(1, 1, 900, 900)],
         {"pool_height": 800, "pool_width": 800, "stride": 1}),
        ("relu_forward", [(2_000_000,)], None),
        ("dropout_forward", [(999_000,)], {"mode": "train", "p": np.full((600, 1), 0.5)}),
        ("batchnorm_forward", [(1, 999_000), (1,), (1,)],
         {"mode": "train", "momentum": np.ones((600, 1))}),
        ("layernorm_forward", [(1, 9_000), (1,), (1,)], {"eps": np.ones((600, 1))}),
        ("relu_forward", [(1,)], {"x": np.zeros(1_000_000)}),
    ],
)  # fmt: skip
def test_a_right_layer_is_not_a_bomb(name, shapes, setting):
    """Is more data than the course's own cases have refused before anything is computed?"""
    args = [np.zeros(shape) for shape in shapes] + ([setting] if setting else [])
    assert "must be called with" in parts.Parts().answer(name, args, {})["error"]


def test_every_part_of_a_check_is_served():
    """Is there a right layer for each that a check may be judged with?"""
    for check in ALL.values():
        for name in check.parts:
            if name.endswith("_forward"):
                assert name in parts.FORWARD, f"{check.name} is built on {name}"


@pytest.mark.parametrize("shape", [(6,), (1, 6, 1, 1)])
def test_a_right_group_norm_is_served(shape):
    """Is it that of the definition, forward and backward, in either form of gamma?"""
    rng = np.random.default_rng(0)
    x, gamma, beta = rng.normal(size=(2, 6, 3, 4)), rng.normal(size=shape), rng.normal(size=shape)
    server = parts.Parts()
    out, cache = server.call("spatial_groupnorm_forward", x, gamma, beta, 2, {})
    dx, dgamma, dbeta = server.call("spatial_groupnorm_backward", np.ones_like(x), cache)
    rows = x.reshape(2, 2, -1)
    normal = (rows - rows.mean(2, keepdims=True)) / np.sqrt(rows.var(2, keepdims=True) + 1e-5)
    normal = normal.reshape(x.shape)
    right = normal * gamma.reshape(1, 6, 1, 1) + beta.reshape(1, 6, 1, 1)
    np.testing.assert_allclose(out, right, atol=1e-12)
    assert dx.shape == x.shape and dgamma.shape == dbeta.shape == shape
    np.testing.assert_allclose(dgamma.ravel(), normal.sum((0, 2, 3)), atol=1e-12)


def test_right_layers_do_not_pile_up():
    """Is what a child makes the parent remember bounded?"""
    server = parts.Parts()
    answers = [server.answer("relu_forward", [np.zeros(900_000)], {}) for _ in range(25)]
    assert "value" in answers[0] and "error" in answers[-1]


NUMERIC = """

from cs231n.gradient_check import eval_numerical_gradient_array


def relu_backward(dout, cache):
    return eval_numerical_gradient_array(lambda x: relu_forward(x)[0], np.array(cache), dout)
"""


def test_the_gradient_check_is_no_backward(grade):
    """Does a backward by the course's own differences earn nothing, and say why?"""
    outcome = grade(at_end=NUMERIC, names=["relu_forward", "relu_backward"])["relu_backward"]
    assert outcome.points == 0 and "not for code that is graded" in outcome.summary


def test_a_part_is_not_the_exercise_itself(grade):
    """Does a spatial batch norm that only calls a wrong batch norm stay without points?"""
    code = (
        "\n\ndef batchnorm_forward(x, gamma, beta, bn_param):\n"
        "    return x * 0, x\n"
        "\n\ndef spatial_batchnorm_forward(x, gamma, beta, bn_param):\n"
        "    return batchnorm_forward(x, gamma, beta, bn_param)\n"
    )
    names = ["batchnorm_forward", "spatial_batchnorm_forward"]
    outcomes = grade(at_end=code, names=names)
    assert outcomes["spatial_batchnorm_forward"].points == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_mask_with_nan_is_no_mask(bad):
    """Is NaN, of which nothing is ever larger, told from a right mask?"""
    x = np.ones((50, 60))
    mask = np.where(np.random.default_rng(0).random(x.shape) < 0.5, 2.0, 0.0)
    assert not mask_problem(mask, x, 0.5)
    assert mask_problem(np.where(mask > 0, bad, 0.0), x, 0.5)
    mask[0, 0] = bad
    assert mask_problem(mask, x, 0.5)


@SEALED
def test_a_course_that_shares_no_folder_with_tmp(monkeypatch):
    """Does the seal hold where nothing of the course or the interpreter lives in /tmp?"""
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    try:
        shutil.copytree(isolation.HERE, folder / "sealed")
        isolation.readable_by_all(folder)
        spec = importlib.util.spec_from_file_location("there", folder / "sealed" / "isolation.py")
        monkeypatch.setitem(sys.modules, "there", there := importlib.util.module_from_spec(spec))
        spec.loader.exec_module(there)
        monkeypatch.setattr(there, "_torch_folders", list)
        command = there.seal(folder, torch=False)
        assert not any(word.startswith("/tmp/") for word in command)
        done = subprocess.run([*command, "/bin/true"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        shutil.rmtree(folder)


@SEALED
def test_a_course_in_a_folder_that_is_shown(monkeypatch):
    """Are the masters of a course in /usr/local, or below an environment, out of sight?"""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    try:
        grading = folder / "course" / "grading"
        shutil.copytree(isolation.HERE, grading / "sealed")
        (grading / "solutions").mkdir()
        isolation.readable_by_all(folder)
        spec = importlib.util.spec_from_file_location("there", grading / "sealed" / "isolation.py")
        monkeypatch.setitem(sys.modules, "there", there := importlib.util.module_from_spec(spec))
        spec.loader.exec_module(there)
        monkeypatch.setattr(sys, "prefix", str(folder))
        for tree in (None, grading / "sealed"):
            command = [*there.seal(tree, torch=False), "/bin/ls", str(grading)]
            done = subprocess.run(command, capture_output=True, text=True)
            assert (done.stdout.split(), done.stderr) == (["sealed"], "")
    finally:
        shutil.rmtree(folder)


def test_a_course_that_only_its_owner_may_read(solved, tmp_path):
    """Is a course unpacked under umask 077 graded as well as any, at the same level?"""
    for name in ("grading", "cs231n", "datasets"):
        leave = shutil.ignore_patterns("__pycache__", "solutions", "*-py", "synthetic")
        shutil.copytree(isolation.HERE.parents[1] / name, tmp_path / name, ignore=leave)
    shutil.copytree(isolation.HERE.parent / "solutions", tmp_path / "grading" / "solutions")
    for path in tmp_path.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    command = [sys.executable, "-m", "grading", "--folder", str(solved), "affine_forward"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "1 of 1 points" in done.stdout
    assert f"level {isolation.level().name}" in done.stdout
