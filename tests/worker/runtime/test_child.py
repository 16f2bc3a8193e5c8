"""A worker's own child process says how it went, on a full disk too."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from support import spoken

from slmstudio.core import files
from slmstudio.worker.runtime import child


@pytest.mark.parametrize("folder", [True, False])
def test_on_a_full_disk_what_is_half_done_gives_way_to_the_sentence(tmp_path, monkeypatch, folder):
    half, report = tmp_path / "half", tmp_path / "child.report"
    request = tmp_path / "child.request.json"
    files.write_atomically(request, files.dump_pretty({
        "report": str(report), "parent": os.getppid(), "half_done": [str(half), str(tmp_path / "never made")],
        "doing": "keep the rows"}))
    write = files.write_atomically

    def full(path: Path, content: str | bytes) -> None:
        if half.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    def work(request: dict[str, Any], report: Any) -> None:
        if folder:
            half.mkdir()
        (half / "rows" if folder else half).write_bytes(b"rows")
        monkeypatch.setattr(files, "write_atomically", full)
        report(done=1)

    assert child.serve(request, work) == 1
    assert not half.exists()
    error = (files.read_json(report) or {})["error"]
    assert error["what"] == "Could not keep the rows." and error["why"] == "The disk is full."


def test_a_child_speaks_the_language_of_its_parent(tmp_path):
    request, report = tmp_path / "child.request.json", tmp_path / "report"
    files.write_atomically(request, files.dump_pretty({"report": str(report), "parent": os.getpid()}))
    code = ("import pathlib, sys; from slmstudio.core.errors import UserError; from slmstudio.core.i18n import tr; "
            "from slmstudio.worker.runtime import child\n"
            "def work(request, report):\n    raise UserError(tr('Try again.'))\n"
            "sys.exit(child.serve(pathlib.Path(sys.argv[1]), work))")
    with spoken.brackets():
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-P", "-c", code, str(request)], timeout=120, env=environment)
    assert spoken.is_translated((files.read_json(report) or {})["error"]["what"])


def test_a_child_whose_parent_ended_before_it_began_ends_too(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", ""])
    parent.wait()
    assert not psutil.pid_exists(parent.pid)
    request = tmp_path / "child.request.json"
    files.write_atomically(request, files.dump_pretty({"report": str(tmp_path / "report"), "parent": parent.pid}))
    code = ("import pathlib, sys, threading; from slmstudio.worker.runtime import child; "
            "child.serve(pathlib.Path(sys.argv[1]), lambda *_: threading.Event().wait(600))")
    assert subprocess.run([sys.executable, "-P", "-c", code, str(request)], timeout=120,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}).returncode == 1
