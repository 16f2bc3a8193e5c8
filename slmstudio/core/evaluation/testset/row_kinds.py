"""What one row of a test set asks, and how an answer to it is judged: found by its columns, or all that is wrong."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, NamedTuple

from slmstudio.core.data import answers, rows
from slmstudio.core.data.column_names import column
from slmstudio.core.data.conversations import Findings, Message, Messages, kind_of, text_of
from slmstudio.core.data.record import message_text
from slmstudio.core.data.rows import RowError
from slmstudio.core.data.strict_json import printable
from slmstudio.core.evaluation.scores import patterns
from slmstudio.core.evaluation.testset import cells, known_layouts, languages, multiple_choice
from slmstudio.core.evaluation.testset.item import KINDS
from slmstudio.core.evaluation.testset.passages import PASSAGES, passage_of, with_passage

QUESTIONS = ("messages", "prompt", "question", "instruction", "query", "problem", "input", "ctx", "goal", "sentence")
"""Columns that hold what is asked; the first that is filled counts."""
REFERENCES = ("references", "reference", "answers", "ideal", "targets", "target", "reference_answer", "correct_answers",
              "expected_answer", "gold", "correct_answer")
"""Columns that hold one good answer or a list of them."""
SEVERAL = ("references", "answers", "targets", "correct_answers")
"""Those of them that are lists, of whatever program."""
ANSWERS = ("answer", "output", "completion", "response", "solution", "chosen")
EXACT = ("exact", "expected")
PATTERNS = ("pattern", "regex", "regexp")
CATEGORIES = ("category", "subject", "topic", "tag", "tags")
LANGUAGES = ("language", "lang", "locale")
KIND = ("kind", "type", "match")
LONGEST_ANSWER = 100_000
"""Characters of a reference or a choice: more than any context holds, and scoring it would take minutes."""
NEEDED = ('a test row needs a question ("question", "instruction", "prompt" or "messages") and what a good answer is '
          '("answer" or "references"; or choices, as "A", "B", "C", "D" and "answer"; or "pattern")')
MARKED_BAD = "the answer is marked as bad, so there is no reference."
_TRAINED = (("messages",), ("instruction", "output"), ("prompt", "completion"), ("question", "answer"),
            ("chosen", "rejected"), ("text",))
GSM8K_END = re.compile(r"####\s*[^\s]{1,40}\s*$")
"""How GSM8K ends an answer (Cobbe et al. 2021, https://arxiv.org/abs/2110.14168)."""
_NUMBER = re.compile(r"[-+−]?\d[\d,]*([.٫]\d+)?")


class Draft(NamedTuple):
    """What a row says before the file as a whole is known; see `TestItem`.

    Attributes:
        choice: of a "choice" row, with how the right one is named.
        told: whether a column says the kind.
        guessed: whether the language was guessed.
        passage: the column of the passage below the question, by the name that is known; or "".
        below: characters of it, with the blank line above.
    """

    kind: str
    messages: Messages
    references: tuple[str, ...]
    choice: multiple_choice.Choice | None
    pattern: str | None
    category: str | None
    language: str | None
    guessed: bool
    told: bool
    passage: str = ""
    below: int = 0
    tools: tuple[dict[str, Any], ...] = ()
    reply: Message | None = None


class _Parts(NamedTuple):
    """Question, choices and references; see `Draft`."""

    messages: Messages
    choice: multiple_choice.Choice | None = None
    references: tuple[str, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    reply: Message | None = None


def read_test_row(value: Any) -> Draft:
    """What one parsed row says.

    Args:
        value: an object; the names of its columns count without their case.

    Raises:
        RowError: everything that is wrong with it.
    """
    if not isinstance(value, dict):
        raise RowError([("", f'the row is {kind_of(value)}; it must be an object, {{"question": …, "answer": …}}.')])
    row = known_layouts.shaped(value)
    findings: Findings = []
    messages, choice, references, tools, reply = _parts(row, findings)
    pattern = _pattern(row, findings)
    if not findings and choice is None and pattern is None and not references:
        columns = ", ".join(f'"{printable(name)}"' for name in list(value)[:8])
        findings.append(("answer", f"the reference is missing, so no answer can be judged; the columns are {columns}."))
    for text in (*references, *(choice.choices if choice else ())):
        if len(text) > LONGEST_ANSWER:
            findings.append(("answer", f"an answer has {len(text):,} characters; at most {LONGEST_ANSWER:,} are "
                                       "compared."))
    said = next((row[name].strip().casefold() for name in KIND
                 if isinstance(row.get(name), str) and row[name].strip().casefold() in KINDS), "")
    kind = _kind(row, said, references, choice, pattern, findings)
    if findings:
        raise RowError(findings)
    language, guessed = _language(row, messages, references)
    return Draft(kind, messages, references, choice, pattern if kind == "pattern" else None,
                 _category(row), language, guessed, bool(said), *passage_of(messages, row), tools, reply)


def tells_test(value: Any) -> bool:
    """Whether a row has columns that ask and answer by the names that tests have, whatever is wrong with them."""
    columns = value if isinstance(value, dict) else {}
    filled = {column(name) for name, each in columns.items() if each not in (None, "")}
    return bool(filled.intersection(QUESTIONS)) and bool(filled.intersection(
        (*REFERENCES, *ANSWERS, *EXACT, *PATTERNS, *multiple_choice.RIGHT, *multiple_choice.LISTS)))


def is_number(text: str) -> bool:
    """Whether a text is nothing but a number, in the digits of any script, perhaps with a currency or % sign."""
    bare = "".join(c for c in text.strip() if unicodedata.category(c) != "Sc" and c not in "%").strip()
    return _NUMBER.fullmatch(bare) is not None


def _parts(row: dict[str, Any], findings: Findings) -> _Parts:
    if multiple_choice.has_choices(row):
        choice = multiple_choice.read_choice(row, findings)
        return _Parts(_asked(row, findings), choice)
    name = next((name for name in (*EXACT, *REFERENCES) if row.get(name) is not None), "")
    if not name:
        apart = _ends_with_question(row.get("messages"))
        name = next((name for name in ANSWERS
                     if _is_several(row.get(name)) or (apart and isinstance(row.get(name), str))), "")
    if not name and not any(row.get(name) is not None for name in ANSWERS) and _pattern_column(row):
        return _Parts(_asked(row, findings))
    # In sets of true and false sentences, both are good rows.
    is_learned = any(row.get(name) is not None for name in ("completion", "rejected"))
    if is_learned and (row.get("correct") is False or (row.get("label") is False and row.get("completion") is None)):
        findings.append(("answer", MARKED_BAD))
    if name:
        references = _references(row[name], name, findings)
        return _Parts(_asked(row, findings, references), references=references)
    return _conversation(row, findings)


def _is_several(value: Any) -> bool:
    return isinstance(value, (int, float, list)) and not isinstance(value, bool) and not (
        isinstance(value, list) and any(isinstance(each, dict) for each in value))


def _ends_with_question(messages: Any) -> bool:
    """Whether a conversation ends with the user, so that its answer stands in a column of its own."""
    last = messages[-1] if isinstance(messages, list) and messages else None
    return isinstance(last, dict) and last.get("role") == "user"


def _references(value: Any, name: str, findings: Findings) -> tuple[str, ...]:
    """One or several good answers: a text, a number, a list of them, or SQuAD's {"text": [...]}."""
    if name == "correct_answers" and isinstance(value, str) and not value.lstrip().startswith("["):
        value = [each for each in map(str.strip, value.split(";")) if each] or value  # TruthfulQA's own table
    if isinstance(value, str) and name in SEVERAL:
        value = cells.value_in(value)
        if cells.is_printed(value):
            findings.append((name, f'"{name}" is a list as a program prints it; write it as JSON, ["one", "two"].'))
            return ()
    elif isinstance(value, str) and value.lstrip().startswith("["):
        value = cells.json_list(value)
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        value = value["text"]
    found = []
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict) and isinstance(each.get("text"), str):
            each = each["text"]
        if isinstance(each, (int, float)) and not isinstance(each, bool):
            each = multiple_choice.number_text(each)
        found.append(text_of({name: each}, name, findings))
    return tuple(dict.fromkeys(found))


def _asked(row: dict[str, Any], findings: Findings, references: tuple[str, ...] = ()) -> Messages:
    """The conversation up to the question."""
    name = next((name for name in QUESTIONS if row.get(name) is not None), "")
    if not name:
        findings.append(("question", 'the question is missing; its column may be called "question", "instruction", '
                                     '"prompt" or "messages".'))
        return ()
    if name in ("messages", "input", "question") and isinstance(row[name], list):
        row = {**row, "prompt": row[name]}
        name = "prompt"
    before = len(findings)
    prompt = answers.asked(row, findings, (name,))
    if prompt is None or len(findings) > before:
        return ()
    turns = prompt.turns
    while turns and turns[-1]["role"] == "assistant":  # an answer in the messages beside the references
        turns = turns[:-1]
    roles = [turn["role"] for turn in turns]
    if not roles or roles[-1] != "user" or "system" in roles:
        findings.append((name, f'"{name}" must hold a user message last, and a system message only first.'))
        return ()
    used = name == "instruction" or (name == "input" and row.get("instruction") is None)
    return with_passage((*prompt.system, *turns), row, findings, not used, references)


def _conversation(row: dict[str, Any], findings: Findings) -> _Parts:
    """Question and reference of the layouts that are trained on."""
    given, row = row, _as_trained(row)
    if row.get("label") is not None and row.get("completion") is not None:
        marked: Findings = []
        if not answers.is_good(row, marked) or marked:
            findings.append(("label", MARKED_BAD))
    try:
        read = rows.read_row(row)
    except rows.ColumnsMissing as error:
        missing = any(row.get(name) is not None for name in QUESTIONS)
        findings.append(("answer" if missing else "question", _columns_sentence(error, missing)))
        return _Parts(())
    except RowError as error:
        findings += error.findings
        return _Parts(())
    if read.text is not None:
        findings.append(("text", "plain text asks nothing, so there is nothing to answer."))
        return _Parts(())
    messages: tuple[Message, ...] = read.messages
    asked_from_input = row.get("instruction") is not None or row.get("question") is None
    references, reply = (message_text(messages[-1]),), messages[-1] if messages[-1].get("tool_calls") else None
    return _Parts(with_passage(messages[:-1], given, findings, not asked_from_input, references),
                  references=references, tools=read.tools, reply=reply)


def _as_trained(row: dict[str, Any]) -> dict[str, Any]:
    """The row with question and answer under names that datasets use, where it has neither of those pairs."""
    asked = next((name for name in QUESTIONS if row.get(name) is not None), "")
    if any(all(row.get(name) is not None for name in pair) for pair in _TRAINED if pair != ("text",) or not asked):
        return row
    answer = next((name for name in ANSWERS if row.get(name) is not None), "")
    if not asked or not answer or asked == "messages":
        return row
    if asked == "instruction":
        return {**row, "output": row[answer]}
    beside = {name: row[name] for name in ("system", *PASSAGES) if name in row}
    return {**beside, "prompt": row[asked], "completion": row[answer]}


def _columns_sentence(error: rows.ColumnsMissing, has_question: bool) -> str:
    columns = ", ".join(f'"{printable(name)}"' for name in error.columns[:8]) or "none"
    lead = "the reference is missing, so no answer can be judged; " if has_question else ""
    return f"{lead}the columns are {columns}; {NEEDED}."


def _pattern_column(row: Mapping[str, Any]) -> str:
    return next((name for name in PATTERNS if row.get(name) is not None and row[name] != ""), "")


def _pattern(row: Mapping[str, Any], findings: Findings) -> str | None:
    name = _pattern_column(row)
    if not name:
        return None
    pattern = text_of(row, name, findings)
    if pattern:
        try:
            patterns.compiled(pattern)
        except patterns.BadPattern as error:
            findings.append((name, str(error)))
    return pattern or None


def _kind(row: Mapping[str, Any], said: str, references: tuple[str, ...], choice: multiple_choice.Choice | None,
          pattern: str | None, findings: Findings) -> str:
    """The kind: as a column says, or found by what the row holds."""
    if choice is not None or multiple_choice.has_choices(row):
        return "choice"
    if pattern is not None:
        return "pattern"
    if said in ("pattern", "choice"):
        needed = '"pattern"' if said == "pattern" else '"choices"'
        findings.append((said, f'the row is called a "{said}" row, but has no {needed}.'))
    if said:
        return said
    if any(row.get(name) is not None for name in EXACT):
        return "exact"
    return "number" if references and all(GSM8K_END.search(text[-80:]) for text in references) else "free"


def _category(row: Mapping[str, Any]) -> str | None:
    value = next((row[name] for name in CATEGORIES if row.get(name) not in (None, "", [])), None)
    if isinstance(value, list):
        value = next((each for each in value if isinstance(each, str)), None)
    if isinstance(value, float) and not isinstance(value, bool):
        return multiple_choice.number_text(value)
    return " ".join(value.split())[:200] or None if isinstance(value, str) else None


def _language(row: Mapping[str, Any], messages: Messages, references: tuple[str, ...]) -> tuple[str | None, bool]:
    said = next((row[name] for name in LANGUAGES if isinstance(row.get(name), str) and row[name].strip()), "")
    if said:
        return languages.from_column(said), False
    found = languages.guess(messages[-1]["content"], *references[:1])
    return found, found is not None


