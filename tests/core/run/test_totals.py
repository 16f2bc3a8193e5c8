"""What runs' events add up to is kept, right or not used, and of a run at work only what is new is read."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

import slmstudio
from slmstudio.core import files, i18n, jobs, paths
from slmstudio.core.jobs.job import EventReader
from slmstudio.core.run import totals
from slmstudio.core.run.totals import Totals, TotalsReader, reading

EVENTS = [
    {"type": "job_started"}, {"type": "plan", "total_steps": 4}, {"type": "eval", "global_step": 0, "eval_loss": 3.0},
    {"type": "sensors", "gpus": [{"index": 0, "power_w": 300.0, "temperature_c": 71}], "cpu": {"temperature_c": 60.0}},
    {"type": "sensors", "gpus": [{"index": 0, "power_w": 310.0, "temperature_c": 72}], "cpu": {"temperature_c": 61.0}},
    {"type": "step", "global_step": 1, "train_loss": 2.5}, {"type": "eval", "global_step": 1, "eval_loss": None},
]


def append(run: Path, events: list[dict]) -> None:
    begin = sum(1 for _ in EventReader(run).read())
    for at, event in enumerate(events, begin):
        files.append_line(run / jobs.EVENTS, {"protocol": 1, "time": 1000.0 + at, **event})


@pytest.fixture
def run(tmp_path, studio_home) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    append(folder, EVENTS)
    return folder


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """How many events each reading has read."""
    found: list[int] = []
    honest = EventReader.read

    def read(self):
        events = list(honest(self))
        found.append(len(events))
        return iter(events)

    monkeypatch.setattr(EventReader, "read", read)
    return found


def kept(run: Path) -> Totals:
    with reading() as reader:
        return reader.of(run, ended=True)


def same(first: Totals, second: Totals) -> bool:
    return repr(first) == repr(second)  # NaN is no number that equals itself


def test_a_later_start_reads_no_events(run, counted):
    first = kept(run)
    assert (first.steps, first.total_steps, first.train_loss, first.eval_loss_before) == (1, 4, 2.5, 3.0)
    assert math.isnan(first.eval_loss_so_far) and first.energy.joules > 0 and first.peak_c == 72
    assert same(kept(run), first) and counted == [7]


def test_what_was_kept_in_another_language_is_added_up_again(run, counted):
    for language in ("en", "hi", "en"):
        i18n.use(language)
        with reading() as reader:
            told = reader.of(run, ended=True).locked
        assert told == i18n.tr("Whether its access to the network was blocked isn't recorded.")
    assert counted == [len(EVENTS)] * 3


def test_other_events_are_read_again(run, counted):
    kept(run)
    append(run, [{"type": "step", "global_step": 2, "train_loss": 2.0}])
    assert kept(run).steps == 2 and counted[-1] == 8
    os.utime(run / jobs.EVENTS, (1, 1))
    kept(run)
    assert counted[-1] == 8 and len(counted) == 4  # one of them counted for `append`


@pytest.mark.parametrize("harm", ["no JSON", "a list", "a run", "its parts", "another version"])
def test_what_is_damaged_or_of_another_version_is_not_used(run, counted, harm, monkeypatch):
    wanted, file = kept(run), paths.cache_dir() / totals.FILE
    state = json.loads(file.read_text())
    [entry] = state["runs"].values()
    if harm == "a run":
        state["runs"] = {str(run): 3}
    elif harm == "its parts":
        del entry["totals"]["energy"]["parts"]
    file.write_text({"no JSON": "{", "a list": "[]"}.get(harm, json.dumps(state)))
    if harm == "another version":
        monkeypatch.setattr(slmstudio, "__version__", "0.0.0")
    assert same(kept(run), wanted) and counted == [7, 7]
    assert same(kept(run), wanted) and counted == [7, 7]


def test_of_a_run_at_work_only_what_is_new_is_read(run, counted):
    reader = TotalsReader()
    assert reader.of(run, ended=False).steps == 1
    append(run, [{"type": "step", "global_step": 2, "train_loss": 2.0}])
    counted.clear()
    assert reader.of(run, ended=False).steps == 2 and counted == [1]
    assert reader.of(run, ended=True).steps == 2 and counted == [1, 0]
    (run / jobs.EVENTS).unlink()
    append(run, EVENTS[:2])
    assert reader.of(run, ended=False).steps == 0


def test_runs_that_are_gone_are_forgotten(run, tmp_path):
    kept(run)
    run.rename(tmp_path / "other")
    kept(tmp_path / "other")
    assert list(json.loads((paths.cache_dir() / totals.FILE).read_text())["runs"]) == [str(tmp_path / "other")]
