"""What the process that starts the others makes of their end, and of a wait that is cancelled."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from slmstudio.core import files, jobs
from slmstudio.core.jobs import processes
from slmstudio.core.run import launch
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.launch import agent, ranks_of
from slmstudio.worker.runtime import ending
from slmstudio.worker.runtime.context import Cancelled, JobContext


@pytest.fixture
def make_job(tmp_path):
    def make(**fields: object) -> JobContext:
        config = RunConfig(name="x", model="m", train_file="t", device="cpu", **fields)
        files.write_atomically(tmp_path / jobs.RUN, files.dump_pretty(config.to_dict()))
        return JobContext(tmp_path, jobs.Job(tmp_path).request())

    return make


@pytest.mark.parametrize(("said", "told"), [
    (jobs.Outcome("finished", result={"steps": 9}), "finished"), (jobs.Outcome("stopped"), "stopped"),
    (jobs.Outcome("paused"), "paused"), (jobs.Outcome("lost"), "crashed"), (None, "crashed")], ids=str)
def test_what_the_first_process_has_done_counts_though_another_crashes_as_it_leaves(make_job, monkeypatch, said, told):
    job = make_job(processes=2)

    def train(folder, config, meeting):
        if said is not None:
            ending.report_folder(folder, 0).mkdir(parents=True)
            jobs.write_outcome(ending.report_folder(folder, 0), said)
        return {1: -11}

    monkeypatch.setattr(ranks_of, "train", train)
    outcome = agent.run(job)
    assert outcome.state == told
    warned = [event["message"] for event in jobs.Job(job.folder).events() if event["type"] == "log"]
    if told == "crashed":
        assert outcome.user_error().what == "Process 2 of 2 crashed in a library (SIGSEGV)." and warned == []
    else:
        assert outcome == said and warned == ["Process 2 ended with -11 after the run's work was done.\n"]


@pytest.mark.parametrize("step", [None, 30])
def test_a_cancelled_wait_of_a_run_with_checkpoints_leaves_it_to_be_resumed(make_job, monkeypatch, step):
    job = make_job(nodes=2)
    launch.write(job.folder, "127.0.0.1", 4711)
    if step is not None:
        (job.folder / "checkpoints" / f"step-{step:06}").mkdir(parents=True)

    def meet(job, launched, number):
        raise Cancelled

    monkeypatch.setattr(ranks_of, "meet", meet)
    if step is None:
        with pytest.raises(Cancelled):
            agent.run(job)
    else:
        assert agent.run(job) == jobs.Outcome("stopped", result={"steps": step})


def test_a_command_sent_while_the_agent_waits_reaches_the_first_process(make_job):
    job = make_job(processes=2)
    began = jobs.commands_end(job.folder)
    jobs.Job(job.folder).send("stop")
    code = ("import json, sys; from pathlib import Path; from slmstudio.worker.runtime.context import JobContext; "
            "print(json.dumps(JobContext(Path(sys.argv[1]), {}).cancelled()))")

    def rank(**environment: str) -> bool:
        environment |= {"RANK": "0", "WORLD_SIZE": "2"}
        return json.loads(subprocess.run([sys.executable, "-P", "-c", code, str(job.folder)], check=True, text=True,
                                         env={**os.environ, **environment}, capture_output=True).stdout)

    assert rank(**{processes.COMMANDS_FROM: str(began)})
    assert not rank(), "it began after the command, with no agent before it"
