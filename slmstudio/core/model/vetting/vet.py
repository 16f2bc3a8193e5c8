"""Vets a model folder: everything that is looked at before anything of it is loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from slmstudio.core.errors import Problem, UserError, os_errors_as
from slmstudio.core.i18n import ntr, together, tr
from slmstudio.core.model import facts
from slmstudio.core.model.facts import Examined, ModelFacts
from slmstudio.core.model.json_files import printable
from slmstudio.core.model.vetting import accepted, contents, numbers, result, tokenizer
from slmstudio.core.model.vetting.gguf_outlook import why_no_gguf
from slmstudio.core.model.vetting.result import MATCH, Check, Vetting
from slmstudio.core.units import format_bytes, format_count

NAMES = ("files", "pickles", "code", "config", "weights", "tokenizer", "tokens", MATCH, "texts", "template")
"""The checks, in the order in which they are shown."""


def vet(folder: Path | str) -> Vetting:
    """Look at everything of a model folder that can be known before it is loaded. All problems are found at once.

    It takes a second, most of it for the tokenizer, which is read in a process of its own. What passed is remembered
    until a file changes.
    """
    folder = Path(folder)
    if known := result.remembered(folder):
        return known
    as_it_was = None
    try:
        with contextlib.suppress(OSError):
            as_it_was = result.signature(folder)
        vetting = _vet(folder)
    except UserError as error:
        said = " ".join(filter(None, (error.what, error.why, error.remedy)))
        return Vetting((Check("files", False, said),), (Problem(said),), ())
    if vetting.passed and as_it_was is not None:
        result.remember(folder, vetting, as_it_was)
    return vetting


def read_vetted(folder: Path | str) -> ModelFacts:
    """A model's facts, once the folder has been vetted.

    Raises:
        UserError: it is refused; `problems` names everything that is wrong, when it is more than one thing.
    """
    found = facts.read_model(folder)  # says best what else was chosen
    vetting = vet(folder)
    if not vetting.passed:
        error = facts.refusal(found.name, list(vetting.problems))
        if vetting.is_acceptable:
            error.remedy = accepted.how_to_accept(Path(folder))
        raise error
    return found


def _vet(folder: Path) -> Vetting:
    examined = facts.examine(folder)
    problems: dict[str, list[Problem]] = {name: list(examined.problems.get(name, ())) for name in NAMES}
    warnings = list(examined.warnings)
    if examined.facts and (why := why_no_gguf(examined.facts)):
        warnings.append(why)
    done: dict[str, str] = {}
    if not problems["files"]:
        with os_errors_as(tr("Could not read the model folder.")):
            seen = contents.look(folder)
        contents.judge(seen, problems["pickles"], warnings)
        done = _seen(examined, seen)
        if examined.weights and not problems["weights"] and "weights" in done:
            with os_errors_as(tr("Could not read the weights.")):
                share = numbers.look(examined.weights, problems["weights"])
            done["weights"] += f" {numbers.sentence(share)}"
        if not problems["tokenizer"]:
            done |= _belong_together(folder, examined, problems, warnings)
    checks = [Check(name, not problems[name], _sentence(problems[name], done.get(name, "")))
              for name in NAMES if problems[name] or name in done]
    return Vetting(tuple(checks), tuple(problem for name in NAMES for problem in problems[name]), tuple(warnings))


def _seen(examined: Examined, seen: contents.Contents) -> dict[str, str]:
    """What a look at the files has found, in sentences for where nothing is wrong."""
    done = {
        "files": ntr("The folder contains {n:,} file, and it doesn't lead out of the folder.",
                     "The folder contains {n:,} files, and none of them leads out of the folder.", seen.files),
        "pickles": tr("No file that is loaded is a Python pickle."),
        "code": tr("No setting that is used leads to code, or to files that weren't checked."),
    }
    if examined.facts and examined.weights:
        found = examined.facts
        done["config"] = tr("config.json describes a model of the family {family}, and its numbers are within limits.",
                            family=found.family)
        done["weights"] = tr("The weights are complete: {count} parameters in {tensors:,} tensors, {size}.",
                             count=format_count(found.parameters), tensors=len(examined.weights.tensors),
                             size=format_bytes(found.disk_bytes))
    return done


def _belong_together(folder: Path, examined: Examined, problems: dict[str, list[Problem]],
                     warnings: list[str]) -> dict[str, str]:
    """Judge what the tokenizer's process has found; the sentences for where nothing is wrong."""
    rows, ids = tokenizer.rows_of(examined), tokenizer.ids_of(folder, examined.config)
    report = tokenizer.measure(folder, rows, ids)
    if "error" in report:
        area = "template" if report.get("trial") == "template" else "tokenizer"
        problems[area].append(Problem(f"{report['error']} {tr(tokenizer.REMEDIES[area])}"))
        return {}
    tokenizer.judge_merges(report, problems["tokenizer"])
    tokenizer.judge_ids(report, rows, ids, problems["tokens"], warnings)
    why = tokenizer.mismatch(report, rows, ids)
    if why and accepted.is_accepted(folder):
        warnings.append(together(why, tr("You accepted it anyway.")))
    elif why:
        problems[MATCH].append(Problem(together(why, tr(tokenizer.OWN))))
    tokenizer.judge_texts(report, problems["texts"], warnings)
    if not problems["template"]:
        tokenizer.judge_template(report, ids, problems["template"], warnings)
    kept, scripts = tokenizer.scripts(report)
    done = {"tokenizer": tr("tokenizer.json contains {tokens:,} tokens.", tokens=report["tokens"]),
            "texts": tr("Text comes back out of the tokenizer as it went in, in {kept} of {scripts} scripts.",
                        kept=kept, scripts=scripts)}
    if rows is not None:
        done["tokens"] = tr("The tokens' ids fit the embeddings, which have {rows:,} rows.", rows=rows)
    if rows is not None and not why:
        done[MATCH] = tr("tokenizer.json has the tokens that config.json names.")
    if report["template"] and report["template"].get("ends"):
        ends = [end[1] for end in report["template"]["ends"] if end]
        done["template"] = (tr("The chat template renders a conversation, and ends each answer with {token}.",
                               token=printable(ends[-1], 40)) if ends else
                            tr("The chat template renders a conversation."))
    return done


def _sentence(problems: Sequence[Problem], otherwise: str) -> str:
    if len(problems) > 1:
        return f"{problems[0].message} {tr('And {count:,} more.', count=len(problems) - 1)}"
    return problems[0].message if problems else otherwise
