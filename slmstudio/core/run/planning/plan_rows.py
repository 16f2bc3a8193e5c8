"""What a plan says about the rows: what those held back are good for, and whether an answer is within reach."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slmstudio.core.data import split
from slmstudio.core.data.reader import read_as
from slmstudio.core.data.record import Record
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import join_sentences, noop, ntr, tr
from slmstudio.core.model import named_templates, tokens
from slmstudio.core.model.chat_template import TAKE_TOOLS, ChatTemplate
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.model.named_templates import NAMED
from slmstudio.core.run.config import SET, RunConfig
from slmstudio.core.run.planning.row_counts import MeasuredRows, covering
from slmstudio.core.run.run_fields import LEAVE_OUT

ENOUGH = 10
"""Distinct rows held back from which eval loss shows more than chance."""
NOT_EVALUATED = {
    "eval_file": noop("No test file was chosen, and no rows are held back."),
    "eval_steps": noop("No rows are held back, so nothing is evaluated."),
    "save_steps": noop("At most that much is redone after a power cut."),
    "early_stopping_patience": noop("No rows are held back, so nothing can end the run early."),
    "use_best_checkpoint": noop("No rows are held back to find the best weights with, so the last ones are kept."),
    "sample_prompts": noop("No rows are held back that have questions to ask."),
}
"""Fields that mean nothing without evaluation rows, and what the plan says about them then."""


def what_is_held_back(rows: Sequence[Record], of: int) -> str:
    """What the rows that are split off for evaluation are good for, in a sentence.

    Args:
        of: rows in all.
    """
    distinct = len({row.prompt for row in rows})
    if distinct >= ENOUGH and split.usual_share(of) < split.USUAL_SHARE:
        return tr("{held:,} of {rows:,} rows are enough to see overfitting; more would only make each evaluation take "
                  "longer.", held=len(rows), rows=of)
    if distinct >= ENOUGH:
        return tr("Enough rows to see overfitting, and most rows are left for training.")
    if rows:
        return ntr("Only {n} distinct row is held back, so eval loss is a rough sign of overfitting at best; more rows "
                   "or a test file would show it better.",
                   "Only {n} distinct rows are held back, so eval loss is a rough sign of overfitting at best; more "
                   "rows or a test file would show it better.", distinct)
    if of == 1:
        return tr("The only row is used for training, so overfitting can't be seen: add other rows, or choose a test "
                  "file.")
    return tr("The rows are too similar to hold some back, so overfitting can't be seen: add other rows, or choose a "
              "test file.")


def in_test_file(path: Path | str, columns: str | None) -> int:
    """How many rows a test file has; 0 if it can't be read, which whoever needs its rows tells.

    Args:
        columns: what was said about them, as `Dataset.line` has it.
    """
    try:
        return len(read_as(Path(path), columns).records)
    except (UserError, OSError):
        return 0


def how_often(total: int, every: int, *, bounded: bool) -> str:
    """How many evaluations there are, in a sentence or two.

    Args:
        total: steps of the run.
        every: how many steps after one another they come.
        bounded: whether there would be more if they took no time.
    """
    said = ntr("{n:,} evaluation in {steps}, and one before.", "{n:,} evaluations in {steps}, and one before.",
               math.ceil(total / every), steps=ntr("{n:,} step", "{n:,} steps", total))
    return join_sentences(said, tr("More would add over a third to the training time.")) if bounded else said


def choose_template(rows: Sequence[Record], model: ModelFacts, chosen: Mapping[str, Any]) -> tuple[str, str]:
    """The chat template of a plan, by its name, and why.

    Args:
        chosen: fields that the user decided.

    Raises:
        UserError: the model has no template, and none suits it.
    """
    named = chosen.get("chat_template")
    if named in NAMED:
        return str(named), tr(SET)
    if model.has_chat_template:
        return "", tr("The model's own, which it was trained with.")
    if all(row.text is not None for row in rows):
        return "", tr("Plain text needs none.")
    best = named_templates.fitting(model.path)[0]
    return best.name, join_sentences(tr("The model has no chat template."), best.reason)


def template_warnings(config: RunConfig) -> list[str]:
    """What a user should know of a run's chat template before it is learned, in sentences.

    Raises:
        UserError: the tokenizer can't be read.
    """
    tables = ("embed_tokens", "lm_head", "wte", "embed_in", "embed_out")
    targets = config.target_modules
    learned = not isinstance(targets, str) and any(name.endswith(tables) for name in targets)
    return [] if config.objective == "text" and not config.chat_template else named_templates.warnings(
        Path(config.model), config.chat_template, config.has_adapter and not learned)


def check_tools(rows: Sequence[Record], model: ModelFacts, chat_template: str = "") -> None:
    """Check that the model can learn the tools of the rows.

    Args:
        chat_template: name of the run's; "" for the model's own.

    Raises:
        UserError: some rows offer or call tools, and the model's chat template takes none.
    """
    count = sum(row.has_tools for row in rows)
    if count and not named_templates.template_of(model.path, chat_template).takes_tools():
        have = ntr("{n:,} of {rows:,} rows has tools.", "{n:,} of {rows:,} rows have tools.", count, rows=len(rows))
        takes_none = (tr("The chat template of {model} doesn't support tools.", model=model.name) if not chat_template
                      else tr("The chat template {name} doesn't support tools.", name=tr(NAMED[chat_template].label)))
        raise UserError(join_sentences(have, takes_none), "", tr(TAKE_TOOLS))


def check_embeddings(rows: Iterable[Record], model: ModelFacts, chat_template: str = "") -> None:
    """Check that no row uses an added token for which the model has no embedding: it couldn't be learned.

    Args:
        chat_template: name of the run's; "" for the model's own.

    Raises:
        UserError: some rows do.
    """
    tokenizer = tokens.load_tokenizer(model.path)
    beyond = {number: token.content for number, token in tokenizer.get_added_tokens_decoder().items()
              if number >= model.vocabulary_size}
    if not beyond:
        return
    template = named_templates.optional_template(model.path, chat_template)
    used, lines, file = set[str](), [], ""
    for row in rows:
        texts = (row.text or "", row.rejected or "", *(str(message) for message in row.messages))
        if any(content in text for text in texts for content in beyond.values()) and (
                found := beyond.keys() & set().union(*encoded(row, tokenizer, template))):
            used |= {beyond[number] for number in found}
            lines.append(row.line)
            file = row.file
    if lines:
        raise UserError(tr("{model} can't learn these rows.", model=model.name), "",
                        tr("Remove these tokens from the rows, or choose another model."),
                        [Problem(tr("The model has no embedding for {tokens}.", tokens=", ".join(sorted(used))),
                                 line=lines[0], lines=tuple(lines), file=file or None)])


def encoded(row: Record, tokenizer: Any, template: ChatTemplate) -> list[list[int]]:
    """The tokens of a row; of a pair, with either answer."""
    if row.text is not None:
        return [tokenizer.encode(row.text).ids]
    answers = [list(row.messages)]
    if row.rejected is not None:
        answers.append([*row.messages[:-1], {"role": "assistant", "content": row.rejected}])
    return [tokens.encode(messages, tokenizer, template, tools=row.tools).ids for messages in answers]


def out_of_reach(measured: MeasuredRows, model: ModelFacts, config: RunConfig) -> Problem | None:
    """What to say when every row is left out, or cut before its answer begins, so that nothing could be learned."""
    rows = measured.found.values()
    if any(row.learned(config) for row in rows):
        return None
    most, longest = model.context_length or 10**9, measured.lengths[-1]
    if min(row.start for row in rows) >= most:
        return Problem(tr("No answer starts within {most:,} tokens, the most that this model can read, so there would "
                          "be nothing to learn. Shorten the questions, or choose a model that reads more.", most=most),
                       field="max_length")
    remedy = (tr("Set max_length to {most:,}, at which every row fits.", most=min(most, covering(longest)))
              if longest <= most else
              tr("Set max_length to {most:,}, the most that this model can read, or shorten the questions.", most=most))
    why = (tr("Every row is longer than {count:,} tokens, so all of them would be left out.", count=config.max_length)
           if config.overlong_rows == LEAVE_OUT else
           tr("No answer starts within {count:,} tokens, so there would be nothing to learn.", count=config.max_length))
    return Problem(join_sentences(why, remedy), field="max_length")
