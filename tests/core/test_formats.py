"""Formats of kept files: a newer one is refused, and isn't lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from slmstudio.core import files, formats, jobs, paths, settings
from slmstudio.core.chat.conversation import Conversation, read_chats, save_chat
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import scoring
from slmstudio.core.report import evaluations
from slmstudio.core.report.gather import gather
from slmstudio.core.run import adjust, checkpoints, config_file, folder, notes, queue
from slmstudio.core.run.config import RunConfig
from slmstudio.core.settings import Settings
from slmstudio.core.votes import store as votes

MODEL = votes.VotedModel("a", "/a.gguf", 1, "00")
VOTE = votes.Vote(1.0, (votes.Answer(MODEL, (), "A"), votes.Answer(MODEL, (), "B")), 1, (0, 1), votes.ALL_GOOD, None,
                  True)
NEWER = {kind: {known.key: known.format + 1} for kind, known in formats.KINDS.items()}


@pytest.fixture
def job(studio_home: Path) -> jobs.Job:
    return folder.create(RunConfig(name="trial", model="m", train_file="t.jsonl"))


def put(path: Path, state: dict) -> Path:
    """Write a file, or change what is in it."""
    files.write_atomically(path, files.dump_pretty({**(files.read_json(path) or {}), **state}))
    return path


@pytest.mark.parametrize("kind", formats.KINDS)
def test_a_newer_format_is_refused_in_a_sentence(kind, tmp_path):
    with pytest.raises(formats.NewerFormat) as caught:
        formats.check(kind, NEWER[kind], tmp_path / "a-run" / "file.json")
    known = formats.KINDS[kind]
    assert caught.value.what == (
        f"file.json{' of a-run' if known.of_folder else ''} was written by a newer SLM Studio.")
    assert caught.value.why == f"Its format is {known.format + 1}; this program reads up to {known.format}."
    assert "Update SLM Studio" in caught.value.remedy


@pytest.mark.parametrize("kind", formats.KINDS)
@pytest.mark.parametrize("wrong", ["1", None, True, 0, -3, 1.5, [1], {}], ids=repr)
def test_a_stamp_that_is_no_format_is_told(kind, wrong, tmp_path):
    with pytest.raises(UserError, match="can't be used") as caught:
        formats.check(kind, {formats.KINDS[kind].key: wrong}, tmp_path / "file.json")
    assert not isinstance(caught.value, formats.NewerFormat) and "isn't a whole number" in caught.value.why


@pytest.mark.parametrize("kind", formats.KINDS)
def test_todays_files_are_left_as_they_are(kind):
    state = {**formats.stamp(kind), "kept": 1}
    assert formats.check(kind, state, "It") is state


def test_a_run_without_any_stamp_is_read(job):
    state = files.read_json(job.folder / jobs.RUN)
    bare = {key: value for key, value in state.items() if key not in ("format", "protocol")}
    files.write_atomically(job.folder / jobs.RUN, files.dump_pretty(bare))
    files.append_line(job.folder / jobs.EVENTS, {"time": 1.0, "type": "step", "global_step": 4, "train_loss": 2.0})
    (summary,) = folder.all_runs()
    assert summary.config.name == "trial" and summary.steps == 4


# -- what is newer is neither lost nor guessed at ----------------------------------------------------------


def test_newer_settings_are_kept_aside_and_told(studio_home):
    file = put(paths.settings_file(), {"format": 9, "theme": "dark", "colours": ["new"]})
    content = file.read_bytes()
    assert settings.load(put_aside=False)[0] == Settings() and file.read_bytes() == content
    loaded, trouble = settings.load()
    assert loaded == Settings()
    loaded.save()
    (aside,) = studio_home.glob("settings.json.newer-*")
    assert aside.read_bytes() == content and aside.name in trouble.remedy
    assert "newer SLM Studio" in trouble.what and "Its format is 9" in trouble.why
    assert settings.load() == (Settings(), None)


def newer_line(path: Path, kind: str) -> None:
    files.append_line(path, {"time": 1.0, "type": "step", **NEWER[kind]})


IN_A_RUN = {
    "run": lambda run: put(run / jobs.RUN, NEWER["run"]),
    "outcome": lambda run: put(run / jobs.OUTCOME, {"state": "finished", **NEWER["job"]}),
    "events": lambda run: newer_line(run / jobs.EVENTS, "job"),
}


@pytest.mark.parametrize("make_newer", IN_A_RUN.values(), ids=IN_A_RUN)
def test_a_newer_run_is_named_and_hides_no_other(job, make_newer):
    make_newer(job.folder)
    other = folder.create(RunConfig(name="other", model="m", train_file="t.jsonl"))
    seen = []
    assert [run.folder for run in folder.all_runs(passed_over=lambda *each: seen.append(each))] == [other.folder]
    ((path, error),) = seen
    assert path == job.folder and "newer SLM Studio" in error.what and job.folder.name in error.what


def test_a_run_that_waits_stays_in_the_queue_when_a_newer_program_changes_it(job):
    queue.add(job.folder)
    put(job.folder / jobs.RUN, NEWER["run"])
    other = queue.add(folder.create(RunConfig(name="other", model="m", train_file="t.jsonl")).folder)
    (failed, waiting) = queue.entries()
    assert failed.folder == job.folder and failed.state == "failed" and "newer" in failed.error["what"]
    assert waiting.folder == other.folder


def parity_of(run: Path) -> None:
    (run / "exports").mkdir()
    (run / "exports" / "a.gguf").write_bytes(b"GGUF")
    put(run / "exports" / "a.parity.json", NEWER["parity"])


def checkpoint_of(run: Path) -> None:
    with checkpoints.writing(run / "checkpoints", 7, None) as partial:
        (partial / "x").write_text("x")
    put(run / "checkpoints" / "step-000007" / checkpoints.MANIFEST, NEWER["checkpoint"])


def evaluation_of(run: Path) -> None:
    evaluation = jobs.Job.create(run / "jobs" / "evaluate", "evaluate", models=[])
    put(evaluation.folder / scoring.SCORES, {"models": [], **NEWER["scores"]})


READERS = {
    "run": (lambda run: put(run / jobs.RUN, NEWER["run"]), config_file.load),
    "adjustments": (lambda run: put(run / adjust.FILE, NEWER["adjustments"]),
                    lambda run: adjust.record(run, {"epochs": 2})),
    "notes": (lambda run: put(run / notes.FILE, NEWER["notes"]), notes.read),
    "notes, written": (lambda run: put(run / notes.FILE, NEWER["notes"]), lambda run: notes.write(run, notes.Notes())),
    "parity": (parity_of, gather),
    "checkpoint": (checkpoint_of, lambda run: checkpoints.newest_good(run / "checkpoints", lambda *each: None)),
    "scores": (evaluation_of, evaluations.read_evaluations),
    "queue": (lambda run: put(queue.queue_file(), {"runs": [], **NEWER["queue"]}), queue.add),
    "vote": (lambda run: newer_line(paths.votes_file(), "vote"), lambda run: votes.read()),
    "vote, added": (lambda run: newer_line(paths.votes_file(), "vote"), lambda run: votes.add(VOTE)),
}


@pytest.mark.parametrize(("make_newer", "use"), READERS.values(), ids=READERS)
def test_a_newer_file_is_neither_used_nor_changed(job, make_newer, use):
    make_newer(job.folder)
    before = {path: path.read_bytes() for path in paths.home().rglob("*.json*")}
    with pytest.raises(formats.NewerFormat):
        use(job.folder)
    assert {path: path.read_bytes() for path in paths.home().rglob("*.json*")} == before


def test_a_newer_conversation_is_named_beside_the_others(studio_home):
    path = put(paths.chats_dir() / "newer.json", {"lanes": [], "created": 1.0, "settings": {}, **NEWER["chat"]})
    save_chat(Conversation(2.0, {}, []), paths.chats_dir() / "own.json")
    found, refused = read_chats(paths.chats_dir())
    assert [each[0].name for each in found] == ["own.json"]
    assert [(each, type(error)) for each, error in refused] == [(path, formats.NewerFormat)]
