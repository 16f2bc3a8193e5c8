"""The rows of a run as its script reads them: in their own words where the script's encoding gives the run's tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from slmstudio.core.data.record import Record
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model import named_templates, tokens
from slmstudio.core.model.answer_spans import answer_spans
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.fields.choices import LEAVE_OUT
from slmstudio.core.run.rows import source_rows
from slmstudio.core.run.rows.kept_rows import Kept
from slmstudio.core.run.rows.row_tokens import RowEncoder

IGNORED = -100
"""Label of a position that isn't learned."""


@dataclass(frozen=True)
class ScriptRows:
    """Rows to write, one JSON object each.

    Attributes:
        layout: "messages" (with `tools` where a row offers some) and "text" have the key of that name; "ids" has
            `input_ids` and `labels`; "answers" is TRL's layout of preference rows.
        after_answer: what the template writes after the token that ends the last answer.
    """

    layout: str
    train: list[dict[str, Any]]
    evaluation: list[dict[str, Any]]
    after_answer: str = ""


def script_rows(config: RunConfig, kept: Kept | None = None) -> ScriptRows:
    """Encode as the run does, and choose the layout.

    Args:
        kept: the run's own rows; without them, those of the configuration's files.

    Raises:
        UserError: a file or the model's tokenizer or template can't be used.
    """
    rows = kept or source_rows.read(config)
    train, held_out = (_trained_on(side, config) for side in (rows.train, rows.evaluation))
    if config.is_preference:
        return ScriptRows("answers", [_answers(row, config.objective) for row in train],
                          [_answers(row, config.objective) for row in held_out])
    if all(row.text is not None for row in (*train, *held_out)):
        return ScriptRows("text", [{"text": row.text} for row in train], [{"text": row.text} for row in held_out])
    return _Encoding(config).choose(train, held_out)


def _trained_on(rows: Sequence[Record], config: RunConfig) -> Sequence[Record]:
    """Rows without those that the run leaves out; the script itself cuts the others."""
    if config.overlong_rows != LEAVE_OUT:
        return rows
    encoder = RowEncoder(tokens.load_tokenizer(config.model), named_templates.optional_template(
        config.model, config.chat_template), config.objective, config.completion_only_loss)
    return [row for row in rows if encoder.count(row).learned(config)]


def _conversation(row: Record) -> dict[str, Any]:
    return {"messages": list(row.messages), **({"tools": list(row.tools)} if row.tools else {})}


def _answers(row: Record, objective: str) -> dict[str, Any]:
    """A row in TRL's conversational layout: `prompt` with the answers to compare, or one answer and its label.

    Raises:
        UserError: the row doesn't say which answer is better, or has tools.
    """
    prompt, answer = list(row.messages[:-1]), list(row.messages[-1:])
    if row.has_tools:  # TRL's trainer for ORPO passes over them, and a table of calls has every call's arguments
        raise UserError(tr("Line {line} contains tools.", line=row.line),
                        tr("A script for preference tuning can't use tools."),
                        tr("Train in SLM Studio, or remove the rows with tools."))
    if objective == "kto" and row.desirable is not None:
        return {"prompt": prompt, "completion": answer, "label": row.desirable}
    if objective != "kto" and row.rejected is not None:
        return {"prompt": prompt, "chosen": answer, "rejected": [{"role": "assistant", "content": row.rejected}]}
    raise UserError(tr("Line {line} can't be used with {objective}.", line=row.line, objective=objective),
                    tr("The objective needs answers marked good or bad.") if objective == "kto" else
                    tr("The objective needs pairs of answers."),
                    tr("Choose another dataset, or the objective sft."))


class _Encoding:
    """Encodes each row as the run does and as the script would."""

    def __init__(self, config: RunConfig):
        self.config = config
        self.template = named_templates.optional_template(config.model, config.chat_template)
        self.tokenizer = tokens.load_tokenizer(config.model)
        self.learn_all = config.objective == "text" or not config.completion_only_loss
        self.after_answer: str | None = None

    def choose(self, train: Sequence[Record], held_out: Sequence[Record]) -> ScriptRows:
        """Messages where the script's encoding equals the run's on every row, else token ids."""
        if all(row.text is None and self.by_run(row) == self.by_script(row) for row in (*train, *held_out)):
            return ScriptRows("messages", [_conversation(row) for row in train],
                              [_conversation(row) for row in held_out], self.after_answer or "")
        return ScriptRows("ids", list(self._learnable(train)), list(self._learnable(held_out)))

    def by_run(self, row: Record) -> tuple[list[int], list[int]]:
        """Token ids and labels as the run has them."""
        encoded = tokens.encode(list(row.messages), self.tokenizer, self.template, not self.learn_all, tools=row.tools)
        length = self.config.max_length
        labels = [token if wanted else IGNORED for token, wanted in zip(encoded.ids, encoded.learned, strict=True)]
        return encoded.ids[:length], labels[:length]

    def by_script(self, row: Record) -> tuple[list[int], list[int]] | None:
        """The same by resources/script/rows_messages.py; None if the template refuses what it asks for."""
        messages, length = list(row.messages), self.config.max_length
        try:
            text = self.template.render(messages, tools=row.tools)
            if self.after_answer is None:
                spans = answer_spans(messages, self.template, text, tokens.added_tokens(self.tokenizer),
                                            row.tools)
                self.after_answer = text[spans[-1][1]:]
            spans = []
            for index, message in enumerate(messages):
                if message["role"] == "assistant":
                    before = self.template.render(messages[:index], add_generation_prompt=True, tools=row.tools)
                    up_to = self.template.render(messages[: index + 1], tools=row.tools)
                    spans.append((len(before), len(up_to) - len(self.after_answer)))
        except UserError:
            return None
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        labels = [token if self.learn_all or any(begin <= start < end for begin, end in spans) else IGNORED
                  for token, (start, _) in zip(encoding.ids, encoding.offsets, strict=True)]
        return encoding.ids[:length], labels[:length]

    def _learnable(self, rows: Sequence[Record]) -> Iterator[dict[str, Any]]:
        """Rows that have something to learn, as the run keeps them."""
        for row in rows:
            ids, labels = self.by_run(row)
            if any(label != IGNORED for label in labels[1:]):
                yield {"input_ids": ids, "labels": labels}
