"""What is a run, and what is said of one whose run.json is lost."""

from __future__ import annotations

import os
import sys

import pytest
from support import report_run

from slmstudio.core.run import folder


def lost(run, kind):
    path = run / "run.json"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("nowhere")


@pytest.mark.parametrize("kind", ["missing", "folder", *(["pipe", "link"] if sys.platform != "win32" else [])])
def test_a_run_without_a_run_json_is_passed_over_with_the_reason(tmp_path, kind):
    made = report_run.finished(tmp_path).folder
    (made.parent / "notes").mkdir()
    lost(made, kind)
    found = []
    assert list(folder.all_runs(made.parent, lambda path, why: found.append((path, why)))) == []
    [(path, why)] = found
    assert path == made and made.name in why.what and why.why and why.remedy
