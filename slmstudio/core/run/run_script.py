"""A run as a script of its own: PyTorch, transformers, PEFT and TRL, no SLM Studio, and the same losses.

The script is put together from parts in resources/script, each a plain Python file; what a part names and doesn't
define are constants, which are at the script's top with their reasons. Beside the script are the run's rows.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from slmstudio.core import files, paths
from slmstudio.core.data.record import Record
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import tr
from slmstudio.core.model import facts, named_templates, scratch, tokens
from slmstudio.core.model.chat_template import answer_spans
from slmstudio.core.model.named_templates import template_of
from slmstudio.core.run import adjust, config_file, curves, folder
from slmstudio.core.run import config as run_config
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows import saving_rows
from slmstudio.core.run.rows.row_tokens import RowEncoder
from slmstudio.core.run.rows.run_rows import SavedRows
from slmstudio.core.run.run_fields import LEAVE_OUT

# -- The rows of a run as its script reads them: in their own words where the script's encoding gives the run's
# tokens.

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


def script_rows(config: RunConfig, kept: SavedRows | None = None) -> ScriptRows:
    """Encode as the run does, and choose the layout.

    Args:
        kept: the run's own rows; without them, those of the configuration's files.

    Raises:
        UserError: a file or the model's tokenizer or template can't be used.
    """
    rows = kept or saving_rows.read(config)
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


LIBRARIES = ("torch", "transformers", "peft", "trl", "datasets")
WIDTH = 110

PATHS = ("model", "start_from", "train_file", "eval_file")
STUDIO_ONLY = ("name", "eval_fraction", "split_seed", "split_by", "save_steps", "keep_checkpoints",
               "early_stopping_patience", "sample_prompts", "sample_max_tokens", "tensorboard",
               "processes", "nodes", "parallelism", "heat_guard", "heat_limit_c", "heat_rest_seconds",
               "pause_on_battery", "train_hours")
"""Fields that change no loss: the split is made already, and the rest is what the studio does beside the training."""


@dataclass(frozen=True)
class Script:
    """What was written.

    Attributes:
        train_file, eval_file: its rows, beside it; the second is empty if the run has no evaluation rows.
        rows_are_ids: whether the rows are token ids, because the script's own encoding would differ from the run's.
    """

    path: Path
    train_file: Path
    eval_file: Path
    rows_are_ids: bool = False


def write_script(run: Path | RunConfig, out: Path) -> Script:
    """Write a script that trains as `run` does, and beside it `NAME.train.jsonl` and `NAME.eval.jsonl`.

    Args:
        run: a run folder, a run configuration's file, or a configuration.
        out: where the script goes; an existing one is written over.

    Raises:
        UserError: the run, its model or its data can't be used, or the script can't be written.
    """
    out, notes, kept = Path(out), [], None
    if isinstance(run, RunConfig):
        config = run
    else:
        config = config_file.load(run)
        if run.is_dir():
            config = adjust.apply(config, run)
            if adjust.load(run)["schedule"]:
                notes.append("The learning rate or the length was changed while the run was under way; the script "
                             "trains as it was planned.")
            kept = saving_rows.of_run(run, config)
    config.check(rows_are_kept=kept is not None)
    written = Script(out, out.with_suffix(".train.jsonl"), out.with_suffix(".eval.jsonl"))
    _spare_the_users_files(config, written)
    model = facts.read_model(Path(config.model))
    rows = script_rows(config, kept)
    written = replace(written, rows_are_ids=rows.layout == "ids")
    text = _text(config, model, rows, written, notes)
    with os_errors_as(tr("Could not write {file}.", file=out.name)):
        files.write_atomically(written.train_file, b"".join(map(files.dump_line, rows.train)))
        files.write_atomically(written.eval_file, b"".join(map(files.dump_line, rows.evaluation)))
        files.write_atomically(out, text)
    return written


def _spare_the_users_files(config: RunConfig, written: Script) -> None:
    """Raises UserError: a file that would be written is one of those that the run reads."""
    read = {Path(name).resolve() for name in (config.train_file, config.eval_file) if name}
    for path in (written.path, written.train_file, written.eval_file):
        if path.resolve() in read:
            raise UserError(tr("{file} would be overwritten.", file=path.name),
                            tr("The run uses its rows for training or evaluation."),
                            tr("Choose another name, or another folder, for the script."))


def _text(config: RunConfig, model: facts.ModelFacts, rows: ScriptRows, script: Script, notes: list[str]) -> str:
    imports: dict[str, set[str]] = {"pathlib": {"Path"}, "torch": {""}}
    bodies = [_body(name, imports) for name in _parts(config, rows)]
    constants = _constants(config, model, rows, script)
    head = "\n".join([_head(config, rows, script, notes), _imports(imports), "", *constants])
    return "\n\n\n".join([head, *bodies]) + "\n"


def _parts(config: RunConfig, rows: ScriptRows) -> list[str]:
    """Names of the files in resources/script, in their order."""
    base = {"lora": "base_frozen", "qlora": "base_4bit", "full": "base_full", "scratch": "base_scratch"}[config.method]
    adapter = "adapter_none" if not config.has_adapter else "adapter_earlier" if config.start_from else "adapter_new"
    train = f"train_{config.objective}" if config.is_preference else "train_sft"
    return [f"rows_{rows.layout}", base, adapter, train, "main"]


def _body(part: str, imports: dict[str, set[str]]) -> str:
    """A part's text without its imports, which are added to `imports`: module to names, "" for the module itself."""
    path = paths.resources() / "script" / f"{part}.py"
    text = files.read_text(path)
    end = 0
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                imports.setdefault(alias.name, set()).add("")
        elif isinstance(node, ast.ImportFrom):
            imports.setdefault(str(node.module), set()).update(alias.name for alias in node.names)
        else:
            break
        end = node.end_lineno or 0
    return "\n".join(text.splitlines()[end:]).strip("\n")


def _imports(found: dict[str, set[str]]) -> str:
    """Import lines: the standard library, a gap, the others."""
    groups: tuple[list[str], list[str]] = ([], [])
    for module, names in sorted(found.items()):
        group = groups[module.split(".")[0] not in ("json", "math", "pathlib")]
        if "" in names:
            group.append(f"import {module}")
        if listed := sorted(names - {""}):
            line = f"from {module} import {', '.join(listed)}"
            group.append(line if len(line) <= 120 else
                         f"from {module} import (\n" + "".join(f"    {name},\n" for name in listed) + ")")
    return "\n\n".join("\n".join(sorted(group, key=lambda line: line.startswith("from"))) for group in groups)


def _head(config: RunConfig, rows: ScriptRows, script: Script, notes: list[str]) -> str:
    """The script's first lines: what it is and how it is run."""
    versions = " ".join(f"{name}=={_version(name)}" for name in LIBRARIES if _version(name))
    extra = " bitsandbytes" if config.method == "qlora" or "8bit" in config.optimizer or "paged" in config.optimizer \
        else ""
    said = [
        "Trains as the run named below did, with the usual libraries alone:",
        f"    pip install {versions}{extra}",
        f"    python -P {_one_line(script.path.name)}",
        "In fp32 it prints the run's own losses; in bf16 and fp16 they agree as far as rounding lets them."
        if not config.is_preference else
        "The data, the model and every value are the run's; rows are drawn in TRL's own order.",
        f"It reads {_one_line(script.train_file.name)} and {_one_line(script.eval_file.name)}, which lie beside it.",
        *notes,
    ]
    if rows.layout == "ids":
        said.append("These hold token ids and labels, not messages: this model's chat template writes earlier messages "
                    "in another way once others follow, and the studio's encoding is too long to be repeated here.")
    if config.use_best_checkpoint or config.early_stopping_patience:
        said.append("The run keeps the weights of an earlier evaluation where that was the best, or may end early; the "
                    "script makes every step and keeps the last weights.")
    if config.packing:
        said.append("The run packs its rows, which is faster; the script pads them, and the losses are the same.")
    lines = []
    for paragraph in said:
        indent = "    " if paragraph.startswith("    ") else ""
        lines += textwrap.wrap(paragraph.strip(), WIDTH, initial_indent=f"# {indent}", subsequent_indent=f"# {indent}",
                               break_on_hyphens=False, break_long_words=False)
    return "\n".join(lines) + "\n"


def _version(library: str) -> str:
    try:
        return metadata.version(library).split("+")[0]
    except metadata.PackageNotFoundError:
        return ""


def _constants(config: RunConfig, model: facts.ModelFacts, rows: ScriptRows, script: Script) -> list[str]:
    """Every value of the configuration as a named constant below its reason."""
    template = template_of(config.model, config.chat_template).source if config.chat_template else ""
    state = {**config.to_dict(), "chat_template": template}

    def constant(name: str, value: Any, comment: str) -> str:
        said = _one_line(comment)
        lines = textwrap.wrap(f"# {said[:1].upper()}{said[1:]}", WIDTH, subsequent_indent="# ")
        return "\n".join([*lines, f"{name} = {_literal(value)}"])

    def why(field: str) -> str:
        return config.reasons.get(field) or run_config.FIELDS[field].help

    def of(field: str) -> str:
        return constant(field.upper(), state[field], why(field))

    weights = folder.to_continue_from(config)
    lines = [
        "HERE = Path(__file__).resolve().parent",
        "# The rows to learn, as the run split them off.",
        f"TRAIN_FILE = HERE / {script.train_file.name!r}",
        "# The rows that are only evaluated.",
        f"EVAL_FILE = HERE / {script.eval_file.name!r}",
        "# Where the result goes.",
        f"OUTPUT = HERE / {script.path.stem + '-result'!r}",
        constant("MODEL", str(Path(config.model).absolute()), run_config.FIELDS["model"].help),
        constant("START_FROM", str(weights) if weights else None, run_config.FIELDS["start_from"].help),
        "# How strongly an adapter is applied at the end: what is tried.",
        f"WEAKER = {curves.WEAKER}",
        f"STRONGER = {curves.STRONGER}",
        f"MOST_TRIED_ON = {curves.MOST_TRIED_ON}",
        'DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}',
        "",
    ]
    if config.method == "scratch":
        lines += [constant("SIZES", scratch.sizes(config.scratch_size, model.vocabulary_size),
                           f"What makes a model of about {config.scratch_size} parameters."),
                  constant("OF_THE_BASE_ALONE", scratch.OF_THE_BASE_ALONE,
                           "Values that belong to the base's depth and context; a small model has the defaults.")]
    if rows.layout == "messages":
        lines.append(constant("AFTER_ANSWER", rows.after_answer, "What the chat template writes after the token that "
                                                                 "ends an answer; it is not learned."))
    told = [name for name in run_config.FIELDS if name not in (*PATHS, *STUDIO_ONLY)]
    lines += [of(name) for name in told]
    lines += ["", "# What changes no loss; the studio does it, this script does not, or it was done before."]
    lines += [of(name) for name in STUDIO_ONLY]
    lines += [constant(f"ORIGINAL_{name.upper()}", state[name], why(name)) for name in ("train_file", "eval_file")]
    return lines


def _literal(value: Any) -> str:
    """A value as Python text; a list of texts has one a line, and so has a long text."""
    if isinstance(value, str) and "\n" in value:
        return "(\n" + "".join(f"    {line!r}\n" for line in value.splitlines(keepends=True)) + ")"
    if isinstance(value, list) and value:
        return "[\n" + "".join(f"    {item!r},\n" for item in value) + "]"
    return repr(value)


def _one_line(text: str) -> str:
    """Text as it may be in a comment: no line break of any kind ends it."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
