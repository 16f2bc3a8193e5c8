"""Lets a teacher write questions and answers about each passage of a project, and checks them.

Request: {"kind": "documents", "project": its folder, which is the job's, "models": [what `teacher.Teacher.spec` names],
"sources": files and folders that are read where that wasn't done before, "addresses": of a server, "trial": whether
each model is only tried on a few passages}.

What is finished is in the project's made.jsonl, so a killed job continues with the next passages.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slmstudio.core import jobs
from slmstudio.core.data.languages import LATIN, guess
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.documents import project as projects
from slmstudio.core.documents import prompting, reading, teacher
from slmstudio.core.documents.evidence import (
    MOST_ANSWER,
    MOST_QUESTION,
    Draft,
    Questions,
    check,
    is_repeated,
    states_nothing,
)
from slmstudio.core.documents.passages import Passage, token_count
from slmstudio.core.documents.project import MADE, Project, Settings
from slmstudio.core.documents.teacher import TRIED, Teacher, Trial
from slmstudio.worker.answering.control import EvaluationControl, LineLog
from slmstudio.worker.documents.teachers import Gate, Prompt, TeacherAtWork, open_teacher
from slmstudio.worker.runtime.context import Cancelled, JobContext

PAIR = 130
"""Tokens of a question with its answer in Latin script; others take about twice as many."""
LATIN_LANGUAGES = frozenset({"en", "de", "fr", "es", "pt", "it", "nl", "id", "vi", "tr", "pl"})
AGAIN = 96
"""Tokens of an answer from the quotation alone."""
WRITING = 0.8
"""Share of a batch's time that writing takes; answering again takes the rest."""
Pairs = list[dict[str, Any]]


def run(job: JobContext) -> dict[str, Any]:
    """
    Returns:
        {"pairs": all that are there, "left_out": those with a doubt}; of a trial {"trials": {place: Trial}}.

    Raises:
        UserError: a document or the teacher can't be used.
    """
    project = projects.open(Path(job.request["project"]))
    if not project.is_read:
        job.phase("reading")
        try:
            reading.read_into(project, lambda done, total: job.progress(done, total, "bytes", "reading"), job.cancelled)
        except ReadingCancelled as error:
            raise Cancelled from error
    return _try(job, project) if job.request.get("trial") else _make(job, project)


def _make(job: JobContext, project: Project) -> dict[str, Any]:
    log = LineLog(project.folder / MADE, key=lambda line: line["passage"])
    passages = project.passages()
    waiting = [key for key in passages if key not in log.keys]
    known = Questions()
    left_out = pairs = 0
    for pair in project.pairs():
        pairs, left_out = pairs + 1, left_out + bool(pair.doubts)
        if "near_duplicate" not in pair.doubts:
            known.add(pair.question)
    control = EvaluationControl(job, len(passages), "passages", "documents")
    control.skip(len(passages) - len(waiting))
    at_work = None
    try:
        if waiting:
            at_work = _opened(job, job.request["models"][0])
        began = time.monotonic()
        for begin in range(0, len(waiting), at_work.at_once if at_work else 1):
            assert at_work is not None
            part = [passages[key] for key in waiting[begin:begin + at_work.at_once]]

            def gate(share: float, size: int = len(part)) -> None:
                control.gate(share, size, size, "writing")

            made = Maker(at_work, project.settings, known).pairs(part, gate)
            log.write({"passage": passage.id, "pairs": made[passage.id]} for passage in part)
            pairs += sum(map(len, made.values()))
            left_out += sum(bool(each["doubts"]) for own in made.values() for each in own)
            control.add(len(part), len(part), "writing")
            job.emit("documents_progress", done=control.done, total=control.total, pairs=pairs, left_out=left_out,
                     seconds_left=control.seconds_left)
        if waiting:
            took = (time.monotonic() - began - control.paused_seconds) / len(waiting)
            teacher.keep_trial(project.folder, Teacher.from_dict(project.settings.teacher),
                               Trial(pairs, pairs - left_out, took))
    finally:
        control.close()
        if at_work is not None:
            at_work.close()
    return {"pairs": pairs, "left_out": left_out}


def _opened(job: JobContext, spec: dict[str, Any]) -> TeacherAtWork:
    job.phase(jobs.LOADING, str(spec.get("name") or spec.get("model") or ""))
    found = open_teacher(job, spec)
    job.check_cancelled()
    return found


def _try(job: JobContext, project: Project) -> dict[str, Any]:
    """Let each model write about the same few passages, evenly spread."""
    keys = list(project.passages())
    chosen = [project.passages()[keys[at]] for at in sorted({len(keys) * each // TRIED for each in range(TRIED)})
              ] if keys else []
    control = EvaluationControl(job, len(chosen) * len(job.request["models"]), "passages", "documents")
    found = {}
    try:
        for spec, state in zip(job.request["models"], job.request["trial"], strict=True):
            with contextlib.closing(_opened(job, spec)) as at_work:
                began = time.monotonic()

                def gate(share: float) -> None:
                    control.gate(share, len(chosen), len(chosen), "trying")

                made = Maker(at_work, project.settings, Questions()).pairs(chosen, gate)
            pairs = [each for own in made.values() for each in own]
            trial = Trial(len(pairs), sum(not each["doubts"] for each in pairs),
                          (time.monotonic() - began) / max(1, len(chosen)))
            tried = Teacher.from_dict(state)
            teacher.keep_trial(project.folder, tried, trial)
            control.add(len(chosen), len(chosen), "trying")
            found[tried.place] = {"pairs": trial.pairs, "passed": trial.passed, "seconds": trial.seconds}
            job.emit("teacher_tried", place=tried.place, **found[tried.place])
    finally:
        control.close()
    return {"trials": found}


class Maker:
    """Makes the pairs of some passages together.

    Args:
        known: questions that were asked before; those that pass are added.
    """

    def __init__(self, at_work: TeacherAtWork, settings: Settings, known: Questions):
        self._teacher, self._settings, self._known = at_work, settings, known

    def pairs(self, passages: Sequence[Passage], gate: Gate) -> dict[str, Pairs]:
        """The pairs of each passage with their doubts, as made.jsonl has them."""
        asked = [(passage, language) for passage in passages if prompting.quotable(passage.text)
                 for language in self._languages(passage)]
        outputs = self._teacher.complete([self._prompt(*each) for each in asked],
                                         lambda share: gate(WRITING * share)) if asked else []
        made: list[tuple[Passage, Draft, list[str]]] = []
        for (passage, language), output in zip(asked, outputs, strict=True):
            drafts = prompting.parse(output.text, language, self._settings.kinds)
            if not drafts:
                made.append((passage, Draft(self._settings.kinds[0], language, output.text[:MOST_QUESTION], "", ""),
                             ["malformed"]))
            for draft in drafts[:self._settings.per_passage]:
                made.append((passage, draft, self._doubts(draft, passage)))
        self._ask_again(made, lambda share: gate(WRITING + (1 - WRITING) * share))
        found: dict[str, Pairs] = {passage.id: [] for passage in passages}
        for passage, draft, doubts in made:
            # Whatever a teacher writes without an end, a person sees only where it begins.
            found[passage.id].append({
                "kind": draft.kind, "language": draft.language, "question": draft.question[:2 * MOST_QUESTION],
                "answer": draft.answer[:2 * MOST_ANSWER], "quotation": draft.quotation[:2 * MOST_ANSWER],
                "doubts": doubts})
        return found

    def _languages(self, passage: Passage) -> Sequence[str]:
        own = guess(passage.text)
        return self._settings.languages or (own if own not in (None, LATIN) else "en",)

    def _prompt(self, passage: Passage, language: str) -> Prompt:
        """Room for the passage's longest quotation, a question and an answer of two sentences, and their names."""
        kinds, count = self._settings.kinds, self._settings.per_passage
        quoted = max(map(token_count, prompting.quotable(passage.text)))
        most = count * (round(1.5 * quoted) + (PAIR if language in LATIN_LANGUAGES else 2 * PAIR))
        return Prompt(prompting.ask(passage, kinds, language, count), most,
                      prompting.grammar(passage, kinds, count), prompting.schema(passage, kinds, count),
                      prompting.forced(passage, kinds))

    def _doubts(self, draft: Draft, passage: Passage) -> list[str]:
        doubts = list(check(draft, passage.text, passage.heading))
        if not doubts and self._known.is_known(draft.question):
            doubts.append("near_duplicate")
        if not doubts:
            self._known.add(draft.question)
        return doubts

    def _ask_again(self, made: list[tuple[Passage, Draft, list[str]]], gate: Gate) -> None:
        """Let the teacher answer what has passed so far from the quotation alone; what should have no answer, from the
        whole passage."""
        held = [each for each in made if not each[2]]
        if not held:
            return
        outputs = self._teacher.complete([Prompt(prompting.ask_again(
            draft.question, passage.text if draft.kind == "unanswerable" else draft.quotation, draft.language), AGAIN)
            for passage, draft, _ in held], gate)
        for (_, draft, doubts), output in zip(held, outputs, strict=True):
            if draft.kind == "unanswerable":
                if not states_nothing(output.text):
                    doubts.append("answerable")
            elif not is_repeated(draft.answer, output.text):
                doubts.append("not_repeated")
