"""Code that has taken over a runner reaches nothing."""

import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from billiard.util import get_pdeathsig, set_pdeathsig
from torch import nn

from fl_server_ai.failures import RunnerDied
from fl_server_ai.inference.runner import cage
from fl_server_ai.inference.runner.cage import calls, privileges
from fl_server_ai.inference.runner.launcher import ROOT, Launcher, try_cage
from fl_server_ai.inference.runner.pool import Pool
from tests.ai.inference.runner import intruder
from tests.ai.inference.runner.conftest import Written, ask, loading, soon, terms
from tests.waiting import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the cage")
TEXT = Path(intruder.__file__).read_text().partition("if __name__")[0]


@pytest.fixture
def inside(save, predicting):
    """Evaluate an expression of the intruder's in a runner that must be caged."""
    launcher = Launcher(terms(cage_must_hold=True))
    pool = Pool(launcher, idle=2)

    def call(expression):
        source = f"""{TEXT}
import torch
class Intruder(torch.nn.Module):
    def forward(self, x):
        return torch.tensor([list(json.dumps({expression}).encode())])
made = Intruder()
"""
        with pool.runner(expression) as runner:
            runner.do(loading(save(Written(source))), soon())
            told = ask(runner, predicting([[1.0]], samples=1))["inference"]
        return json.loads(bytes(told.to(torch.uint8).flatten().tolist()))

    yield call
    pool.close()
    launcher.close()


@pytest.fixture
def targets(tmp_path, launcher, save):
    """What there is to reach, all of it within reach of this process."""
    secret, library = tmp_path / "secret_key", tmp_path / "library.so"
    for path in (secret, library):
        path.write_text("secret")
    abstract = f"\0fl-test-{os.getpid()}"
    pool = Pool(launcher, idle=1)
    with (
        socket.create_server(("127.0.0.1", 0)) as web,
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX) as nameless,
        subprocess.Popen(["sleep", "100"]) as victim,
        pool.runner("other") as other,
    ):
        listener.bind(str(tmp_path / "socket"))
        nameless.bind(abstract)
        for server in (listener, nameless):
            server.listen()
        other.do(loading(save(nn.Identity(), "others")), soon())
        yield {
            "secret": str(secret),
            "folder": str(tmp_path),
            "library": str(library),
            "port": web.getsockname()[1],
            "listener": str(tmp_path / "socket"),
            "abstract": abstract,
            "victim": victim.pid,
            "parent": os.getpid(),
            "runner": other.pid,
        }
        victim.kill()
    pool.close()


def reached(attempts):
    return [f"{name}: {how}" for name, how in attempts.items() if how.startswith("reached")]


def test_an_intruder_reaches_nothing(inside, targets):
    attempts = inside(f"try_all({targets!r})")
    assert len(attempts) > 40
    assert reached(attempts) == []


def test_without_a_cage_the_same_reaches_most(targets):
    command = [sys.executable, intruder.__file__, json.dumps(targets)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    attempts = json.loads(done.stdout)
    # A container, or a user that isn't root, may be refused some.
    assert len(reached(attempts)) > 30, attempts


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are x86-64's")
def test_an_intruder_finds_no_other_way_into_the_kernel(inside):
    attempts = inside("try_kernel()")
    assert attempts.keys() == intruder.KERNEL.keys()
    assert reached(attempts) == []


def test_an_intruder_finds_open_what_its_job_needs_alone(inside):
    is_open = "not _try(lambda: os.fstat(n)).startswith('reached, ')"
    kinds = inside(f"[os.fstat(n).st_mode >> 12 for n in range(1024) if {is_open}]")
    assert kinds.count(0o14) == 1  # the socket to the worker
    assert kinds.count(0o1) == 0  # pipes
    assert len(kinds) < 10


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the code is x86-64's")
@pytest.mark.parametrize("threads", [0, 1])
def test_calls_of_the_32_bit_kind_end_the_process(inside, threads):
    machine_code = "mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7)"
    getpid = "b'\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3'"  # mov eax, 20; int 0x80; ret
    address = "ctypes.addressof(ctypes.c_char.from_buffer(code))"
    idle = "__import__('threading').Thread(target=lambda: __import__('time').sleep(3600)).start()"
    with pytest.raises(RunnerDied):
        inside(
            f"[*[{idle} for _ in range({threads})], code := {machine_code}, code.write({getpid}), "
            f"ctypes.CFUNCTYPE(ctypes.c_int)({address})()][0]"
        )


def test_threads_are_caged_as_well(inside):
    thread = "__import__('threading').Thread(target=lambda: found.append(_try(fork)))"
    assert inside(f"[found := [], t := {thread}, t.start(), t.join()][0]") == [
        "[Errno 1] Operation not permitted"
    ]


def in_child(function):
    """Return what a function returns in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, json.dumps(function()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    os.waitpid(child, 0)
    return json.loads(text)


def test_root_becomes_nobody_where_nobody_can_read_the_libraries(monkeypatch):
    monkeypatch.setattr(privileges, "LIBRARIES", [Path("/usr/lib"), Path("/etc/passwd")])

    def become():
        set_pdeathsig(signal.SIGKILL)
        privileges.hold(False)
        status = dict(re.findall(r"(\w+):\t(.*)", Path("/proc/self/status").read_text()))
        return [os.getresuid(), status["CapPrm"], status["CapEff"], get_pdeathsig()]

    user = os.getuid() or privileges.NOBODY
    assert in_child(become) == [[user] * 3, "0" * 16, "0" * 16, signal.SIGKILL]


def test_root_stays_but_powerless_where_it_alone_can_read_them(monkeypatch, tmp_path):
    tmp_path.chmod(0o700)
    monkeypatch.setattr(privileges, "LIBRARIES", [tmp_path])

    def stay():
        privileges.hold(False)
        return [
            os.getuid(),
            re.findall(r"Cap...:\t(.*)", Path("/proc/self/status").read_text())[1:3],
        ]

    assert in_child(stay) == [os.getuid(), ["0" * 16] * 2]


def test_all_layers_hold_here():
    report = try_cage("cpu")
    assert report.holds, report
    assert report.held.keys() == cage.LAYERS.keys()


def test_a_process_with_threads_is_not_caged_in_part():
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    report = cage.enter(gpu=False)
    end.set()
    thread.join()
    assert report.held == {}


@pytest.mark.parametrize("name", sorted(cage.MINIMUM))
def test_the_cage_holds_with_no_less_than_its_minimum(name):
    assert not cage.Report(held={other: "" for other in cage.LAYERS if other != name}).holds


@pytest.mark.parametrize("gpu", [True, False])
def test_the_filter_can_be_made_for_arm_too(gpu):
    pyseccomp = calls.pyseccomp
    made = pyseccomp.SyscallFilter(pyseccomp.KILL)
    made.add_arch(pyseccomp.Arch.AARCH64)
    made.remove_arch(pyseccomp.system_arch())
    calls.add_rules(made, gpu)


WITHOUT_LANDLOCK = """
import sys, time, pyseccomp
from fl_server_ai.inference.protocol import Load
from fl_server_ai.inference.runner.launcher import Launcher, try_cage
from fl_server_ai.inference.runner.pool import Pool
from fl_server_ai.inference.terms import Terms
forbidding = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
forbidding.add_rule(pyseccomp.ERRNO(38), "landlock_create_ruleset")
forbidding.load()
print(*try_cage("cpu").missing)
for must_hold in (True, False):
    launcher = Launcher(Terms(1 << 28, 20, "cpu", must_hold))
    try:
        with Pool(launcher, 0).runner("key") as runner, open(sys.argv[1], "rb") as file:
            runner.do(Load([(file, None)], [], None, "cpu"), time.monotonic() + 20)
            print("loaded")
    except Exception as error:
        print(type(error).__name__, error)
    launcher.close()
"""


def test_where_the_system_forbids_a_layer_a_setting_decides(save):
    command = [sys.executable, "-c", WITHOUT_LANDLOCK, save(nn.Identity())]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    missing, refused, served = done.stdout.splitlines()
    assert missing == "files"
    assert refused.startswith("NoCage the cage doesn't hold; holding: privileges")
    assert "missing: files" in refused
    assert served == "loaded"
