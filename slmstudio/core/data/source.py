"""A dataset file, read once from front to back: as UTF-8 text, with its checksum and its encoding."""

from __future__ import annotations

import codecs
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from slmstudio.core.errors import UserError, from_os_error

CHUNK_BYTES = 1 << 20
SNIFF_BYTES = 4096
CHOOSE = "Choose a JSONL file (one JSON object a line) or a text file (.txt, .md)."
UNPACK = "Unpack it and choose the JSONL file in it."
AS_JSONL = "Save the data as JSONL (one JSON object a line) and open that file."
IN_MODEL_TAB = "Open it in the Model tab; here a JSONL file with rows is needed."

SIGNATURES = (
    (b"GGUF", "a GGUF model", IN_MODEL_TAB),
    (b"PK\x03\x04", "a ZIP archive", UNPACK),
    (b"\x1f\x8b", "a gzip archive", UNPACK),
    (b"BZh", "a bzip2 archive", UNPACK),
    (b"\xfd7zXZ\x00", "an xz archive", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture", CHOOSE),
    (b"\xff\xd8\xff", "a JPEG picture", CHOOSE),
    (b"GIF8", "a GIF picture", CHOOSE),
    (b"%PDF-", "a PDF document", AS_JSONL),
    (b"PAR1", "a Parquet table", AS_JSONL),
    (b"ARROW1", "an Arrow table", AS_JSONL),
    (b"\xff\xff\xff\xff", "an Arrow stream", AS_JSONL),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", AS_JSONL),
    (b"SQLite format 3\x00", "an SQLite database", AS_JSONL),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document (.xls or .doc)", AS_JSONL),
    (b"\x7fELF", "a Linux program", CHOOSE),
    (b"{\\rtf", "an RTF document", AS_JSONL),
    (b"version https://git-lfs", "a Git LFS pointer, not the data itself",
     "Download the file itself (`git lfs pull`), then open it."),
)
IN_ZIP = ((b"xl/", "an Excel workbook", AS_JSONL), (b"word/", "a Word document", AS_JSONL),
          (b"opendocument", "an OpenDocument file", AS_JSONL), (b"data.pkl", "a PyTorch file", IN_MODEL_TAB))
TEXT_SIGNATURES = ((b"<!doctype", "a web page"), (b"<html", "a web page"), (b"<?xml", "an XML document"))


class ReadingCancelled(UserError):
    """The user cancelled; nothing was read."""


class Source:
    """One pass over a file.

    Attributes:
        encoding: "UTF-8", "UTF-8 with BOM", "UTF-16 LE" or "UTF-16 BE"; known from the first chunk on.
        sha256: of the raw bytes, in hexadecimal; known after the last chunk.
        size: bytes of the file.
    """

    def __init__(self, path: Path, progress: Callable[[int, int], None] | None = None,
                 cancelled: Callable[[], bool] | None = None):
        self.path = path
        self.encoding = "UTF-8"
        self.sha256 = ""
        self.size = 0
        self._progress = progress
        self._cancelled = cancelled

    def chunks(self) -> Iterator[bytes]:
        """The text in UTF-8 without a BOM, about 1 MB at a time, whatever the file's encoding.

        What is broken in UTF-16 (half a pair, half a unit) comes out as bytes that are no valid UTF-8,
        so that one check finds both.

        Raises:
            UserError: no file, a folder, no permission, binary content, or a file that changes meanwhile.
            ReadingCancelled: `cancelled` said so.
        """
        raw = self._raw_chunks()
        first = next(raw, b"")
        self._refuse_binary(first)
        self.encoding, skip, codec = _encoding_of(first)
        yield from _with_newlines(_as_utf8(first[skip:], raw, codec))

    def _raw_chunks(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        done = 0
        try:
            before = self.path.stat()
            self._refuse_special(before.st_mode)
            self.size = before.st_size
            with open(self.path, "rb") as file:
                while True:
                    if self._cancelled is not None and self._cancelled():
                        raise ReadingCancelled(f"Reading {self.path.name} was cancelled.")
                    chunk = file.read(CHUNK_BYTES)
                    done += len(chunk)
                    # A file that somebody keeps appending to would never end.
                    if not chunk or done > self.size:
                        break
                    digest.update(chunk)
                    if self._progress is not None:
                        self._progress(done, self.size)
                    yield chunk
            after = self.path.stat()
        except ValueError as error:  # a NUL in the path
            raise UserError(f"{str(self.path)!r} is no file name.", f"The system says: {error}.", CHOOSE) from error
        except OSError as error:
            raise self._cannot_read(error, begun=done > 0) from error
        if done != self.size or _identity(before) != _identity(after):
            raise UserError(f"{self.path.name} changed while it was read.", "Another program wrote to it.",
                            "Wait until that program is done, then open the file again.")
        self.sha256 = digest.hexdigest()

    def _refuse_special(self, mode: int) -> None:
        if stat.S_ISDIR(mode):
            raise UserError(f"{self.path} is a folder, not a file.", "", "Choose a JSONL file in it.")
        if not stat.S_ISREG(mode):
            raise UserError(f"{self.path} is no ordinary file.", "It is a device or a pipe.", CHOOSE)

    def _cannot_read(self, error: OSError, begun: bool) -> UserError:
        if begun and isinstance(error, FileNotFoundError):
            return UserError(f"{self.path.name} vanished while it was read.", "It was moved or deleted.",
                             "Put it back, or choose another file.")
        if isinstance(error, FileNotFoundError):
            return UserError(f"{self.path} does not exist.", "It may have been moved, renamed or deleted.",
                             "Check the path, or choose another file.")
        if isinstance(error, PermissionError):
            return UserError(f"{self.path} cannot be read.", "Permission was refused.",
                             "Change the permissions of the file, or copy it to a folder of your own.")
        return from_os_error(error, f"read {self.path}")

    def _refuse_binary(self, first: bytes) -> None:
        found = _binary_kind(first)
        if found is not None:
            kind, remedy = found
            raise UserError(f"{self.path.name} is no dataset: it is {kind}.", "", remedy)


def _identity(info: os.stat_result) -> tuple[int, int, int, int]:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


def _binary_kind(first: bytes) -> tuple[str, str] | None:
    """What a file is, and what to do with it, when its first bytes show that it holds no JSON text."""
    if first.startswith(b"PK\x03\x04"):
        for mark, kind, remedy in IN_ZIP:
            if mark in first:
                return kind, remedy
    for magic, kind, remedy in SIGNATURES:
        if first.startswith(magic):
            return kind, remedy
    head = first[:SNIFF_BYTES]
    opening = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    for magic, kind in TEXT_SIGNATURES:
        if opening.startswith(magic):
            return kind, AS_JSONL
    if first[8:9] == b"{" and b'"data_offsets"' in first:
        return "a safetensors file", IN_MODEL_TAB
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "text in UTF-32", "Save it as UTF-8 and open it again."
    # NULs among JSON are damage in single rows; the rows say so themselves.
    if 0 not in head or opening.startswith((b"{", b"[")) or _utf16_order(head):
        return None
    if not head.strip(b"\0"):
        return "damaged, or was never written: zero bytes stand where text should be", "Get the file once more."
    return "binary data, not text", CHOOSE


def _utf16_order(head: bytes) -> str:
    """ "LE" or "BE" for UTF-16, with a BOM or without, and "" for anything else."""
    if len(head) < 2 or head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return ""
    if head.startswith(codecs.BOM_UTF16_LE):
        return "LE"
    if head.startswith(codecs.BOM_UTF16_BE):
        return "BE"
    # JSON begins with ASCII, which has a zero byte in every UTF-16 unit; UTF-8 text has none at all.
    order = {(False, True): "LE", (True, False): "BE"}.get((head[0:1] == b"\0", head[1:2] == b"\0"), "")
    if order:
        try:
            text = codecs.getincrementaldecoder(f"utf-16-{order}")("surrogatepass").decode(head)
        except UnicodeDecodeError:
            return ""
        if not text[:1].isprintable() and not text[:1].isspace():
            return ""
        if text.count("\0") > len(text) / 100:
            return ""
    return order


def _encoding_of(first: bytes) -> tuple[str, int, str]:
    """The encoding's name for people, the bytes of its BOM, and Python's codec; no codec for UTF-8."""
    if first.startswith(codecs.BOM_UTF8):
        return "UTF-8 with BOM", 3, ""
    order = _utf16_order(first[:SNIFF_BYTES])
    if order:
        bom = 2 if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else 0
        return f"UTF-16 {order}", bom, f"utf-16-{order}"
    return "UTF-8", 0, ""


def _as_utf8(first: bytes, rest: Iterator[bytes], codec: str) -> Iterator[bytes]:
    if not codec:
        yield first
        yield from rest
        return
    decoder = codecs.getincrementaldecoder(codec)("surrogatepass")
    yield decoder.decode(first).encode("utf-8", "surrogatepass")
    for chunk in rest:
        yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        yield b"\xff"


def _with_newlines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Old Mac files end their lines with a lone CR: make it LF, so that nothing else has to know."""
    first = next(chunks, b"")
    lone_cr = b"\r" in first[:-1] and b"\n" not in first
    yield first.replace(b"\r", b"\n") if lone_cr else first
    for chunk in chunks:
        yield chunk.replace(b"\r", b"\n") if lone_cr else chunk
