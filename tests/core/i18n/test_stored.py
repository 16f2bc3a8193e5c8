"""Sentences of files, in the language of whoever reads them."""

from __future__ import annotations

import copy
import doctest
import errno
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from slmstudio.core import errors, files, i18n, jobs
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import messages
from slmstudio.core.jobs.outcome import memory_advice, resume_advice
from slmstudio.core.run.config import RunConfig
from slmstudio.core.units import format_bytes
from slmstudio.worker.runtime.context import JobContext

HOSTILE = ({"msgid": "{x:>99999999}", "values": {"x": 1}}, {"msgid": "{x.__class__}", "values": {"x": 1}},
           {"msgid": "{x[0]}", "values": {"x": "a"}}, {"msgid": "{x:,}", "values": {"x": "a"}},
           {"msgid": "{x:,}", "values": {"x": None}}, {"msgid": "{", "values": {"x": 1}}, {"msgid": 3},
           {"values": [1]}, {"msgid": "{x:{x}}", "values": {"x": 9}}, {"many": "{n} rows"},
           {"many": "{n} rows", "values": {"n": "x"}}, {"msgid": "{x}", "values": {"x": {"no": "text"}}},
           {"msgid": "{x}" * 9, "values": {"x": "a" * 10_001}},
           {"msgid": "{what:body} ({path}){what:end}", "values": {"what": 3, "more": 4}})
OF_BEFORE = {"what": "Could not read it (/a).", "why": "Memory ran out. That makes 2 steps.", "msgids": {
    "what": {"msgid": "{what:body} ({path}){what:end}", "values": {
        "what": {"text": "Could not read it."}, "path": "/a"}},
    "why": {"msgid": "{s0} {s1}", "values": {"s0": {"text": "Memory ran out."}, "s1": {
        "text": "That makes 2 steps.", "msgid": "That makes {n:,} step.", "many": "That makes {n:,} steps.",
        "values": {"n": 2}}}}}}
"""As versions wrote it that left out an English message where it is the text."""


def through_a_file(record: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(files.dump_line(i18n.with_sources(record)))
    return read


def no_room() -> UserError:
    return errors.from_os_error(OSError(errno.ENOSPC, "No space left", "/data/रन/adapter"),
                                i18n.tr("Could not create the run folder."))


def out_of_memory() -> UserError:
    return UserError(
        i18n.tr("Memory ran out."), i18n.ntr("That makes {n:,} step.", "That makes {n:,} steps.", 123_456),
        i18n.join_sentences(memory_advice("train"), resume_advice("train", Path("run"))),
        [Problem(i18n.tr("{program} is using {size} of the GPU.", program="ollama", size=format_bytes(5 * 1024**3)), 7,
                 field="gpu")])


@pytest.mark.parametrize("make", [no_room, out_of_memory])
@pytest.mark.parametrize(("writer", "reader"), [("en", "hi"), ("hi", "en"), ("hi", "hi"), ("en", i18n.PSEUDO)])
def test_an_outcome_is_in_the_language_of_its_reader(make: Any, writer: str, reader: str, tmp_path: Path) -> None:
    i18n.use(writer)
    jobs.write_outcome(tmp_path, jobs.Outcome("failed", make().to_dict()))
    written = files.read_json(tmp_path / jobs.OUTCOME)
    assert written and written["error"]["what"] == make().what  # other programs read it as a text
    i18n.use(reader)
    outcome = jobs.Job(tmp_path).outcome()
    assert outcome is not None and str(outcome.user_error()) == str(make())


def test_warnings_and_reasons_are_in_the_language_of_their_reader(tmp_path: Path) -> None:
    i18n.use("hi")
    job = JobContext(tmp_path, {"kind": "train"})
    job.warn("change_refused", i18n.tr("The change wasn't made."))
    job.log("as it is")
    config = RunConfig(name="pune", model="m", train_file="t", reasons={
        "rank": i18n.tr("Any number will do; the same number repeats the run."), "epochs": "of an earlier version",
        "alpha": i18n.number_text(1_234_567)})
    state = json.loads(files.dump_pretty(config.to_dict()))
    i18n.use("en")
    first, second = jobs.EventReader(tmp_path).read()
    assert first["message"] == "The change wasn't made." and i18n.KEY not in first
    assert second["message"] == "as it is"
    read = RunConfig.from_dict(state)
    assert read.reasons == {"rank": "Any number will do; the same number repeats the run.",
                            "epochs": "of an earlier version", "alpha": "1,234,567"}
    i18n.use("hi")
    assert RunConfig.from_dict(json.loads(files.dump_pretty(read.to_dict()))) == config


def test_files_of_earlier_versions_are_read_in_every_language() -> None:
    english = i18n.retranslate(OF_BEFORE)
    assert english == {name: text for name, text in OF_BEFORE.items() if name != i18n.KEY}
    i18n.use("hi")
    assert i18n.retranslate(OF_BEFORE) == {
        "what": "Could not read it (/a).",  # no message of today
        "why": f"{i18n.tr('Memory ran out.')} {i18n.ntr('That makes {n:,} step.', 'That makes {n:,} steps.', 2)}"}


def test_what_this_language_cannot_say_stays_as_it_was_written() -> None:
    i18n.use("hi")
    written = i18n.tr("The change wasn't made.")
    record = through_a_file({"message": written})
    record["msgids"]["message"]["msgid"] = "It wasn't changed."  # as another version says it
    assert i18n.retranslate(record)["message"] == written
    i18n.use("en")
    assert i18n.retranslate(record)["message"] == "It wasn't changed."


@pytest.mark.parametrize("source", HOSTILE)
def test_a_damaged_or_hostile_file_says_what_its_text_says(source: dict[str, Any]) -> None:
    assert i18n.retranslate({"message": "kept", "msgids": {"message": source}}) == {"message": "kept"}


def test_laughs_do_not_multiply() -> None:
    source: dict[str, Any] = {"msgid": "ha" * 9}
    for _ in range(60):
        source = {"msgid": "{x}{x}", "values": {"x": {"text": "", **source}}}
    assert len(i18n.retranslate({"message": "kept", "msgids": {"message": source}})["message"]) < 50_000


@pytest.mark.parametrize("sources", [None, 3, [], {"message": 3}, {"other": {}}])
def test_what_says_nothing_about_sentences_is_passed_over(sources: Any) -> None:
    assert i18n.retranslate({"message": "kept", "msgids": sources}) == {"message": "kept"}


def test_values_are_written_as_json_has_them(tmp_path: Path) -> None:
    record = through_a_file({"a": i18n.tr("It is at {path}.", path=tmp_path),
                             "b": i18n.tr("{x:.1f} °C", x=float("nan"))})
    assert record["msgids"]["a"]["values"] == {"path": str(tmp_path)}
    assert i18n.retranslate(record) == {"a": f"It is at {tmp_path}.", "b": "nan °C"}


def test_copies_have_the_same_source() -> None:
    text = i18n.tr("It is at {path}.", path="/a")
    for copied in (copy.deepcopy(text), pickle.loads(pickle.dumps(text))):
        assert copied == text and copied.source == text.source


def test_the_examples() -> None:
    assert doctest.testmod(messages).failed == 0
