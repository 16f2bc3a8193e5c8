"""Whether the rows of a test set can be put to a model: within its context, and with the system prompt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core.data.record import message_text
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.evaluation.reasoning import hold_thoughts
from slmstudio.core.evaluation.testset.item import TestItem
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.named_templates import template_of

SHOWN = 20
"""Problems of one kind which are named one by one."""


@dataclass(frozen=True)
class Reader:
    """A model in a folder.

    Attributes:
        context: tokens that it reads.
        named, adapter: the chat template of its run, and the folder with what was learned, if any.
    """

    name: str
    folder: Path
    context: int
    named: str
    adapter: str | None

    def template(self) -> ChatTemplate:
        """The chat template in which it is asked. Raises UserError."""
        return template_of(self.folder, self.named, self.adapter)

    def template_text(self) -> str:
        """Its jinja text; empty if it can't be used."""
        try:
            return self.template().source
        except UserError:
            return ""


def check_system(system: Any, items: list[TestItem], reader: Reader, problems: list[Problem]) -> None:
    """A template that refuses system messages would refuse every row. Of GGUF files the worker tells."""
    rows = [item.messages for item in items if item.messages[0]["role"] != "system"]
    if not isinstance(system, str) or not system or len(rows) < len(items):
        return
    try:
        template = reader.template()
        template.render(rows[0], add_generation_prompt=True)
    except UserError:
        return  # that is nothing of the system prompt's
    try:
        template.render([{"role": "system", "content": system}, *rows[0]], add_generation_prompt=True)
    except UserError as error:
        problems.append(Problem(tr("{model}: {reason}. Leave the system prompt out.", model=reader.name,
                                   reason=error.what.rstrip(".।")), field="system"))


def check_context(items: list[TestItem], reader: Reader, answer: int, problems: list[Problem]) -> list[Problem]:
    """Rows that don't fit into a model's context; all of them is a problem, some are told.

    A token has at least one byte, so only rows with more bytes than that are made into tokens.
    """
    name, context = reader.name, reader.context
    if answer >= context:
        problems.append(Problem(tr("an answer of {answer:,} tokens leaves no room for a question: the context of "
                                   "{model} has {context:,} tokens.", answer=answer, model=name, context=context),
                                field="max_new_tokens"))
        return []
    try:
        long = [(item, question, wanted) for item, question, wanted in _tokens(items, reader, context - answer)
                if question + max(wanted, answer) > context]
    except UserError as error:
        problems.append(Problem(" ".join(part for part in (error.what, error.why) if part), field=name))
        return []
    lost = [question + max(1, wanted) > context for _, question, wanted in long]
    if len(long) == len(items) and all(lost):
        problems.append(Problem(tr("no row fits in the context of {model}: it has {context:,} tokens, the shortest "
                                   "question has {question:,}, and the answer may have {answer:,}.", model=name,
                                   context=context, question=min(size for _, size, _ in long), answer=answer),
                                field="max_new_tokens"))
        return []
    told = [Problem(_too_long(name, context, answer, question, wanted), item.line)
            for item, question, wanted in long[:SHOWN]]
    if len(long) > SHOWN:
        told.append(Problem(ntr("{n:,} more row is too long for {model}.", "{n:,} more rows are too long for {model}.",
                                len(long) - SHOWN, model=name), field=name))
    return told


def _tokens(items: list[TestItem], reader: Reader, most: int) -> Iterator[tuple[TestItem, int, int]]:
    """The items that may have more than `most` tokens, with those of the question and of the longest reference."""
    template = reader.template()
    if not hold_thoughts(text for item in items for text in item.references):
        template = template.without_thoughts()
    around = len(template.render([{"role": "user", "content": "x"}], add_generation_prompt=True).encode())
    doubtful = [item for item in items if max((len(each.encode()) for each in item.references), default=0)
                + sum(len(each.encode()) + around for each in (*map(message_text, item.messages), 2 * repr(item.tools)))
                > most]
    if not doubtful:
        return
    from slmstudio.core.model.tokens import load_tokenizer

    tokenizer = load_tokenizer(reader.folder)

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    for item in doubtful:
        yield item, count(template.render(item.messages, True, item.tools)), max(map(count, item.references), default=0)


def _too_long(name: str, context: int, answer: int, question: int, wanted: int) -> str:
    if question >= context:
        return tr("the question has {question:,} tokens, which leaves no room for an answer in the {context:,} that "
                  "{model} can read, so the row is skipped.", question=question, context=context, model=name)
    if question + wanted > context:
        return tr("the question has {question:,} tokens and the reference {reference:,}, which is more than the "
                  "{context:,} that {model} can read, so the row is skipped.", question=question, reference=wanted,
                  context=context, model=name)
    return tr("the question has {question:,} tokens; with {answer:,} for the answer, that is more than the "
              "{context:,} that {model} can read, so the answer gets {left:,}.", question=question, answer=answer,
              context=context, model=name, left=context - question)
