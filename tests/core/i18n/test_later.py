"""Sentences of files, in the language of whoever reads them."""

from __future__ import annotations

import copy
import doctest
import errno
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slmstudio.core import errors, files, i18n, jobs
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import later
from slmstudio.core.jobs import advice
from slmstudio.core.run.config import RunConfig
from slmstudio.core.units import format_bytes
from slmstudio.worker.runtime.context import JobContext


@pytest.fixture(autouse=True)
def english_afterwards() -> Iterator[None]:
    yield
    i18n.use("en")


def through_a_file(record: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(files.dump_line(i18n.kept(record)))
    return read


def no_room() -> UserError:
    return errors.from_os_error(OSError(errno.ENOSPC, "No space left", "/data/रन/adapter"),
                                i18n.tr("Could not create the run folder."))


def out_of_memory() -> UserError:
    return UserError(
        i18n.tr("Memory ran out."), i18n.ntr("That makes {n:,} step.", "That makes {n:,} steps.", 123_456),
        i18n.together(advice.need_less("train"), advice.go_on("train", Path("run"))),
        [Problem(i18n.tr("{program} is using {size} of the GPU.", program="ollama", size=format_bytes(5 * 1024**3)), 7,
                 field="gpu")])


@pytest.mark.parametrize("make", [no_room, out_of_memory])
@pytest.mark.parametrize(("writer", "reader"), [("en", "hi"), ("hi", "en"), ("hi", "hi"), ("en", i18n.PSEUDO)])
def test_an_outcome_speaks_the_language_of_its_reader(make: Any, writer: str, reader: str, tmp_path: Path) -> None:
    i18n.use(writer)
    jobs.write_outcome(tmp_path, jobs.Outcome("failed", make().to_dict()))
    written = files.read_json(tmp_path / jobs.OUTCOME)
    assert written and written["error"]["what"] == make().what  # other programs read it as a text
    i18n.use(reader)
    outcome = jobs.Job(tmp_path).outcome()
    assert outcome is not None and str(outcome.user_error()) == str(make())


def test_an_outcome_in_memory_follows_the_language_too() -> None:
    outcome = jobs.Outcome.read({"state": "failed", "error": through_a_file(out_of_memory().to_dict())})
    i18n.use("hi")
    assert str(outcome.user_error()) == str(out_of_memory())


def test_warnings_of_a_run_speak_the_language_of_its_reader(tmp_path: Path) -> None:
    i18n.use("hi")
    job = JobContext(tmp_path, {"kind": "train"})
    job.warn("change_refused", i18n.tr("The change wasn't made."))
    job.log("as it is")
    i18n.use("en")
    first, second = jobs.EventReader(tmp_path).read()
    assert first["message"] == "The change wasn't made." and i18n.KEY not in first
    assert second["message"] == "as it is"


def test_reasons_speak_the_language_of_their_reader() -> None:
    config = RunConfig(name="pune", model="m", train_file="t", reasons={
        "rank": i18n.tr("You set this."), "epochs": "of an earlier version",
        "alpha": i18n.number_text(1_234_567)})
    state = json.loads(files.dump_pretty(config.to_dict()))
    i18n.use("hi")
    read = RunConfig.from_dict(state)
    assert {name: i18n.again(reason) for name, reason in read.reasons.items()} == {
        "rank": i18n.tr("You set this."), "epochs": "of an earlier version", "alpha": "12,34,567"}
    assert RunConfig.from_dict(json.loads(files.dump_pretty(read.to_dict()))) == config


def test_what_this_language_cannot_say_stays_as_it_was_written() -> None:
    i18n.use("hi")
    record = through_a_file({"message": i18n.tr("You set this.")})
    record["msgids"]["message"]["msgid"] = "You set this yourself."  # as another version says it
    assert i18n.spoken(record)["message"] == i18n.tr("You set this.")
    i18n.use("en")
    assert i18n.spoken(record)["message"] == "You set this yourself."


@pytest.mark.parametrize("how", [
    {"msgid": "{x:>99999999}", "values": {"x": 1}}, {"msgid": "{x.__class__}", "values": {"x": 1}},
    {"msgid": "{x[0]}", "values": {"x": "a"}}, {"msgid": "{x:,}", "values": {"x": "a"}},
    {"msgid": "{x:,}", "values": {"x": None}}, {"msgid": "{", "values": {"x": 1}}, {"msgid": 3}, {"values": [1]},
    {"msgid": "{x:{x}}", "values": {"x": 9}}, {"many": "{n} rows"}, {"many": "{n} rows", "values": {"n": "x"}},
    {"msgid": "{x}", "values": {"x": {"no": "text"}}},
    {"msgid": "{x}" * 9, "values": {"x": "a" * 10_001}},
])
def test_a_damaged_or_hostile_file_says_what_its_text_says(how: dict[str, Any]) -> None:
    assert i18n.spoken({"message": "kept", "msgids": {"message": how}}) == {"message": "kept"}


def test_laughs_do_not_multiply() -> None:
    how: dict[str, Any] = {"msgid": "ha" * 9}
    for _ in range(60):
        how = {"msgid": "{x}{x}", "values": {"x": {"text": "", **how}}}
    assert len(i18n.spoken({"message": "kept", "msgids": {"message": how}})["message"]) < 50_000


@pytest.mark.parametrize("said", [None, 3, [], {"message": 3}, {"other": {}}])
def test_what_says_nothing_about_sentences_is_passed_over(said: Any) -> None:
    assert i18n.spoken({"message": "kept", "msgids": said})["message"] == "kept"


def test_values_are_kept_as_json_has_them(tmp_path: Path) -> None:
    record = through_a_file({"a": i18n.tr("It is at {path}.", path=tmp_path),
                             "b": i18n.tr("{x:.1f} °C", x=float("nan"))})
    assert record["msgids"]["a"]["values"] == {"path": str(tmp_path)}
    assert i18n.spoken(record) == {"a": f"It is at {tmp_path}.", "b": "nan °C"}


def test_a_copy_knows_it_as_well() -> None:
    said = i18n.tr("You set this.")
    for copied in (copy.deepcopy(said), pickle.loads(pickle.dumps(said))):
        i18n.use("hi")
        assert i18n.again(copied) == i18n.tr("You set this.") != said


def test_the_examples() -> None:
    assert doctest.testmod(later).failed == 0
