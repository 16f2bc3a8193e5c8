"""What runs' events add up to is kept, right or not used, and of a run at work only what is new is read."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path

import pytest

from slmstudio.core import files, i18n, jobs, paths
from slmstudio.core.jobs.job import EventReader
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run import totals
from slmstudio.core.run.totals import Totals, TotalsReader, reading

ENDED = Outcome("finished")
EVENTS = [
    {"type": "job_started"}, {"type": "lock", "enforced": True, "landlock": 5}, {"type": "plan", "total_steps": 4},
    {"type": "eval", "global_step": 0, "eval_loss": 3.0},
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
        return reader.of(run, ENDED)


def same(first: Totals, second: Totals) -> bool:
    return repr(first) == repr(second)  # NaN is no number that equals itself


def test_a_later_start_reads_no_events(run, counted):
    first = kept(run)
    assert (first.steps, first.total_steps, first.train_loss, first.eval_loss_before) == (1, 4, 2.5, 3.0)
    assert math.isnan(first.eval_loss_so_far) and first.energy.joules > 0 and first.peak_c == 72
    assert same(kept(run), first) and counted == [len(EVENTS)]


def test_what_was_kept_is_told_in_the_language_of_now(run, counted):
    told = []
    for language in ("en", "hi", "en"):
        i18n.use(language)
        told.append((kept(run).locked, kept(run).heat))
    assert told[0] == told[2] == ("The system blocked its access to the network and to all files but its own.",
                                  "No rest was needed. Peak: 72 °C.")
    assert told[1][0] != told[0][0] and told[1][1] != told[0][1] and counted == [len(EVENTS)]


def test_an_outcome_holds_them_so_that_no_start_reads_events(run, tmp_path, counted):
    added_up = kept(run)
    jobs.write_outcome(run, Outcome("finished", totals=totals.to_keep(run)))
    (paths.cache_dir() / totals.FILE).unlink()
    shutil.copytree(run, tmp_path / "elsewhere")
    counted.clear()
    for folder in (run, tmp_path / "elsewhere"):
        reader = TotalsReader()
        assert same(reader.of(folder, jobs.Job(folder).outcome()), added_up)
        reader.save()
    assert counted == [] and not (paths.cache_dir() / totals.FILE).exists()
    append(run, [{"type": "step", "global_step": 2, "train_loss": 2.0}])
    assert TotalsReader().of(run, jobs.Job(run).outcome()).steps == 2, "they are of other events"


@pytest.mark.parametrize("harm", [
    {"format": 1}, {"steps": "many"}, {"steps": 10**400}, {"seconds": None}, {"locks": 3, "rests": []}, {"energy": 3},
    {"energy": {"parts": [{"name": "oven", "joules": 1.0, "how": "load"}], "seconds": 1.0, "bridged": 0.0}}])
def test_damaged_totals_of_an_outcome_are_not_used(run, harm):
    wanted = TotalsReader().of(run, None)
    assert same(TotalsReader().of(run, Outcome("finished", totals={**totals.to_keep(run), **harm})), wanted)


def test_other_events_are_read_again(run, counted):
    kept(run)
    append(run, [{"type": "step", "global_step": 2, "train_loss": 2.0}])
    assert kept(run).steps == 2 and counted[-1] == 9
    os.utime(run / jobs.EVENTS, (1, 1))
    kept(run)
    assert counted[-1] == 9 and len(counted) == 4  # one of them counted for `append`


@pytest.mark.parametrize("harm", ["no JSON", "a list", "a run", "its parts", "another format"])
def test_what_is_damaged_or_of_another_format_is_not_used(run, counted, harm, monkeypatch):
    wanted, file = kept(run), paths.cache_dir() / totals.FILE
    state = json.loads(file.read_text())
    [entry] = state["runs"].values()
    if harm == "a run":
        state["runs"] = {str(run): 3}
    elif harm == "its parts":
        del entry["energy"]["parts"]
    file.write_text({"no JSON": "{", "a list": "[]"}.get(harm, json.dumps(state)))
    if harm == "another format":
        monkeypatch.setattr(totals, "FORMAT", totals.FORMAT + 1)
    assert same(kept(run), wanted) and counted == [8, 8]
    assert same(kept(run), wanted) and counted == [8, 8]


def test_of_a_run_at_work_only_what_is_new_is_read(run, counted):
    reader = TotalsReader()
    assert reader.of(run, None).steps == 1
    append(run, [{"type": "step", "global_step": 2, "train_loss": 2.0}])
    counted.clear()
    assert reader.of(run, None).steps == 2 and counted == [1]
    assert reader.of(run, ENDED).steps == 2 and counted == [1, 0]
    (run / jobs.EVENTS).unlink()
    append(run, EVENTS[:2])
    assert reader.of(run, None).steps == 0


def test_runs_that_are_gone_are_forgotten(run, tmp_path):
    kept(run)
    run.rename(tmp_path / "other")
    kept(tmp_path / "other")
    assert list(json.loads((paths.cache_dir() / totals.FILE).read_text())["runs"]) == [str(tmp_path / "other")]
