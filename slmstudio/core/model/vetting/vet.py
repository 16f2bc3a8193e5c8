"""Vets a model folder: everything that is looked at before anything of it is loaded."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import slmstudio
from slmstudio.core import files, formats, i18n, paths, program
from slmstudio.core.errors import Problem, UserError, os_errors_as
from slmstudio.core.i18n import join_sentences, noop, ntr, tr
from slmstudio.core.model import facts
from slmstudio.core.model.facts import Examined, ModelFacts
from slmstudio.core.model.json_files import printable
from slmstudio.core.model.vetting import contents, tokenizer
from slmstudio.core.units import format_bytes, format_count

# -- Whether a model can become a GGUF file, as far as that can be told before hours of training.

_MERGED = noop("Training works, and MERGED exports a folder for vLLM and the like. But Chat, Ollama and llama.cpp need "
               "a GGUF file. If you want one, choose another base model.")
TEKKEN = rb"\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?"
"""Where Mistral's newer tokenizers cut words, in JSON; Phi-4 mini's have "(?i:'s" in the middle."""
_HEAD = 2**20
TABLE = "TEXT_MODEL_MAP"
"""The converter's name for the architectures that it knows."""


def why_no_gguf(model: ModelFacts) -> str | None:
    """A sentence that says why this version can't export a model to GGUF, or not with its proof; None if nothing of
    that is known."""
    known = architectures()
    if known and model.architecture not in known:
        why = tr("This version can't export models of the architecture {architecture} to GGUF: llama.cpp's converter "
                 "doesn't know it.", architecture=printable(model.architecture))
        return f"{why} {tr(_MERGED)}"
    if _is_tekken(model.path):
        why = tr("This version can't export this model to GGUF: llama.cpp splits words in Indian scripts differently "
                 "from the tokenizer of Mistral Nemo and Ministral.")
        return f"{why} {tr(_MERGED)}"
    if model.model_type == "gpt_oss":
        return tr("An export of gpt-oss to F16 or F32 won't pass its check. In our test, its answers differed "
                  "from what was trained by an NMSE of 3e-4, and only 1e-4 is allowed. The limits of other types are "
                  "wider.")
    return None


def _is_tekken(folder: Path) -> bool:
    """Whether tokenizer.json cuts text as Mistral's newer tokenizers do. The rule is in front of the vocabulary."""
    try:
        with open(folder / "tokenizer.json", "rb", opener=files.regular) as file:
            return TEKKEN in file.read(_HEAD)
    except OSError:
        return False


@functools.cache
def architectures() -> frozenset[str]:
    """The architectures that the installed converter knows; empty if none is installed. Its table is read, not run:
    it would import torch."""
    try:
        tree = ast.parse((paths.converter_dir() / "conversion" / "__init__.py").read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return frozenset()
    tables = (node.value for node in tree.body if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == TABLE)
    return frozenset(key for table in tables if table is not None for key in ast.literal_eval(table))


# -- Tokenizers that seem to be another model's, and that a person has accepted: said once, remembered for that
# model.

KIND = "accepted tokenizers"


def is_accepted(folder: Path) -> bool:
    """Whether a person has accepted this tokenizer with this config.json, wherever the folder is now.

    Raises:
        UserError: a newer program wrote what was accepted.
    """
    return _digest(folder) in _all()


def accept(folder: Path) -> None:
    """Remember that a model's tokenizer is the right one.

    Raises:
        UserError: that can't be written.
    """
    with os_errors_as(tr("Could not save which tokenizers you accepted.")):
        state = {**formats.stamp(KIND), "sha256": sorted({*_all(), _digest(folder)})}
        files.write_atomically(paths.accepted_tokenizers_file(), files.dump_pretty(state))


def how_to_accept(folder: Path) -> str:
    """What to do about a tokenizer that is refused, in a sentence."""
    return tr("If you know that it's the right one, accept it: {command}",
              command=program.command("models", "vet", "--accept-tokenizer", folder))


def _all() -> list[str]:
    with os_errors_as(tr("Could not read which tokenizers you accepted.")):
        found = (formats.read(KIND, paths.accepted_tokenizers_file()) or {}).get("sha256")
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _digest(folder: Path) -> str:
    return " ".join(files.sha256_of(folder / name) for name in ("config.json", "tokenizer.json"))


MOST = 5_000
"""Files of a folder whose vetting is remembered."""
MATCH = "match"
"""The check whether the tokenizer is this model's."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: a key of `vet.NAMES`.
        passed: whether nothing was found that refuses the model.
        sentence: what was found.
    """

    name: str
    passed: bool
    sentence: str


@dataclass(frozen=True)
class Vetting:
    """Whether a model folder can be used.

    Attributes:
        checks: all that was looked at.
        problems: why it is refused; each says what to do.
        warnings: what is worth knowing and no reason to refuse it.
    """

    checks: tuple[Check, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.problems

    @property
    def matches(self) -> bool:
        """Whether the tokenizer is this model's, as far as that can be told; a person may have accepted another one."""
        return any(check.name == MATCH and check.passed for check in self.checks)

    @property
    def is_acceptable(self) -> bool:
        """Whether it is refused only because its tokenizer seems to be another model's, where a person may know
        better (`accepted`)."""
        return [check.name for check in self.checks if not check.passed] == [MATCH]

    def to_dict(self) -> dict[str, Any]:
        return {"passed": self.passed, "is_acceptable": self.is_acceptable,
                "checks": [asdict(check) for check in self.checks],
                "problems": [problem.to_dict() for problem in self.problems], "warnings": list(self.warnings)}


def remembered(folder: Path) -> Vetting | None:
    """What was found of a folder that passed, if none of its files has changed since. What was said about it in another
    language isn't said again: then it is looked at once more."""
    with contextlib.suppress(OSError, UserError, KeyError, TypeError):
        state = formats.read("vetting", _place(folder))
        if (state is not None and state["program"] == slmstudio.__version__ and state["language"] == i18n.language()
                and state["files"] == signature(folder)):
            return Vetting(tuple(Check(**check) for check in state["checks"]), (), tuple(state["warnings"]))
    return None


def remember(folder: Path, vetting: Vetting, as_it_was: str) -> None:
    """Keep what was found of a folder that passed. It is only lost where that can't be written.

    Args:
        as_it_was: its signature before it was looked at.
    """
    with contextlib.suppress(OSError):
        state = {**formats.stamp("vetting"), "program": slmstudio.__version__, "language": i18n.language(),
                 "files": as_it_was, **vetting.to_dict()}
        files.write_atomically(_place(folder), files.dump_pretty(state))


def _place(folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:32]
    return paths.cache_dir() / "vetting" / f"{name}.json"


def signature(folder: Path) -> str:
    """Changes with the name, the size or a time of any file, those of subfolders included.

    Raises:
        OSError: there are too many of them, or one can't be looked at.
    """
    digest, count = hashlib.sha256(), 0
    for parent, folders, names in os.walk(folder):
        folders.sort()
        count += len(names)
        if count > MOST:
            raise OSError("too many files")
        for name in sorted(names):
            path = os.path.join(parent, name)
            status = os.stat(path)
            times = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
            digest.update(os.fsencode(path) + f"\0{times}\n".encode())
    return digest.hexdigest()


NAMES = ("files", "pickles", "code", "config", "weights", "tokenizer", "tokens", MATCH, "texts", "template")
"""The checks, in the order in which they are shown."""


def vet(folder: Path | str) -> Vetting:
    """Look at everything of a model folder that can be known before it is loaded. All problems are found at once.

    It takes a second, most of it for the tokenizer, which is read in a process of its own. What passed is remembered
    until a file changes.
    """
    folder = Path(folder)
    if known := remembered(folder):
        return known
    as_it_was = None
    try:
        with contextlib.suppress(OSError):
            as_it_was = signature(folder)
        vetting = _vet(folder)
    except UserError as error:
        said = " ".join(filter(None, (error.what, error.why, error.remedy)))
        return Vetting((Check("files", False, said),), (Problem(said),), ())
    if vetting.passed and as_it_was is not None:
        remember(folder, vetting, as_it_was)
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
            error.remedy = how_to_accept(Path(folder))
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
                share = contents.check_numbers(examined.weights, problems["weights"])
            done["weights"] += f" {contents.numbers_checked(share)}"
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
    if why and is_accepted(folder):
        warnings.append(join_sentences(why, tr("You accepted it anyway.")))
    elif why:
        problems[MATCH].append(Problem(join_sentences(why, tr(tokenizer.OWN))))
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
