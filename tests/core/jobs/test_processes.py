"""The environment that a worker gets."""

import json
import os
import platform
import subprocess
import sys

import psutil
import pytest

from slmstudio.core import files, jobs
from slmstudio.core.jobs import processes

AGAIN = """
import resource

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

list(map(bytearray, [20_000_000]))
before = faults()
for _ in range(3):
    bytearray(20_000_000)
print(faults() - before)
"""
"""Pages asked of the system while 20 MB are taken three times more: 4,881 where they are given back each time."""


@pytest.mark.parametrize(("kind", "stays"), [("train", True), ("fit_check", True), ("", False), ("evaluate", False)])
def test_freed_memory_stays_with_a_worker_that_trains(kind, stays):
    if platform.libc_ver()[0] == "glibc":
        done = subprocess.run([sys.executable, "-c", AGAIN], env=processes.worker_environment(kind),
                              capture_output=True, text=True, check=True)
        assert (int(done.stdout) < 1_000) == stays


def test_a_job_is_started_in_the_environment_of_its_kind(tmp_path, monkeypatch):
    say = "import os, sys; open(sys.argv[1] + '/said', 'w').write(os.environ.get('GLIBC_TUNABLES', ''))"
    monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, "-c", say]))
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    for kind, said in (("train", processes.MALLOC_TUNABLES), ("evaluate", "")):
        job = jobs.Job.create(tmp_path / kind, kind)
        job.start()
        job.wait()
        assert (job.folder / "said").read_text() == said


def test_what_the_user_set_for_the_allocator_stays(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=3")
    assert processes.worker_environment("train")["GLIBC_TUNABLES"] == "glibc.malloc.check=3"


def test_cards_have_one_order(monkeypatch):
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    assert processes.worker_environment("train")["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.parametrize(("given", "spills", "found"), [
    ({}, False, "expandable_segments:True"), ({}, True, None),
    ({"PYTORCH_CUDA_ALLOC_CONF": "backend:native"}, False, None),
    ({"PYTORCH_ALLOC_CONF": "backend:native"}, False, "backend:native")])
def test_the_allocator_of_a_card_joins_its_free_memory_where_it_can(monkeypatch, given, spills, found):
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "can_spill", lambda: spills)
    assert processes.worker_environment("train").get("PYTORCH_ALLOC_CONF") == found


@pytest.fixture
def own(tmp_path):
    """A job folder that this process works on."""
    job = jobs.Job.create(tmp_path / "job", "train")
    jobs.write_process_file(job.folder, os.getpid())
    return job


@pytest.mark.skipif(sys.platform != "linux", reason="psutil derives it from the boot time only there")
def test_a_worker_lives_on_when_the_clock_is_set(own, monkeypatch):
    boot_time = psutil.boot_time()
    for moved in (-3600, -1, 1, 3600):
        monkeypatch.setattr(psutil._pslinux, "boot_time", lambda moved=moved: boot_time + moved)
        assert own.is_alive() and own.outcome() is None, f"the boot time moved by {moved} s"


def test_a_process_that_got_the_same_number_is_another_one(own):
    file = own.folder / jobs.PROCESS
    state = files.read_json(file)
    for name in {"start_ticks", "create_time"} & state.keys():
        file.write_text(json.dumps({**state, name: state[name] + 1.5}))
        assert not own.is_alive()


def test_a_run_of_an_earlier_version_is_still_known_to_run(own):
    state = {"pid": os.getpid(), "create_time": psutil.Process().create_time(), "boot_id": processes.boot_id(),
             "oom_kills": 0}
    (own.folder / jobs.PROCESS).write_text(json.dumps(state))
    assert own.is_alive()
    (own.folder / jobs.PROCESS).write_text(json.dumps({**state, "create_time": 1.0}))
    assert own.outcome().state == "crashed"


def test_a_worker_that_was_killed_while_loading_needs_main_memory_and_no_smaller_batch(own, monkeypatch):
    gone = {**files.read_json(own.folder / jobs.PROCESS), "pid": 2**22 + 1, "oom_kills": -1}
    (own.folder / jobs.PROCESS).write_text(json.dumps(gone))

    def phase(name: str) -> tuple[str, str]:
        files.append_line(own.folder / jobs.EVENTS, {"protocol": jobs.PROTOCOL, "type": "phase", "phase": name})
        error = own.outcome().error
        return error["why"], error["remedy"]

    assert phase("tokenizing")[0] == "It needed more memory than the machine has."
    why, remedy = phase(jobs.LOADING)
    assert why == "Loading the model took more main memory than was free." and "micro-batch" not in remedy
    assert "micro-batch" in phase("training")[1]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_process_that_gives_way_more_already_stays_so():
    code = ("import os; from slmstudio.core.jobs import processes; os.nice(19);"
            "processes.lower_priority(); print(os.nice(0))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "19"
