"""The queue with real child processes: one after another, whatever becomes of each, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.wait import until

from slmstudio.core import files, jobs
from slmstudio.core.run import folder, queue
from slmstudio.core.run.config import RunConfig

ROOT = Path(__file__).resolve().parent.parent.parent
FAKE = ROOT / "tests" / "support" / "fake_worker.py"


@pytest.fixture
def make_run(studio_home):
    made = []

    def make(name="run", **fields):
        made.append(folder.create(RunConfig(name=name, model="m", train_file="t.jsonl", **fields)))
        return made[-1].folder

    yield make
    for job in made:
        job.kill()


@pytest.fixture
def plays(tmp_path, monkeypatch):
    """`plays({"one": "start steps:3 finish"})`: what the worker does in the run of that name."""

    def choose(words: dict[str, str]) -> None:
        starter = tmp_path / "starter.py"
        starter.write_text(
            "import json, os, sys\n"
            f"name = json.loads(open(os.path.join(sys.argv[1], 'run.json'), 'rb').read())['name']\n"
            f"os.environ['FAKE_WORKER'] = {words!r}[name]\n"
            f"os.execv(sys.executable, [sys.executable, {str(FAKE)!r}, sys.argv[1]])\n", encoding="utf-8")
        monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, str(starter)]))

    return choose


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "slmstudio", *map(str, arguments)], cwd=ROOT, text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**os.environ, "PYTHONPATH": str(ROOT)})


def result(process: subprocess.Popen[str], status: int = 0) -> dict:
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert "Traceback" not in err
    return json.loads(out.splitlines()[-1])


def steps_of(run: Path) -> int:
    return sum(event["type"] == "step" for event in jobs.Job(run).events())


def test_one_run_at_a_time(make_run, plays):
    plays({"one": "start plan:100000 steps:100000@1", "two": "start steps:2 finish"})
    first, second = make_run("one"), make_run("two")
    queue.add(first)
    queue.add(second)
    job = queue.start_next()
    assert job.folder == first
    assert queue.start_next() is None
    assert [entry.state for entry in queue.entries()] == ["running", "waiting"]
    assert queue.at_work().folder == first
    # A worker passes over what was asked before it began.
    until(lambda: any(event["type"] == "step" for event in jobs.EventReader(job.folder).read()), "the first step")
    job.send("stop")
    assert job.wait().state == "stopped"
    following = queue.start_next()
    assert following.folder == second
    assert following.wait().state == "finished"
    assert queue.entries() == [] and queue.start_next() is None


def test_two_windows_start_one_run(make_run, plays):
    plays({"one": "start plan:100000 steps:100000@1", "two": "start plan:100000 steps:100000@1"})
    for name in ("one", "two"):
        queue.add(make_run(name))
    started = []
    threads = [threading.Thread(target=lambda: started.append(queue.start_next())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([job for job in started if job is not None]) == 1


def test_a_worker_that_cannot_be_started_does_not_hold_up_the_others(make_run, monkeypatch):
    for name in ("one", "two"):
        queue.add(make_run(name))
    monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([str(ROOT / "no such program")]))
    assert queue.start_next() is None
    assert [(entry.state, "couldn't be started" in entry.error["what"]) for entry in queue.entries()] == [
        ("failed", True)] * 2


def test_the_terminal_works_through_the_queue(told, make_run, plays):
    plays({"one": "start steps:3 error", "two": "start steps:2 die", "three": "start steps:2 finish"})
    runs = [make_run(name) for name in ("one", "two", "three")]
    for run in runs:
        assert told("queue", "add", run)["state"] == "waiting"
    listed = told("queue", "list")["queue"]
    assert [entry["run_dir"] for entry in listed] == [str(run) for run in runs]
    done = told("queue", "run", status=1)
    assert [(run["name"], run["outcome"]) for run in done["runs"]] == [
        ("one", "failed"), ("two", "crashed"), ("three", "finished")]
    assert "micro-batch" in done["runs"][0]["error"]["remedy"]
    assert done["waiting"] == []
    assert [entry["state"] for entry in told("queue", "list")["queue"]] == ["failed", "crashed"]
    assert told("queue", "remove", runs[0])["removed"] == str(runs[0])
    assert [entry.folder for entry in queue.entries()] == [runs[1]]


def test_ctrl_c_stops_the_run_at_work_and_keeps_the_others(make_run, plays):
    plays({"one": "start plan:100000 steps:100000@1", "two": "start steps:2 finish"})
    first, second = make_run("one"), make_run("two")
    for run in (first, second):
        queue.add(run)
    process = start("queue", "run", "--json")
    try:
        for line in process.stderr:
            if line.startswith("step 10/"):
                break
        process.send_signal(signal.SIGINT)
        done = result(process)
    finally:
        process.kill()
    assert [run["outcome"] for run in done["runs"]] == ["stopped"]
    assert done["waiting"] == [str(second)]
    assert [entry.state for entry in queue.entries()] == ["waiting"]
    assert steps_of(second) == 0 and not (second / jobs.PROCESS).exists()


def test_it_waits_for_a_run_that_is_no_part_of_it(make_run, plays):
    plays({"other": "start plan:100000 steps:100000@1", "mine": "start steps:2 finish"})
    other, mine = jobs.Job(make_run("other")), make_run("mine")
    other.start()
    queue.add(mine)
    process = start("queue", "run", "--json")
    try:
        for line in process.stderr:
            if line.startswith("Waiting for"):
                break
        assert steps_of(mine) == 0
        other.send("stop")
        assert [run["name"] for run in result(process)["runs"]] == ["mine"]
    finally:
        process.kill()


def test_a_configuration_becomes_a_run_folder(told, studio_home, tiny_model, rows_file, tmp_path):
    config = RunConfig(name="from a file", model=str(tiny_model), train_file=str(rows_file))
    file = tmp_path / "run.json"
    files.write_atomically(file, files.dump_pretty(config.to_dict()))
    added = told("queue", "add", file)
    assert 0 < added["seconds_low"] < added["seconds_high"]
    assert Path(added["run_dir"]).parent == studio_home / "runs"
    assert told("queue", "move", added["run_dir"], 1)["queue"] == [added]
    assert told("queue", "add", added["run_dir"], status=2)["error"]["what"].startswith(
        "from a file is already in the queue")


def test_code_and_continue_on_the_command_line(told, make_run, studio_home, tiny_model, rows_file, tmp_path):
    from slmstudio.core.run import checkpoints

    config = RunConfig(name="done", model=str(tiny_model), train_file=str(rows_file))
    run = folder.create(config).folder
    (run / "adapter").mkdir()
    (run / "adapter" / "adapter_config.json").write_text("{}", encoding="utf-8")
    checkpoints.seal(run / "adapter", 3)
    jobs.write_outcome(run, jobs.Outcome("finished"))
    written = told("code", run, "--out", tmp_path / "script.py")
    assert Path(written["out"]).is_file() and Path(written["train_file"]).is_file()
    following = told("continue", run, "--data", rows_file, "--epochs", 2, "--set", "seed=7", "--out",
                                 tmp_path / "next.json")
    assert following["config"]["start_from"] == str(run) and following["config"]["seed"] == 7
    assert RunConfig.from_dict(files.read_json(tmp_path / "next.json")).epochs == 2
    refused = told("continue", run, "--set", "lora_rank=3", "--epochs", -1, "--out", tmp_path / "n.json", status=2)
    assert {problem["field"] for problem in refused["error"]["problems"]} == {"lora_rank", "epochs"}
