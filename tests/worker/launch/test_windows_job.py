"""Windows' job object, at the boundary to its library: what is asked of it, and in which order."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest
from torch.distributed import HashStore

from slmstudio.core.run.config import RunConfig
from slmstudio.worker.launch import ranks_of

JOB, THIS = 0x1234_5678_9ABC, -1 & 0xFFFF_FFFF_FFFF_FFFF


class Function:
    """One that answers as Windows does, and notes how it was called."""

    def __init__(self, name: str, calls: list, answer: int):
        self.name, self.calls, self.answer = name, calls, answer
        self.restype, self.argtypes = ctypes.c_int, None

    def __call__(self, *given):
        self.calls.append((self.name, *given))
        return self.answer


@pytest.fixture
def windows(monkeypatch):
    """`windows(AssignProcessToJobObject=0)`: a kernel32 whose functions answer so; the calls that were made."""

    def make(**answers: int) -> list:
        calls: list = []
        usual = {"CreateJobObjectW": JOB, "SetInformationJobObject": 1, "GetCurrentProcess": THIS,
                 "AssignProcessToJobObject": 1, **answers}
        kernel = SimpleNamespace(**{name: Function(name, calls, answer) for name, answer in usual.items()})
        monkeypatch.setattr(ctypes, "WinDLL", lambda name, use_last_error: kernel, raising=False)
        make.kernel = kernel
        return calls

    return make


def test_this_process_and_all_that_it_starts_end_with_the_only_handle(windows):
    calls = windows()
    assert ranks_of.end_together()
    made, limited, asked, assigned = calls
    assert made == ("CreateJobObjectW", None, None), "a child that inherited the handle would keep the others alive"
    name, job, kind, limits, size = limited
    assert (name, job, kind, size) == ("SetInformationJobObject", JOB, 9, 144)
    assert limits._obj.basic.flags == 0x2000
    assert (asked, assigned) == (("GetCurrentProcess",), ("AssignProcessToJobObject", JOB, THIS))
    for name in ("CreateJobObjectW", "GetCurrentProcess"):
        assert getattr(windows.kernel, name).restype is ctypes.c_void_p, "a handle has 64 bits"


@pytest.mark.parametrize("refused", ["CreateJobObjectW", "SetInformationJobObject", "AssignProcessToJobObject"])
def test_where_windows_refuses_the_run_starts_all_the_same(windows, refused):
    calls = windows(**{refused: 0})
    assert not ranks_of.end_together()
    assert calls[-1][0] == refused


def test_elsewhere_there_is_none(monkeypatch):
    monkeypatch.delattr(ctypes, "WinDLL", raising=False)
    assert not ranks_of.end_together()


def test_the_processes_of_a_run_are_started_in_it(windows, tmp_path, monkeypatch):
    calls, before = windows(), []
    monkeypatch.setattr(ranks_of, "elastic_launch", lambda *given: lambda *words: before.extend(calls))
    config = RunConfig(name="x", model="m", train_file="t", device="cpu", processes=2)
    ranks_of.train(tmp_path, config, ranks_of.Meeting(HashStore(), "127.0.0.1", 1, "id", "127.0.0.1"))
    assert before[-1][0] == "AssignProcessToJobObject"
