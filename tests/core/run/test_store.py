"""A run's events are read once: what they add up to is kept, right or not used, and later only what is new is read."""

from __future__ import annotations

import json
import math
import os
import shutil
import threading
from array import array
from pathlib import Path
from typing import Any

import pytest

from slmstudio.core import files, i18n, jobs, paths
from slmstudio.core.jobs.job import EventReader
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run import store as store_module
from slmstudio.core.run.history import RunHistory
from slmstudio.core.run.store import MOST_RUNS, RunStore, Totals

ENDED = Outcome("finished")
EVENTS = [
    {"type": "job_started"}, {"type": "lock", "enforced": True, "landlock": 5}, {"type": "plan", "total_steps": 4},
    {"type": "eval", "global_step": 0, "eval_loss": 3.0},
    {"type": "sensors", "gpus": [{"index": 0, "power_w": 300.0, "temperature_c": 71}], "cpu": {"temperature_c": 60.0}},
    {"type": "sensors", "gpus": [{"index": 0, "power_w": 310.0, "temperature_c": 72}], "cpu": {"temperature_c": 61.0}},
    {"type": "step", "global_step": 1, "train_loss": 2.5}, {"type": "eval", "global_step": 1, "eval_loss": None},
]


def append(run: Path, events: list[dict]) -> None:
    begin = (run / jobs.EVENTS).read_bytes().count(b"\n") if (run / jobs.EVENTS).exists() else 0
    for at, event in enumerate(events, begin):
        files.append_line(run / jobs.EVENTS, {"protocol": 1, "time": 1000.0 + at, **event})


@pytest.fixture
def run(tmp_path, studio_home) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    append(folder, EVENTS)
    return folder


@pytest.fixture
def counted(monkeypatch, tmp_path) -> list[int]:
    """How many events each reading of a run of this test has read; threads of windows before it may read theirs."""
    found: list[int] = []
    honest = EventReader.read

    def read(self):
        if not self.path.is_relative_to(tmp_path):
            yield from honest(self)
            return
        found.append(0)
        for event in honest(self):
            found[-1] += 1
            yield event

    monkeypatch.setattr(EventReader, "read", read)
    return found


def later() -> RunStore:
    """That of another start of the program; here everything is worth saving."""
    return RunStore(worth_saving=0)


def kept(run: Path) -> Totals:
    return later().totals(run, ENDED)


def cached() -> Path:
    [path] = (paths.cache_dir() / "runs").iterdir()
    return path


def same(first: Any, second: Any) -> bool:
    return everything(first) == everything(second)


def everything(value: Any) -> Any:
    """All that an object holds, as text: NaN is no number that equals itself. How a curve is smoothed is left out."""
    if hasattr(value, "__dict__"):
        return {name: everything(each) for name, each in vars(value).items() if name != "_smoother"}
    if isinstance(value, dict):
        return {name: everything(each) for name, each in value.items()}
    return [everything(each) for each in value] if isinstance(value, list | tuple | array) else repr(value)


def folded(run: Path) -> RunHistory:
    history, reader = RunHistory(), EventReader(run)
    for event in reader.read():
        history.add(event, reader.at)
    return history


def test_a_later_start_reads_no_events(run, counted):
    first = kept(run)
    assert (first.steps, first.total_steps, first.train_loss, first.eval_loss_before) == (1, 4, 2.5, 3.0)
    assert math.isnan(first.eval_loss_so_far) and first.energy.joules > 0 and first.peak_c == 72
    assert same(kept(run), first) and counted == [len(EVENTS)]
    assert same(later().history(run), folded(run)) and counted[1:] == [len(EVENTS)], "by `folded` alone"


def test_all_who_ask_have_what_was_read_once_until_something_happens(run, counted):
    store = later()
    first = store.history(run)
    assert store.history(run) is first and store.totals(run, ENDED).steps == 1 and counted == [len(EVENTS)]
    append(run, [{"type": "step", "global_step": 2, "train_loss": 2.0}, {"type": "step", "global_step": 3}])
    grown = store.history(run)
    assert (first.step, grown.step) == (1, 3), "who has the first one may be drawing it"
    assert same(grown, folded(run)) and counted[:2] == [len(EVENTS), 2]


def test_a_later_start_reads_only_what_is_new(run, counted):
    later().history(run)
    append(run, [{"type": "job_started"}, {"type": "sensors", "gpus": [{"power_w": 200.0, "temperature_c": 80}]},
                 {"type": "guard_rest"}, {"type": "step", "global_step": 1, "train_loss": 2.0}])
    assert same(later().history(run), folded(run)) and counted[:2] == [len(EVENTS), 4]


def test_a_reading_that_was_cancelled_continues(run, counted):
    append(run, [{"type": "step", "global_step": number} for number in range(2, 5000)])
    store, asked = later(), []
    part = store.history(run, lambda: len(asked) == 1 or asked.append(1))
    assert 0 < part.step < 4999
    assert same(store.history(run), folded(run)) and sum(counted[:2]) == 5007  # one was given, and not taken


def test_several_threads_read_a_run_once(run, counted):
    store, found = later(), []
    threads = [threading.Thread(target=lambda: found.append(store.history(run))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 8 and len({id(each) for each in found}) == 1 and counted == [len(EVENTS)]


def test_only_a_few_runs_stay_in_memory(run, tmp_path):
    store = RunStore()
    first = store.history(run)
    for number in range(MOST_RUNS):
        shutil.copytree(run, tmp_path / str(number))
        store.history(tmp_path / str(number))
    assert store.history(run) is not first and not (paths.cache_dir() / "runs").exists(), "short ones aren't worth it"


def test_another_language_has_its_own_sentences(run, counted):
    message = i18n.tr("There are no rows to measure.")
    append(run, [i18n.with_sources({"type": "warning", "code": "x", "message": message})])
    store, told = later(), []
    for language in ("en", "hi", "en"):
        i18n.use(language)
        told.append((store.history(run).log[0]["message"], later().history(run).log[0]["message"]))
    assert told[0] == told[2] and len({*told[0], *told[1]}) == 2


def test_what_was_kept_is_told_in_the_language_of_now(run, counted):
    told = []
    for language in ("en", "hi", "en"):
        i18n.use(language)
        told.append((kept(run).locked, kept(run).heat))
    assert told[0] == told[2] == ("The system blocked its access to the network and to all files but its own.",
                                  "No rest was needed. Peak: 72 °C.")
    assert told[1][0] != told[0][0] and told[1][1] != told[0][1] and counted == [len(EVENTS)]


def test_an_outcome_holds_totals_so_that_no_start_reads_events(run, tmp_path, counted):
    added_up = kept(run)
    jobs.write_outcome(run, Outcome("finished", totals=store_module.to_keep(run)))
    cached().unlink()
    shutil.copytree(run, tmp_path / "elsewhere")
    counted.clear()
    for folder in (run, tmp_path / "elsewhere"):
        assert same(later().totals(folder, jobs.Job(folder).outcome()), added_up)
    assert counted == []
    append(run, [{"type": "step", "global_step": 2, "train_loss": 2.0}])
    assert later().totals(run, jobs.Job(run).outcome()).steps == 2, "they are of other events"


@pytest.mark.parametrize("harm", [
    {"format": 1}, {"steps": "many"}, {"steps": 10**400}, {"seconds": None}, {"locks": 3, "rests": []}, {"energy": 3},
    {"energy": {"parts": [{"name": "oven", "joules": 1.0, "how": "load"}], "seconds": 1.0, "bridged": 0.0}}])
def test_damaged_totals_of_an_outcome_are_not_used(run, harm):
    wanted = RunStore().totals(run, None)
    assert same(RunStore().totals(run, Outcome("finished", totals={**store_module.to_keep(run), **harm})), wanted)


def test_other_events_are_read_again(run, counted):
    kept(run)
    os.utime(run / jobs.EVENTS, (1, 1))
    kept(run)
    assert counted == [8, 8], "written again in its place, or moved there"
    text = (run / jobs.EVENTS).read_bytes()
    (run / jobs.EVENTS).write_bytes(text.replace(b"2.5", b"2.25") + text)
    assert same(later().history(run), folded(run)) and counted[2] == 16
    (run / jobs.EVENTS).unlink()
    assert kept(run).steps == 0
    append(run, EVENTS[:2])
    assert kept(run).begun and kept(run).steps == 0


@pytest.mark.parametrize("harm", ["no JSON", "a list", "its parts", "its points", "its end", "another format",
                                  "another version"])
def test_what_is_damaged_or_of_another_program_is_not_used(run, counted, harm, monkeypatch):
    wanted, file = kept(run), cached()
    header, rest = file.read_bytes().split(b"\n", 1)
    state = json.loads(header)
    if harm == "its parts":
        del state["totals"]["energy"]["parts"]
        state["check"] += 1
    texts = {"no JSON": b"{", "a list": b"[]\n", "its points": header + b"\n" + rest[:-1] + b"?", "its end": header}
    file.write_bytes(texts.get(harm, json.dumps(state).encode() + b"\n" + rest))
    if harm == "another format":
        monkeypatch.setattr(store_module, "FORMAT", store_module.FORMAT + 1)
    if harm == "another version":
        monkeypatch.setattr(store_module, "__version__", "999")
    history = later().history(run)
    assert counted == [8, 8] and same(Totals.of(history), wanted) and same(history, folded(run))
    assert same(kept(run), wanted) and counted == [8, 8, 8]  # one of them by `folded`


def test_of_a_run_at_work_only_what_is_new_is_read(run, counted):
    reader = RunStore()
    assert reader.totals(run, None).steps == 1
    append(run, [{"type": "step", "global_step": 2, "train_loss": 2.0}])
    counted.clear()
    assert reader.totals(run, None).steps == 2 and counted == [1]
    assert reader.totals(run, ENDED).steps == 2 and counted == [1]
    (run / jobs.EVENTS).unlink()
    append(run, EVENTS[:2])
    assert reader.totals(run, None).steps == 0


def test_an_event_that_is_nested_absurdly_deep_hides_no_run(run):
    with open(run / jobs.EVENTS, "ab") as file:
        file.write(b'{"protocol": 1, "time": 1010.0, "type": "log", "message": %b}\n' % (b"[" * 700 + b"]" * 700))
    store = later()
    assert len(store.history(run).log) == 1 and store.history(run).guard.ended().peak_c == 72
    append(run, [{"type": "step", "global_step": 2}])
    assert store.history(run).step == 2 and store.continued(run, lambda: False)[0].step == 2


def test_a_history_of_ones_own_changes_no_other(run):
    store = later()
    append(run, [{"type": "guard_rest"}])
    shared, (own, reader) = store.history(run), store.continued(run, lambda: False)
    append(run, [{"type": "guard_resume", "seconds": 3.0}, *EVENTS[4:]])
    for event in reader.read():
        own.add(event, reader.at)
    assert same(own, folded(run)) and not same(shared, own) and shared.guard.intervals[0].end is None
    assert own.series["train_loss"].smoothed() is not shared.series["train_loss"].smoothed()


def test_a_folder_whose_name_is_no_text_is_read(run):
    odd = run.rename(run.parent / os.fsdecode(b"run-\xff"))
    assert same(later().history(odd), folded(odd)) and kept(odd).steps == 1


def test_runs_that_are_gone_are_forgotten(run, tmp_path):
    kept(run)
    run.rename(tmp_path / "other")
    kept(tmp_path / "other")
    assert json.loads(cached().read_bytes().split(b"\n")[0])["folder"] == str(tmp_path / "other")
