"""Questions and answers from documents, by a real worker whose teacher is a scripted server on this machine."""

from __future__ import annotations

import json
import random
import threading
from pathlib import Path

import pytest
from support.scripted_teacher import LIES, ScriptedTeacher, document, serving
from support.tiers import first_fast
from support.wait import until

from slmstudio.core.documents import project, work
from slmstudio.core.documents.project import ACCEPTED, MADE, Project, Settings
from slmstudio.core.documents.teacher import SERVER, Teacher
from slmstudio.core.jobs import Job


def made_of(folder: Path, teacher: ScriptedTeacher, sections: int) -> Project:
    return project.create([document(folder, sections)], Settings(
        (), Teacher(SERVER, "scripted", teacher.url).to_dict(), per_passage=2, held_out=0.2))


def test_each_lie_of_a_teacher_is_caught_and_the_truth_passes(studio_home: Path, tmp_path: Path):
    count = 2 * len(LIES) + 2
    lies = {2 * at + 2: lie for at, (lie, _) in enumerate(LIES.values())}
    with serving(ScriptedTeacher(lies)) as teacher:
        new = made_of(tmp_path, teacher, count)
        job = work.job_for(new)
        job.start()
        outcome = job.wait()
    assert outcome.state == "finished", outcome
    new.refresh()
    last_of = {pair.passage: pair for pair in new.pairs()}
    caught = {name: last_of[f"1-{2 * at + 3}"].doubts for at, name in enumerate(LIES)}
    assert {name: LIES[name][1] in doubts for name, doubts in caught.items()} == dict.fromkeys(LIES, True), caught
    assert new.counts().waiting == count - len(LIES) + 1, "one passage has the truth and its near-duplicate"
    events = list(job.events())
    [lock] = [event for event in events if event["type"] == "lock"]
    assert not lock["seccomp"] or lock["peers"] == ["127.0.0.1"]
    last = [event for event in events if event["type"] == "documents_progress"][-1]
    assert (last["done"], last["total"], last["pairs"], last["left_out"]) == (count, count, count + 1, len(LIES))


@pytest.mark.parametrize("seed", first_fast(range(10), 1))
def test_a_kill_loses_no_finished_passage_and_no_decision_and_none_is_made_twice(
        seed: int, studio_home: Path, tmp_path: Path):
    """Two kills each time: 20 in the full tier."""
    draw, kill_at, sections = random.Random(seed), threading.Event(), 48
    wanted = sorted(draw.sample(range(2, sections - 2), 2))
    with serving(ScriptedTeacher(before=lambda number: kill_at.set() if number in wanted else None)) as teacher:
        new = made_of(tmp_path, teacher, sections)
        finished: list[str] = []
        for _ in wanted:
            job = work.job_for(new)
            job.start()
            kill_at.wait(120)
            kill_at.clear()
            job.kill()
            assert job.outcome() is not None
            lines = _lines(new)
            assert lines[:len(finished)] == finished, "what was finished stays as it was"
            finished = lines
            new.refresh()
            if waiting := [pair for pair in new.pairs() if pair.is_waiting]:
                new.decide(waiting[0].id, ACCEPTED)
        accepted = new.counts().accepted
        before = set(teacher.asked)
        job = work.job_for(new)
        job.start()
        assert job.wait().state == "finished"
    found = [json.loads(line)["passage"] for line in _lines(new)]
    assert sorted(found) == sorted(new.passages()) and len(found) == sections
    assert len(teacher.asked) - sections <= 3 * 16 and before <= set(range(sections))
    assert project.open(new.folder).counts().accepted == accepted


def _lines(made: Project) -> list[str]:
    """The whole ones."""
    path = made.folder / MADE
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")] if path.exists() else []


def test_paused_resumed_and_stopped_it_continues_where_it_was(studio_home: Path, tmp_path: Path):
    asked, go = threading.Event(), threading.Event()

    def before(number: int) -> None:
        asked.set()
        go.wait(120)

    with serving(ScriptedTeacher(before=before)) as teacher:
        new = made_of(tmp_path, teacher, 40)
        job = work.job_for(new)
        job.start()
        assert asked.wait(120)
        job.send("pause")
        until(lambda: _types(job)[-1:] == ["paused"])
        job.send("resume")
        until(lambda: "resumed" in _types(job))
        go.set()
        until(lambda: len(_lines(new)) >= 16)
        job.send("stop")
        assert job.wait().state in ("cancelled", "finished")
        done = len(_lines(new))
        job = work.job_for(new)
        job.start()
        assert job.wait().state == "finished" and len(_lines(new)) == 40 and done >= 16


def _types(job: Job) -> list[str]:
    return [event["type"] for event in job.events() if event["type"] in ("paused", "resumed")]


def test_a_server_that_wasnt_named_cant_be_reached(studio_home: Path, tmp_path: Path):
    with serving(ScriptedTeacher()) as teacher:
        new = made_of(tmp_path, teacher, 3)
        job = work.job_for(new)
        request = job.request() | {"addresses": ["127.0.0.2"]}
        (job.folder / "request.json").write_text(json.dumps(request))
        job.start()
        outcome = job.wait()
    if next(event for event in job.events() if event["type"] == "lock")["enforced"]:
        assert outcome.state == "failed" and teacher.asked == []


def test_the_terminal_makes_a_dataset_and_continues_a_project(told, cli, studio_home: Path, tmp_path: Path):
    out = tmp_path / "made" / "rows.jsonl"
    with serving(ScriptedTeacher({3: LIES["invented number"][0]})) as teacher:
        done = told("data", "from-documents", document(tmp_path, 20), "--teacher", teacher.url, "--yes", "--out", out,
                    "--held-out", 0.2)
        asked = len(teacher.asked)
        again = told("data", "from-documents", done["project"], "--yes")
    assert (done["pairs"], done["left_out"], done["by_doubt"]) == (20, 1, {"number_missing": 1})
    rows, test = (_rows(path) for path in (out, Path(done["test"])))
    assert Path(done["rows"]) == out and len(rows) + len(test) == 19 and len(test) == 4
    assert all(row["quotation"] and row["document"] == "rules.md" for row in rows + test)
    assert len(teacher.asked) == asked == 20 and again["pairs"] == 20 and again["rows"] != done["rows"]
    told("data", "from-documents", tmp_path / "nothing.pdf", "--teacher", teacher.url, status=2)
    told("data", "from-documents", tmp_path, "--teacher", "http://192.0.2.7:80", status=2)
    told("data", "from-documents", tmp_path, "--teacher", teacher.url, "--kinds", "riddle", status=2)


def _rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_trial_says_how_good_a_teacher_is_and_makes_nothing(studio_home: Path, tmp_path: Path):
    with serving(ScriptedTeacher({4: LIES["invented number"][0]})) as teacher:
        new = made_of(tmp_path, teacher, 12)
        job = work.job_for(new, [Teacher.from_dict(new.settings.teacher)])
        job.start()
        outcome = job.wait()
    assert outcome.state == "finished" and sorted(teacher.asked) == [0, 4, 8] and not _lines(new)
    [tried] = [event for event in job.events() if event["type"] == "teacher_tried"]
    assert (tried["place"], tried["pairs"], tried["passed"]) == (teacher.url, 3, 2)
    trial = work.trial_of(new)
    assert trial is not None and (trial.pairs, trial.passed, trial.is_good) == (3, 2, False)
