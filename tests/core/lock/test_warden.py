"""The process that names refused attempts: how it counts, and that nothing opens when it is gone."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from slmstudio.core.lock import places, warden

LOCKED = """
import os, signal, socket, sys, tempfile
from slmstudio.core.lock import worker_lock
state = worker_lock.install("trial", {})
assert state.enforced, state
def tried():
    try:
        socket.socket()
    except OSError as error:
        return error.errno
"""


@pytest.fixture
def run(linux, tmp_path, monkeypatch):
    """`run("print(1)")`: the code in a locked process, after LOCKED."""
    monkeypatch.setenv("SLMSTUDIO_HOME", str(tmp_path / "home"))

    def run(code: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([sys.executable, "-P", "-c", LOCKED + code], capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])})
        assert done.returncode == 0, done.stderr
        return done

    return run


def test_the_same_attempt_again_makes_the_log_no_longer(run):
    done = run("for _ in range(1234): assert tried() == 13")
    counted = re.findall(r"refused socket\(AF_INET, SOCK_STREAM\).*?(?: \(([\d,]+) times\))?\n", done.stderr)
    assert counted == ["", "10", "100", "1,000"], done.stderr


def test_a_host_that_is_looked_up_is_named(run):
    done = run("""
def look_up(ask, *arguments):
    try:
        ask(*arguments)
    except OSError:
        pass
for number in range(12):
    look_up(socket.getaddrinfo, "one.invalid", 443)
look_up(socket.gethostbyname, "two.invalid")
look_up(socket.gethostbyname_ex, "three.invalid")
look_up(socket.getnameinfo, ("four.invalid", 80), 0)
look_up(socket.create_connection, ("five.invalid\\n12:00:00 network lock: it is open", 80))
for address in (None, "", "127.0.0.1", b"127.0.0.1", "::1", "localhost"):
    look_up(socket.getaddrinfo, address, 80)
""")
    named = re.findall(r"network lock: look-up of (.*), asked for by process \d+(.*)\n", done.stderr)
    assert named == [("one.invalid", ""), ("one.invalid", " (10 times)"), ("two.invalid", ""), ("three.invalid", ""),
                     ("four.invalid", ""), ("five.invalid?12:00:00 network lock: it is open", "")], done.stderr


def test_the_worker_cannot_end_it(run):
    done = run("""
try:
    os.kill(worker_lock.warden().pid, signal.SIGKILL)
except PermissionError:
    print("not permitted")
""")
    assert done.stdout == "not permitted\n"


OWN_LISTENER = """
from slmstudio.core.lock import seccomp
processor = seccomp.here()
notify = seccomp.Instruction(seccomp.RETURN, seccomp.USER_NOTIF)
steps = [seccomp.Instruction(seccomp.LOAD, 0), *seccomp._on(processor.numbers["socket"], [notify]),
         seccomp.Instruction(seccomp.RETURN, seccomp.ALLOW)]
def own_listener():
    try:
        return seccomp._seccomp(processor, steps, seccomp.NEW_LISTENER)
    except OSError as error:
        return error.errno
"""
"""Code by which a locked process tries to become the one that answers for its own calls."""


def test_a_locked_process_cannot_answer_for_its_own_calls(run):
    """Whoever is the newest filter's listener may let a call through."""
    done = run(OWN_LISTENER + """
print(own_listener(), tried())
""")
    assert done.stdout.split() == ["1", "13"]


def test_other_files_than_the_listener_do_not_end_it(run):
    done = run(OWN_LISTENER + """
read, write = os.pipe()
os.write(write, b"x")
channel = worker_lock.warden()._channel
for _ in range(3):
    socket.send_fds(channel, [b"l"], [read])
    assert channel.recv(1) == b"1"
print(tried(), own_listener(), tried())
""")
    assert done.stdout.split() == ["13", "1", "13"]
    assert "no longer named" not in done.stderr and "refused socket" in done.stderr


@pytest.mark.parametrize(("asked", "answers"), [
    ("tried(), worker_lock.warden().keep_awake()", ["38", "False"]),  # no such call, and no sleep prevented
    ("own_listener(), tried()", ["1", "38"])])  # not permitted, and no such call
def test_when_it_is_gone_the_kernel_refuses_and_nobody_takes_its_place(linux, tmp_path, monkeypatch, asked, answers):
    monkeypatch.setenv("SLMSTUDIO_HOME", str(tmp_path / "home"))
    code = LOCKED + OWN_LISTENER + f"""
print(worker_lock.warden().pid, flush=True)
sys.stdin.readline()
print({asked})
"""
    with subprocess.Popen([sys.executable, "-P", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.DEVNULL,
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}) as process:
        psutil.Process(int(process.stdout.readline())).kill()
        out, _ = process.communicate("\n")
    assert out.split() == answers


def test_threads_and_children_are_held_too(run):
    done = run("""
import subprocess, threading
found = []
threads = [threading.Thread(target=lambda: found.append(tried())) for _ in range(3)]
for each in threads: each.start()
for each in threads: each.join()
print(*found, flush=True)
child = "import socket\\ntry: socket.socket()\\nexcept OSError as e: print(e.errno, flush=True)"
subprocess.run([sys.executable, "-c", child], check=True)
pid = os.fork()
if pid == 0:
    print(tried(), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
""")
    assert done.stdout.split() == ["13"] * 5


def test_what_a_locked_process_still_does(run):
    done = run("""
import asyncio, multiprocessing
ours, theirs = socket.socketpair()
ours.sendall(b"pair")
print(theirs.recv(4).decode())
print(asyncio.run(asyncio.sleep(0, "loop")))
with tempfile.TemporaryFile() as file:
    print(file.write(b"x"))
with multiprocessing.get_context("fork").Pool(1) as pool:
    print(pool.apply(abs, (-3,)))
open("/proc/self/clear_refs", "w").write("5")
""")
    assert done.stdout.split() == ["pair", "loop", "1", "3"]


def test_its_temporary_folder_goes_with_it(run):
    done = run("""
print(tempfile.gettempdir(), flush=True)
open(os.path.join(tempfile.gettempdir(), "left"), "w").close()
""")
    place = Path(done.stdout.strip())
    assert place.name.startswith("slmstudio-") and not place.exists()


def test_the_lock_stays_with_a_program_that_takes_the_place(run):
    done = run("""
code = "from slmstudio.core.lock import worker_lock as w; s = w.install('trial', {}); print(s.enforced, s.named)"
program = [sys.executable, "-P", "-c", code]
os.execve(program[0], program, {**os.environ, **worker_lock.environment_for_successor()})
""")
    assert done.stdout.split() == ["True", "True"]
    assert "tried at the start" in done.stderr and "refused socket" not in done.stderr


SUCCESSOR = """
code = '''
import os, sys
from slmstudio.core.lock import places, seccomp, worker_lock
places.restrict = seccomp.install = None  # neither may be asked for again
s = worker_lock.install("trial", {})
again = int(sys.argv[1])
if again:
    environment = {**os.environ, **worker_lock.environment_for_successor()}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:-1], str(again - 1)], environment)
print(s.enforced, s.landlock, s.files_open)
'''
program = [sys.executable, "-P", "-c", code, "1"]
os.execve(program[0], program, {**os.environ, **worker_lock.environment_for_successor()})
"""


@pytest.mark.parametrize("watched", [True, pytest.param(False, marks=pytest.mark.full)])
def test_no_second_layer_is_put_on_a_locked_process(linux, run, watched):
    """The kernel takes 16 layers of Landlock, and a run may start again more often."""
    found = places.version(linux)
    if found < 2:
        pytest.skip("this kernel's Landlock can't be used")
    assert run(("" if watched else "worker_lock._warden = None") + SUCCESSOR).stdout.split() == ["True", str(found)]


def test_the_variable_alone_locks_nothing(linux, run, monkeypatch):
    monkeypatch.setenv("SLMSTUDIO_LOCK", "2 1")
    assert run("print(tried())").stdout == "13\n"


def test_where_nobody_may_listen_the_lock_holds_without_names(linux, tmp_path, monkeypatch):
    """A container that watches system calls itself leaves no listener to others."""
    monkeypatch.setenv("SLMSTUDIO_HOME", str(tmp_path / "home"))
    code = """
import errno, os, socket, tempfile
from slmstudio.core.lock import seccomp, worker_lock
install = seccomp.install
def without_listener(processor, network, named, peers=False):
    if named:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
    return install(processor, network, named)
seccomp.install = without_listener
state = worker_lock.install("trial", {})
print(state.enforced, state.named, worker_lock.warden(), os.path.isdir(tempfile.gettempdir()))
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])})
    assert done.stdout.split() == ["True", "False", "None", "True"], done.stderr


def test_a_kernel_that_refuses_is_said_and_the_work_continues(linux, tmp_path, monkeypatch):
    monkeypatch.setenv("SLMSTUDIO_HOME", str(tmp_path / "home"))
    code = """
import errno, os
from slmstudio.core.lock import seccomp, worker_lock
def refuse(*_, **__):
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
seccomp.install = refuse
state = worker_lock.install("trial", {})
assert not state.enforced and not state.seccomp, state
print(state.reason)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])})
    assert done.stdout == "The kernel refuses a filter of system calls: Invalid argument.\n", done.stderr


def test_a_borrowed_socket_is_let_go_where_who_asked_is_gone(linux, monkeypatch):
    """Then the notification is no longer valid; here it's the listener that is none, which the kernel says alike."""
    borrowed, nobody = os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_RDONLY)
    monkeypatch.setattr(warden, "read_address", lambda *of: bytes([2, 0, 0, 80, 127, 0, 0, 1]) + bytes(8))
    monkeypatch.setattr(warden, "borrow", lambda *of: borrowed)
    with socket.socketpair()[0] as channel:
        watch = warden._Watch(linux, channel, {"127.0.0.1"}, os.getpid())
        watch._listener = nobody
        assert not watch._connects(1, os.getpid(), [3, 0, 16, 0, 0, 0])
    os.close(nobody)
    with pytest.raises(OSError):
        os.fstat(borrowed)
