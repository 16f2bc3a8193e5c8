"""A local model compares the answers of two models, each pair in both orders, under the user's rubric.

judge.jsonl has a line for each comparison: {"id": item, "order": "ab" | "ba" (who was shown first), "a", "b": names,
"winner": "a" | "b" | "tie" | null (its answer couldn't be read), "said": its answer}; one that the judge couldn't be
asked about has "skipped": why, and one for which it was still thinking when its tokens were used up has "cut":
"thinking". judge-votes.jsonl has the same for answers that the user has voted on in Chat without knowing whose they
were.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmstudio.core import files, jobs
from slmstudio.core.data.record import message_text
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import answer_rows
from slmstudio.core.evaluation.scores.judging import THINKING, TIE, voted_pairs
from slmstudio.core.evaluation.scoring import JUDGE, JUDGE_VOTES
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.votes import store as votes
from slmstudio.worker.answering.control import EvaluationControl, LineLog
from slmstudio.worker.answering.model_loader import Models
from slmstudio.worker.answering.rows import Ask, Model, Reply, Row, batches, run_rows, written
from slmstudio.worker.runtime.context import JobContext

MOST_TOKENS = 16
"""The longest answer of the judge, which is asked for one word."""
PHASE = "judging"
TOO_LONG = "too long"
_SAID = re.compile(r"\W*(?:(?:[Tt]he )?(?:better )?[Aa]nswer(?: is)?\W+)?(A|B|[Tt]ie|TIE)"
                   r"(?=\W*(?:$|\n)|[.:,*)\]]| is | wins)")
"""A verdict at the beginning of an answer; "A good answer ..." isn't one."""


@dataclass(frozen=True)
class Case:
    """Two answers to one question, shown in one order.

    Attributes:
        line: what is known before the judge has answered: "id", "order", "a", "b".
        first, second: the answers as they are shown.
    """

    line: dict[str, Any]
    messages: Sequence[Mapping[str, str]]
    references: Sequence[str]
    first: str
    second: str


def run(job: JobContext, models: Models, items: list[dict[str, Any]]) -> None:
    """Judge every model against the first one, and what the user has voted on. What has already been judged is kept.

    Raises:
        UserError: the judge can't be loaded.
        Cancelled: the user asked this job to end.
    """
    work = [(LineLog(job.folder / JUDGE, _key), list(_cases(job, items))),
            (LineLog(job.folder / JUDGE_VOTES, _key), list(_voted()))]
    left = [(kept, [case for case in cases if _key(case.line) not in kept.keys]) for kept, cases in work]
    total = sum(len(cases) for _, cases in work)
    if not any(cases for _, cases in left):
        return
    job.phase(jobs.LOADING, tr("the judge"))
    model = models.open(job.request["judge"], thinks=False)
    job.phase(PHASE)
    control = EvaluationControl(job, total)
    control.skip(total - sum(len(cases) for _, cases in left))
    try:
        for kept, cases in left:
            _judge(job, model, cases, kept, control)
    finally:
        control.close()
    said = [line for line in files.LineReader(job.folder / JUDGE).read() if not line.get("skipped")]
    unreadable = sum(line.get("winner") is None for line in said)
    thinking = sum(bool(line.get("cut")) for line in said)
    if unreadable:
        values = {"unreadable": unreadable, "answers": len(said)}
        job.warn("judge_unreadable", tr(
            "{unreadable:,} of the judge's {answers:,} answers aren't counted: in {thinking:,} it was still thinking "
            "when its {tokens} tokens were used up.", **values, thinking=thinking, tokens=MOST_TOKENS) if thinking else
            tr("{unreadable:,} of the judge's {answers:,} answers aren't counted: they are neither A, B nor tie.",
               **values))


def _key(line: dict[str, Any]) -> tuple[Any, ...]:
    return line["id"], line["order"], line["a"], line["b"]


def _cases(job: JobContext, items: list[dict[str, Any]]) -> Iterable[Case]:
    """Each later model's answers beside the first model's. Rows that one of them skipped are left out."""
    names = [spec["name"] for spec in job.request["models"]]
    answers = [{line["id"]: line for line in files.LineReader(job.folder / f"answers-{number}.jsonl").read()}
               for number in range(len(names))]
    for number in range(1, len(names)):
        for item in items:
            a, b = (answers[each].get(item["id"]) for each in (number, 0))
            if a is not None and b is not None and not a["skipped"] and not b["skipped"]:
                yield from _both_orders(item["id"], names[number], names[0], item["messages"],
                                        [answer_rows.answer_of(text) for text in item["references"]],
                                        a["answer"], b["answer"])


def _voted() -> Iterable[Case]:
    try:
        pairs = voted_pairs(votes.of_chat())
    except UserError:
        return  # without readable votes there is no agreement to report
    for pair in pairs:
        yield from _both_orders(pair.id, "a", "b", pair.messages, (),
                                *map(answer_rows.answer_of, (pair.a, pair.b)))


def _both_orders(key: Any, name_a: str, name_b: str, messages: Sequence[Mapping[str, str]],
                 references: Sequence[str], a: str, b: str) -> Iterable[Case]:
    for order, first, second in (("ab", a, b), ("ba", b, a)):
        yield Case({"id": key, "order": order, "a": name_a, "b": name_b}, messages, references, first, second)


def _judge(job: JobContext, model: Model, cases: list[Case], kept: LineLog, control: EvaluationControl) -> None:
    rows: list[Row] = []
    done: list[dict[str, Any]] = []
    too_long = 0
    for number, case in enumerate(cases):
        job.check_cancelled()
        text = prompt(model, case, job.request["judge"]["rubric"])
        ask = Ask(model.encode(text), most=MOST_TOKENS)
        if case.first.strip() == case.second.strip():
            done.append({**case.line, "winner": TIE, "said": ""})  # the judge needn't be asked
        elif ask.length > model.context_length:
            done.append({**case.line, "winner": None, "said": "", "skipped": TOO_LONG})
            too_long += 1
        else:
            rows.append(Row({"id": number}, (ask,), opened=answer_rows.opens(text)))
    if too_long:
        job.warn("judge_context", ntr("{n:,} comparison is longer than the {tokens:,} tokens that the judge reads.",
                                      "{n:,} comparisons are longer than the {tokens:,} tokens that the judge reads.",
                                      too_long, tokens=model.context_length))
    kept.write(done)
    control.skip(len(done))
    for batch in batches(rows, model, job.request.get("batch_size")):
        size = len(batch)
        replies = run_rows(batch, model, lambda share, size=size: control.gate(share, size, float(size), PHASE))
        lines = []
        for row, [reply] in zip(batch, replies, strict=True):
            line = cases[row.item["id"]].line
            lines.append({**line, **verdict(row, reply, model, line["order"])})
        kept.write(lines)
        control.add(size, float(size), PHASE)


def prompt(model: Model, case: Case, rubric: str) -> str:
    asked = case.messages[-1]["content"] if len(case.messages) == 1 else "\n".join(
        f"{message['role']}: {message_text(message)}" for message in case.messages)
    parts = [rubric.strip(), f"Question:\n{asked}", *(f"A good answer:\n{text}" for text in case.references[:1]),
             f"Answer A:\n{case.first}", f"Answer B:\n{case.second}",
             "Which answer is better, A or B? Say A, B or tie, and nothing else."]
    asking = model.marked([{"role": "user", "content": "\n\n".join(parts)}])
    return model.template.render(asking, add_generation_prompt=True)


def verdict(row: Row, reply: Reply, model: Model, order: str) -> dict[str, Any]:
    """What the judge said about a comparison. What it thought before isn't part of its verdict."""
    if reply.broken:
        return {"winner": None, "said": ""}
    said = model.decode(reply.ids).strip()
    answer, thought = written(row, reply, model)
    if thought is not None and not answer and not reply.ended:
        return {"winner": None, "said": said, "cut": THINKING}
    return {"winner": winner(answer.strip(), order), "said": said}


def winner(said: str, order: str) -> str | None:
    """Whose answer the judge prefers: "a", "b" or "tie"; None if it doesn't say.

    >>> [winner(said, "ba") for said in ("A", "**B**", "Answer A is better", "Tie.", "A good question", "")]
    ['b', 'a', 'b', 'tie', None, None]
    """
    found = _SAID.match(said)
    if not found:
        return None
    return order["AB".index(found[1])] if found[1] in "AB" else TIE
