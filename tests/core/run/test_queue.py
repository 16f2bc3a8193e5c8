"""The queue as a list: order, what is left out, and what damaged files and two writers do to it."""

from __future__ import annotations

import json
import shutil
import threading

import pytest

from slmstudio.core import jobs
from slmstudio.core.errors import UserError
from slmstudio.core.run import folder, queue
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.time_estimate import SCALED, TimeEstimate


@pytest.fixture
def make_run(studio_home):
    def make(name="run", parent=None, **fields):
        return folder.create(RunConfig(name=name, model="m", train_file="t.jsonl", **fields), parent).folder

    return make


def names():
    return [entry.name for entry in queue.entries()]


def next_waiting():
    """The folder of the run whose turn is next."""
    return next((entry.folder for entry in queue.entries() if entry.state == "waiting"), None)


def end(run, state, pid=99_999_999, **fields):
    """As a worker leaves a folder."""
    jobs.write_process_file(run, pid)
    jobs.write_outcome(run, jobs.Outcome(state, **fields))


def test_runs_wait_in_their_order(make_run):
    assert queue.entries() == [] and next_waiting() is None
    first, second, third = make_run("एक"), make_run("two"), make_run("three")
    for run in (first, second, third):
        assert queue.add(run).state == "waiting"
    assert names() == ["एक", "two", "three"]
    queue.move(third, 0)
    assert names() == ["three", "एक", "two"]
    queue.move(third, 99)
    assert names() == ["एक", "two", "three"]
    queue.remove(second)
    assert names() == ["एक", "three"]
    queue.add(second, position=1)
    assert names() == ["एक", "two", "three"]
    assert next_waiting() == first
    assert second.is_dir()


def test_a_folder_that_is_gone_is_left_out(make_run):
    first, second = make_run("one"), make_run("two")
    queue.add(first)
    queue.add(second)
    shutil.rmtree(first)
    assert names() == ["two"]
    queue.move(second, 0)
    assert len(json.loads(queue.queue_file().read_bytes())["runs"]) == 1


def test_a_folder_that_is_no_run_any_more_is_left_out(make_run):
    run = make_run()
    queue.add(run)
    (run / jobs.RUN).write_text("{", encoding="utf-8")
    assert queue.entries() == []


@pytest.mark.parametrize("state", ["finished", "stopped", "cancelled"])
def test_what_is_done_leaves_the_queue(make_run, state):
    run = make_run()
    queue.add(run)
    end(run, state)
    assert queue.entries() == []


def test_what_failed_stays_and_is_not_tried_again_by_itself(make_run):
    run = make_run()
    queue.add(run)
    end(run, "failed", error=UserError("Memory ran out.").to_dict())
    assert [(entry.state, entry.error["what"]) for entry in queue.entries()] == [("failed", "Memory ran out.")]
    assert next_waiting() is None and queue.start_next() is None
    queue.add(run)
    assert next_waiting() == run
    assert len(queue.entries()) == 1


@pytest.mark.parametrize("state", ["stopped", "crashed", "failed", "paused"])
def test_a_run_that_was_cut_off_before_waits_for_its_turn(make_run, state):
    run = make_run()
    end(run, state)
    assert queue.add(run).state == "waiting"
    assert next_waiting() == run


def test_what_cannot_wait_is_refused(make_run, tmp_path):
    run = make_run()
    queue.add(run)
    with pytest.raises(UserError, match="is already in the queue"):
        queue.add(run)
    done = make_run("done")
    end(done, "finished")
    with pytest.raises(UserError, match="already finished"):
        queue.add(done)
    with pytest.raises(UserError, match="isn't a job"):
        queue.add(tmp_path / "absent")
    with pytest.raises(UserError, match="isn't in the queue"):
        queue.remove(done)
    with pytest.raises(UserError, match="isn't in the queue"):
        queue.move(done, 0)
    assert names() == ["run"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"runs": [1]}', '{"runs": [{"folder": 7}]}', "\x00"])
def test_a_damaged_list_is_named_and_not_written_over(make_run, content):
    run = make_run()
    queue.queue_file().write_text(content, encoding="utf-8")
    for act in (queue.entries, lambda: queue.add(run), queue.start_next):
        with pytest.raises(UserError, match="damaged"):
            act()
    assert queue.queue_file().read_text(encoding="utf-8") == content


def test_writers_at_the_same_time_lose_nothing(make_run):
    runs = [make_run(f"run {i}") for i in range(8)]
    threads = [threading.Thread(target=queue.add, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names()) == sorted(f"run {i}" for i in range(8))


def test_how_long_a_run_takes_is_kept_while_it_waits(make_run):
    time = TimeEstimate.around(600.0, SCALED)
    queue.add(make_run("known"), time=time)
    queue.add(make_run("unknown"))
    known, unknown = queue.entries()
    assert (known.time, unknown.time) == (time, None)
    assert known.to_dict().items() >= time.to_dict().items() and "seconds_low" not in unknown.to_dict()
