"""Vets a model folder: everything that is looked at before anything of it is loaded."""

from __future__ import annotations

import bz2
import contextlib
import io
import lzma
import os
import pickletools
import re
import stat
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slmstudio.core import files
from slmstudio.core.errors import Problem, UserError, os_errors_as
from slmstudio.core.i18n import join_sentences, noop, ntr, tr
from slmstudio.core.model import facts
from slmstudio.core.model.facts import Examined, ModelFacts
from slmstudio.core.model.json_files import and_more, printable
from slmstudio.core.model.structure.entries import is_read
from slmstudio.core.model.vetting import numbers, result, tokenizer
from slmstudio.core.model.vetting.result import MATCH, Check, Vetting, why_no_gguf
from slmstudio.core.units import format_bytes, format_count

# -- What the files of a model folder really are, whatever their names: Python pickles, and programs.

MOST = 2_000
"""Files that are looked at, those of subfolders included."""
HEAD = 64 * 1024
"""Bytes at the beginning of a file that are looked at; of an archive, as many at its end."""
_MEMORY = 64 * 2**20
_FIRST = frozenset(bytes([code]) for code in b"(]}cIFLVSNUTX")
"""What a pickle of protocol 0 or 1 begins with."""
_NONSENSE = ("unknown", "pop", "MARK", "memo", "stack not empty", "invalid", "could not convert")
"""What pickletools says about bytes that aren't a pickle, and doesn't say about one that is cut off."""
_PROGRAMS = (".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".exe", ".bat", ".cmd", ".ps1", ".sh")


@dataclass
class Contents:
    """What was found, by paths below the folder.

    Attributes:
        pickles: files that hold a pickle.
        programs: files that hold code.
        files: how many were looked at.
        whole: whether that was all of them.
    """

    pickles: list[str] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)
    files: int = 0
    whole: bool = True


def look(folder: Path) -> Contents:
    """Look at the beginning of every file of a folder. Links and what isn't a file are passed over.

    Raises:
        OSError: the folder can't be read.
    """
    found = Contents()
    todo = [folder]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                if found.files >= MOST:
                    found.whole = False
                    return found
                _look_at(entry, folder, todo, found)
    return found


def _look_at(entry: os.DirEntry[str], folder: Path, todo: list[Path], found: Contents) -> None:
    if entry.is_dir(follow_symlinks=False):
        todo.append(Path(entry.path))
        return
    try:
        # In the hub's cache every file is a link; it has been checked that none leads elsewhere.
        followed = entry.is_symlink() and Path(entry.path).parent == folder
        if not stat.S_ISREG(os.stat(entry.path, follow_symlinks=followed).st_mode):
            return
        found.files += 1
        with open(entry.path, "rb", opener=files.regular) as file:
            pickled = is_pickle(file)
    except OSError:
        return  # one that is read was reported by `structure.entries`; another can't be opened by anybody
    name = Path(entry.path).relative_to(folder).as_posix()
    if pickled:
        found.pickles.append(name)
    if entry.name.lower().endswith(_PROGRAMS):
        found.programs.append(name)


def judge(found: Contents, problems: list[Problem], warnings: list[str]) -> None:
    """Refuse pickles where a library would open them; name the others, and what holds code, in a warning."""
    for name in found.pickles:
        if is_read(name):
            problems.append(Problem(tr("{file} is a Python pickle behind another name. A pickle can run code when it "
                                       "is opened. Put the model's own file in its place, or choose another model.",
                                       file=printable(name))))
    beside = [name for name in found.pickles if not is_read(name)]
    for names, sentence in (
        (beside, noop("The folder also contains Python pickles, which this program never opens: {files}.")),
        (found.programs, noop("The folder also contains programs, which this program never runs: {files}.")),
    ):
        if names:
            warnings.append(tr(sentence, files=and_more([printable(name) for name in sorted(names)], 5)))
    if not found.whole:
        warnings.append(tr("The folder and its subfolders contain more than {most:,} files. The others weren't "
                           "checked.", most=MOST))


def is_pickle(file: io.BufferedReader) -> bool:
    """Whether a file holds a Python pickle: as it is, compressed, in an archive such as PyTorch's, or in a NumPy
    array."""
    size = os.fstat(file.fileno()).st_size
    head = file.read(HEAD)
    if head.startswith(b"PK\x03\x04") or head[257:262] == b"ustar":
        file.seek(max(0, size - HEAD))
        ends = head + file.read(HEAD)
        return any(name in ends for name in (b".pkl", b".pickle", b"pickle\0"))
    if head.startswith(b"\x93NUMPY"):
        return re.search(rb"'descr': *(?:'[|<>=]?O|\[.*'[|<>=]?O)", head[:4096], re.DOTALL) is not None
    return _begins_pickle(_unpacked(head) or head)


def _unpacked(head: bytes) -> bytes | None:
    """The beginning of what a compressed file holds; None if it isn't one."""
    try:
        if head.startswith((b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")):
            return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(head, HEAD)
        if head.startswith(b"BZh"):
            return bz2.BZ2Decompressor().decompress(head, HEAD)
        if head.startswith((b"\xfd7zXZ", b"\x5d\x00\x00")):
            return lzma.LZMADecompressor(memlimit=_MEMORY).decompress(head, HEAD)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, MemoryError):
        pass
    return None


def _begins_pickle(head: bytes) -> bool:
    """Whether bytes read as a pickle, up to its end or theirs: each opcode finds on the stack what it needs.

    From protocol 2 on, pickles begin with a mark; of these a few opcodes are enough.
    """
    marked = head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    if not marked and head[:1] not in _FIRST:
        return False
    listed = io.StringIO()
    try:
        pickletools.dis(head, listed)
    except Exception as error:  # what isn't a pickle fails in many ways
        wrong = any(words in str(error) for words in _NONSENSE)
        valid = listed.getvalue().count("\n")
        return marked and valid > 3 if wrong else len(head) == HEAD and (marked or valid > 1)
    return len(head) > 1


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
            error.remedy = result.how_to_accept(Path(folder))
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
            seen = look(folder)
        judge(seen, problems["pickles"], warnings)
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


def _seen(examined: Examined, seen: Contents) -> dict[str, str]:
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
    if why and result.is_accepted(folder):
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
