"""What the files of a model folder really hold: Python pickles and programs behind any name, and weights that aren't
numbers."""

from __future__ import annotations

import bz2
import io
import lzma
import os
import pickletools
import re
import stat
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from slmstudio.core import files
from slmstudio.core.errors import Problem
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model.folder_entries import is_read
from slmstudio.core.model.json_files import and_more, printable
from slmstudio.core.model.weights import Tensor, Weights

EXPONENTS = {"F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80), "F32": ("<u4", 0x7F800000),
             "F64": ("<u8", 0x7FF0000000000000)}
"""For each format, the unsigned type of its size, and the bits that are all set only in NaN and infinity (IEEE 754)."""
BLOCK = 1 << 20
MOST_BYTES = 512 << 20
"""This many are looked at of all weights together: whole models of 250 million parameters in 16 bits, blocks of larger
ones."""
SECONDS = 3.0
"""After that a slow disk isn't waited for."""
NAMED = 3


def check_numbers(found: Weights, problems: list[Problem]) -> float:
    """Look for values that aren't numbers. Training looks at all of them when it starts.

    Args:
        problems: gets one that names the tensors.

    Returns:
        The share of the weights that was looked at, 1 for all.
    """
    every = max(1, -(-found.disk_bytes // MOST_BYTES))  # only every n-th block of a large tensor is read
    seen = total = 0
    broken: list[str] = []
    end = time.monotonic() + SECONDS
    for name, tensor in found.tensors.items():
        if tensor.dtype not in EXPONENTS:
            continue
        total += tensor.bytes
        with open(tensor.file, "rb", opener=files.regular) as file:
            for at in range(0, tensor.bytes, BLOCK * every):
                if time.monotonic() > end:
                    break
                file.seek(tensor.offset + at)
                block = file.read(min(BLOCK, tensor.bytes - at))
                seen += len(block)
                if _has_others(block, tensor):
                    broken.append(name)
                    break
    if broken:
        problems.append(Problem(tr("Some of the weights aren't numbers: NaN or infinity was found in {names}. "
                                   "Download the model again.", names=and_more(list(map(printable, broken)), NAMED))))
    return seen / total if total else 1.0


def _has_others(block: bytes, tensor: Tensor) -> bool:
    import numpy

    kind, mask = EXPONENTS[tensor.dtype]
    values = numpy.frombuffer(block, kind)
    return bool(((values & numpy.array(mask, kind)) == mask).any())


def numbers_checked(share: float) -> str:
    """What is said where nothing was found."""
    if share >= 1:
        return tr("All of them are numbers.")
    return tr("{share:.0%} of them were checked, and all of those are numbers. The others are checked when training "
              "starts.", share=share)


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
        return  # one that is read was reported by `entries`; another can't be opened by anybody
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
