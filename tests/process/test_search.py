"""A search for better settings with real child processes: killed anywhere and continued, nothing is trained twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.wait import until

from slmstudio.core import jobs, paths
from slmstudio.core.evaluation import scoring, search_end
from slmstudio.core.run import folder, queue
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.searching import search
from slmstudio.core.run.searching.search import Search

ROOT = Path(__file__).resolve().parent.parent.parent
FAKE = ROOT / "tests" / "support" / "fake_worker.py"
PLAYS = {2: "start plan:20 steps:20 loss:nan error", 3: "start plan:20 steps:20 die"}
"""By candidate, where it doesn't end well; of the others, the eval loss falls with the learning rate."""


@pytest.fixture
def new_search(studio_home, rows_file, tmp_path, monkeypatch):
    """`new_search(count)`: a search of so many candidates on two rungs, whose workers play."""
    starter = tmp_path / "starter.py"
    starter.write_text(
        "import json, os, runpy, sys\n"
        "state = json.loads(open(os.path.join(sys.argv[1], 'run.json'), 'rb').read())"
        " if os.path.exists(os.path.join(sys.argv[1], 'run.json')) else {'name': '', 'learning_rate': 0}\n"
        "steps = 20 * round(state['learning_rate'] * 1000)\n"
        f"play = {PLAYS!r}.get(int(state['name'].rpartition('.')[2] or -1),"
        " f'start plan:{steps} steps:{steps}@1 finish')\n"
        "os.environ['FAKE_WORKER'] = play\n"
        f"sys.path.insert(0, {str(FAKE.parent)!r})\n"
        f"runpy.run_path({str(FAKE)!r}, run_name='__main__')\n", encoding="utf-8")
    monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, str(starter)]))

    def make(count: int, seconds: float = 1e6) -> Search:
        rates = [{"learning_rate": (number + 1) / 1000} for number in range(1, count)]
        base = RunConfig(name="helpdesk", model="m", train_file=str(rows_file), learning_rate=1e-3)
        rows = {"training": 40, "choosing": 5, "final": 5}
        designed = Search(Path(), base, {"learning_rate": "1e-3..5e-3"}, seconds, 0, 2, count, [{}, *rates],
                          [[1.0, 3.0]] * count, 1.0, rows)
        from slmstudio.core.data.reader import read_as

        records = read_as(rows_file, None).records
        return search.create(designed, dict.fromkeys(rows, records[:4]))

    yield make
    for place, _ in folder.requests():
        jobs.Job(place).kill()


def begin(place: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-P", "-m", "slmstudio", "tune", "--resume", place.name, "--json"],
                            cwd=ROOT, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})


def starts() -> dict[str, int]:
    """How often each run was begun, by its name."""
    return {str(state["name"]): sum(event["type"] == "job_started" for event in jobs.Job(place).events())
            for place, state in folder.requests()}


@pytest.mark.full
def test_killed_on_every_rung_it_continues_and_repeats_nothing(new_search):
    place = new_search(5).folder
    for name in (f"{place.name} 1.1", f"{place.name} 2.4"):
        program = begin(place)
        try:
            until(lambda name=name: starts().get(name), f"trial {name} to begin")
        finally:
            program.kill()
            program.communicate()
        running = folder.running()
        if running is not None:
            running.kill()
        assert search.read(place).state == search.RUNNING
    out, err = begin(place).communicate(timeout=200)
    found = json.loads(out.splitlines()[-1])
    assert "Traceback" not in err
    lost = {2: search.FAILED, 3: search.FAILED}
    assert {(each["place"], each["candidate"]): each["state"] for each in found["trials"]} == {
        **{(0, each): lost.get(each, search.ENDED) for each in range(5)},
        **{(1, each): search.ENDED for each in (0, 4, 1)}}
    assert found["state"] == search.FINISHED and found["best"] == 4
    assert found["values"] == {"learning_rate": 5e-3}
    assert found["verdict"]["case"] in ("better", "worse", "unknown")
    begun = starts()
    assert len(begun) == len(found["trials"]), "a trial was made twice"
    # Those that were killed were resumed once, the one that always dies was given up, and no other began twice.
    assert {name.rpartition(" ")[2]: count for name, count in begun.items() if count > 1} == {
        "1.1": 2, "2.4": 2, "1.3": search.TRIES}
    assert queue.entries() == []
    made = [path for place_, _ in folder.requests() for path in (place_ / "jobs").glob("evaluate-*")]
    assert {Path(path).parent.parent for path in made} == {search.read(place).run_of(0), search.read(place).run_of(4)}
    assert {jobs.Job(path).request()["test"] for path in made} == {str(place / "final.jsonl")}


def test_ctrl_c_lets_the_trial_save_and_the_search_continue(new_search):
    place = new_search(2).folder
    program = begin(place)
    until(lambda: any(event["type"] == "step" for run, _ in folder.requests() for event in jobs.Job(run).events()),
          "a step")
    program.send_signal(signal.SIGINT)
    out, _ = program.communicate(timeout=60)
    assert program.returncode == 1 and json.loads(out.splitlines()[-1])["state"] == search.STOPPED
    assert [entry.state for entry in queue.entries() if entry.state != "paused"] == []
    assert search_end.advance(place) is None and folder.running() is None, "nothing begins while it is stopped"
    out, _ = begin(place).communicate(timeout=100)
    found = json.loads(out.splitlines()[-1])
    assert (found["state"], found["best"], len(found["trials"])) == (search.FINISHED, 1, 4)


def test_without_time_only_the_plan_and_one_other_are_trained(new_search, told):
    new_search(5, seconds=0.0)
    assert len(told("queue", "run")["runs"]) == 4
    found = told("tune")["searches"][0]
    assert [(each["place"], each["candidate"]) for each in found["trials"]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert found["state"] == search.FINISHED


@pytest.mark.full
def test_a_real_search_scores_its_best_on_rows_that_no_choice_saw(told, tiny_model, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(b"".join(paths.starter_train_file().read_bytes().splitlines(True)[:40]))
    found = told("tune", rows, "--model", tiny_model, "--minutes", 2, "--field", "learning_rate=1e-4,1e-2",
                 "--set", "epochs=2", "--set", "device=cpu")
    assert found["state"] == search.FINISHED and len(found["trials"]) >= 2
    assert found["best"] == min((each["loss"], each["candidate"]) for each in found["trials"]
                                if each["place"] == found["rounds"] - 1 and each["loss"] is not None)[1]
    parts = [set((Path(found["folder"]) / f"{name}.jsonl").read_bytes().splitlines())
             for name in ("training", "choosing", "final")]
    assert len(set.union(*parts)) == 40 == sum(map(len, parts))
    job = jobs.Job(next((search.read(Path(found["folder"])).run_of(found["best"]) / "jobs").glob("evaluate-*")))
    assert scoring.read_scores(job.folder)["test"]["rows"] == len(parts[2])
