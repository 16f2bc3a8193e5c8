"""A dataset file, read once from front to back: unpacked, as UTF-8 text, with its checksum and its encoding."""

from __future__ import annotations

import codecs
import hashlib
import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

from slmstudio.core import files
from slmstudio.core.data import packed
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.i18n import noop, tr
from slmstudio.core.paths import resources

# -- the encoding of a text file, judging by its first bytes ----------------------------------------------------

SNIFF_BYTES = 4096
SAMPLE_BYTES = 1 << 18
_NAMES = {"cp1252": "windows-1252", "cp1251": "windows-1251", "cp1256": "windows-1256", "cp1253": "windows-1253",
          "shift_jis": "Shift JIS", "cp932": "Shift JIS (cp932)", "gb18030": "GB 18030", "big5": "Big5",
          "euc_kr": "EUC-KR", "cp949": "EUC-KR (cp949)", "koi8_r": "KOI8-R",
          "cp866": "IBM 866"}
_NOT_IN_CP1252 = set(b"\x81\x8d\x8f\x90\x9d")
MANY = 20
"""Places at the beginning of JSON that aren't UTF-8, from which on that is more than damage."""
_BROKEN = re.compile("[\ud800-\udfff]+")


class Encoding(NamedTuple):
    """
    Attributes:
        name: for people.
        skip: bytes of the byte order mark.
        codec: Python's; "" for UTF-8.
        assumed: whether the file doesn't say it, so that it was guessed by its bytes.
    """

    name: str
    skip: int = 0
    codec: str = ""
    assumed: bool = False


def encoding_of(first: bytes, may_be_legacy: bool) -> Encoding:
    """The encoding of a text that begins so.

    Args:
        may_be_legacy: whether an encoding from before Unicode is believed. JSON is UTF-8 by its standard, so a few bad
            bytes in it are damage; a table that a spreadsheet saved is another matter.
    """
    if first.startswith(codecs.BOM_UTF8):
        return Encoding("UTF-8 with BOM", 3)
    order = utf16_order(first[:SNIFF_BYTES])
    if order:
        bom = 2 if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else 0
        return Encoding(f"UTF-16 {order}", bom, f"utf-16-{order}")
    sample = first[:SAMPLE_BYTES]
    if sample.isascii():
        return Encoding("UTF-8")
    text = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(sample)
    broken = len(_BROKEN.findall(text))
    if broken >= (1 if may_be_legacy else MANY) and broken > sum(
            not character.isascii() for character in _BROKEN.sub("", text)):
        return _legacy(sample)
    return Encoding("UTF-8")


def _legacy(sample: bytes) -> Encoding:
    from charset_normalizer import from_bytes

    # Nearly all ASCII with a few accents are the languages of Western Europe.
    has_few = sum(byte > 127 for byte in sample) * 20 < len(sample)
    best = None if has_few else from_bytes(sample, cp_isolation=list(_NAMES), enable_fallback=False).best()
    codec = best.encoding if best is not None else "cp1252"
    if codec == "cp1252" and set(sample) & _NOT_IN_CP1252:
        codec = "latin_1"
    return Encoding(_NAMES.get(codec, codec.replace("_", "-")), 0, codec, assumed=True)


def utf16_order(head: bytes) -> str:
    """ "LE" or "BE" for UTF-16, with a BOM or without, and "" for anything else."""
    if len(head) < 2 or head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return ""
    if head.startswith(codecs.BOM_UTF16_LE):
        return "LE"
    if head.startswith(codecs.BOM_UTF16_BE):
        return "BE"
    # Data begin with ASCII, which has a zero byte in every UTF-16 unit; UTF-8 text has none at all.
    order = {(False, True): "LE", (True, False): "BE"}.get((head[0:1] == b"\0", head[1:2] == b"\0"), "")
    if order:
        try:
            text = codecs.getincrementaldecoder(f"utf-16-{order}")("surrogatepass").decode(head)
        except UnicodeDecodeError:
            return ""
        fits = (text[:1].isprintable() or text[:1].isspace()) and text.count("\0") <= len(text) / 100
        order = order if fits else ""
    return order


# -- the file ---------------------------------------------------------------------------------------------------

CHUNK_BYTES = 1 << 21
CHOOSE = noop("Choose a file with rows or text: JSONL, JSON, CSV, Excel, Parquet, SQLite, text, Markdown, PDF or Word.")
IN_MODEL_TAB = noop("Open it in the Model tab. A dataset is a file with rows or text.")
PAGE_SUFFIXES = (".html", ".htm")
"""Endings of web pages, which may hold questions with answers."""
_OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_IN_ZIP = {"xl/workbook.xml": "xlsx", "xl/workbook.bin": "xlsb", "word/document.xml": "docx", "content.xml": "ods"}
_BEFORE_PDF = b"\xef\xbb\xbf\0 \t\r\n\f"


class ReadingCancelled(UserError):
    """The user cancelled; nothing was read."""


class Source:
    """One pass over a file.

    Args:
        whole: whether all of it will be read. If not, it gets no checksum, which would delay the first rows.

    Attributes:
        name: of the file, or of a member of an archive.
        encoding: as in `Encoding.name`; known from the first chunk on.
        assumed: whether the encoding was guessed.
        sha256: of the raw bytes, in hexadecimal; known after the last chunk.
        size: bytes of the file.
    """

    def __init__(self, path: Path, progress: Callable[[int, int], None] | None = None,
                 cancelled: Callable[[], bool] | None = None, member: packed.Member | None = None, whole: bool = True):
        self.path = path
        self._whole = whole
        self.name = member.name if member else path.name
        self.encoding = "UTF-8"
        self.assumed = False
        self.sha256 = ""
        self.size = 0
        self._progress = progress
        self._cancelled = cancelled
        self._member = member
        self._known: tuple[int, int, int, int] | None = None  # the file whose checksum was computed

    @property
    def suffix(self) -> str:
        """As `suffix_of` its name."""
        return suffix_of(self.name)

    def chunks(self, may_be_legacy: bool = False) -> Iterator[bytes]:
        """The text in UTF-8 without a BOM, about 1 MB at a time, whatever the file's encoding.

        What is broken in UTF-16 (half a pair, half a unit) comes out as bytes that aren't valid UTF-8,
        so that one check finds both.

        Raises:
            UserError: no file, a folder, no permission, binary content, or a file that changes meanwhile.
            ReadingCancelled: `cancelled` said so.
        """
        data = self.unpacked()
        first = next(data, b"")
        while len(first) < SNIFF_BYTES and (more := next(data, b"")):
            first += more
        self._refuse_binary(first)
        encoding = encoding_of(first, may_be_legacy)
        self.encoding, self.assumed = encoding.name, encoding.assumed
        yield from _with_newlines(_as_utf8(first[encoding.skip:], data, encoding))

    def _refuse_binary(self, first: bytes) -> None:
        """Raise UserError for a file whose first bytes show that it holds no text."""
        head, name = first[:SNIFF_BYTES], self.name
        opening = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
        if opening.startswith((b"<!doctype", b"<html")) and self.suffix not in PAGE_SUFFIXES:
            raise not_a_page_with_rows(name)
        for begin, said in _signatures():
            if len(said) > 1 and (first.startswith(begin) or opening.startswith(begin)):
                raise UserError(tr(said[0], name=name), "", tr(said[1]))
        if first[8:9] == b"{" and b'"data_offsets"' in first:
            raise UserError(tr("{name} isn't a dataset: it's a safetensors file.", name=name), "", tr(IN_MODEL_TAB))
        # NULs inside JSON are damage in single rows, which report it themselves.
        if 0 in head and not opening.startswith((b"{", b"[")) and not utf16_order(head):
            if head.strip(b"\0"):
                raise UserError(tr("{name} isn't a dataset: it's binary data, not text.", name=name), "", tr(CHOOSE))
            raise UserError(tr("{name} isn't a dataset: it contains null bytes where text should be. It's damaged, or "
                               "was never completely written.", name=name), "", tr(packed.AGAIN))

    def unpacked(self) -> Iterator[bytes]:
        """The file's bytes, of a compressed file those that it holds. Raises as `chunks`."""
        return packed.decompressed(self._raw_chunks(), self.name)

    def head(self, size: int = SNIFF_BYTES) -> bytes:
        """The first bytes, unpacked; the pass over the file hasn't begun after that."""
        found = b""
        for chunk in Source(self.path, None, self._cancelled, self._member).unpacked():
            found += chunk
            if len(found) >= size:
                break
        return found[:size]

    def seekable(self) -> BinaryIO:
        """The file for readers that seek: the file itself, or its unpacked content in memory.

        The checksum is known after that. Raises as `chunks`.
        """
        begin = next(Source(self.path, None, self._cancelled)._raw_chunks(), b"")
        if self._member is None and not packed.is_compressed(begin):
            self.read_through()
            return open(self.path, "rb", opener=files.regular)
        return io.BytesIO(b"".join(self.unpacked()))

    def format(self) -> str:
        """What a file is that isn't text, by its first bytes and what an archive holds; "" of text.

        Raises:
            UserError: it is a program's own file that can't be read here; or as `chunks`.
        """
        head, name = self.head(), self.name
        known = next((said[0] for begin, said in _signatures() if len(said) == 1 and head.startswith(begin)), "")
        if known:
            return known
        # Readers of PDF look for its mark in the first 1,024 bytes.
        if head.lstrip(_BEFORE_PDF).startswith(b"%PDF-") or (self.suffix == ".pdf" and b"%PDF-" in head[:1024]):
            return "pdf"
        if self.suffix == ".pdf":
            raise UserError(tr("{name} is a damaged PDF file.", name=name), tr("It doesn't begin as a PDF file does."),
                            tr("Copy or download it again."))
        if head.startswith(_OLD_OFFICE) and self.suffix in (".xls", ".xlsx", ".xlsm"):
            return "xls"
        if not head.startswith(packed.ZIP):
            return ""
        with self.seekable() as file, zipfile.ZipFile(file) as opened:
            found = zip_format(opened.namelist())
        if found == "pkl":
            raise UserError(tr("{name} isn't a dataset: it's a PyTorch file.", name=name), "", tr(IN_MODEL_TAB))
        if not found:
            raise UserError(tr("{name} is an archive within an archive.", name=name), "", tr(packed.UNPACK))
        if found == "ods" and self.suffix == ".odt":
            raise UserError(tr("{name} is an OpenDocument text.", name=name),
                            tr("Text is read from Word and PDF files."), tr("Save it as .docx, and open that file."))
        return found

    def read_through(self) -> None:
        """Read all bytes for the checksum alone. Raises as `chunks`."""
        for _ in self._raw_chunks() if self._whole else ():
            pass

    def check_unchanged(self) -> None:
        """Raise UserError if the file isn't the one whose checksum was computed."""
        try:
            if self._known is not None and _identity(self.path.stat()) != self._known:
                raise self._changed()
        except OSError as error:
            raise self._cannot_read(error, begun=True) from error

    def _raw_chunks(self) -> Iterator[bytes]:
        if self._member is not None:
            for chunk in self._member.chunks(CHUNK_BYTES):
                self.check_cancelled()
                self.size += len(chunk)
                yield chunk
            return
        digest = hashlib.sha256()
        done = 0
        try:
            with open(self.path, "rb", opener=files.regular) as file:
                before = os.fstat(file.fileno())
                self.size = before.st_size
                while True:
                    self.check_cancelled()
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
            raise UserError(tr("{name!r} isn't a file name.", name=str(self.path)),
                            tr("The system says: {error}.", error=error), tr(CHOOSE)) from error
        except OSError as error:
            raise self._cannot_read(error, begun=done > 0) from error
        if done != self.size or _identity(before) != _identity(after):
            raise self._changed()
        self.sha256, self._known = digest.hexdigest(), _identity(after)

    def check_cancelled(self) -> None:
        """Raise ReadingCancelled if the user cancelled."""
        if self._cancelled is not None and self._cancelled():
            raise ReadingCancelled(tr("Reading {name} was cancelled.", name=self.name))

    def _changed(self) -> UserError:
        return UserError(tr("{name} changed while it was read.", name=self.name), tr("Another program wrote to it."),
                         tr("Wait until that program is done, then open the file again."))

    def _cannot_read(self, error: OSError, begun: bool) -> UserError:
        if not isinstance(error, FileNotFoundError):
            return from_os_error(error, tr("{path} can't be read.", path=self.path.name))
        if begun:
            return UserError(tr("{name} disappeared while it was read.", name=self.path.name),
                             tr("It was moved or deleted."), tr("Put it back, or choose another file."))
        return UserError(tr("{path} doesn't exist.", path=self.path),
                         tr("It may have been moved, renamed or deleted."),
                         tr("Check the path, or choose another file."))


def suffix_of(name: str) -> str:
    """The ending that says what is in a file, in lower case: ".csv" of rows.csv.gz."""
    path = Path(name)
    return Path(path.stem).suffix.lower() if path.suffix.lower() in packed.SUFFIXES else path.suffix.lower()


def _identity(info: os.stat_result) -> tuple[int, int, int, int]:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


def zip_format(names: Collection[str]) -> str:
    """What a ZIP archive is, by what is in it: "" for one that just holds files."""
    found = next((kind for name, kind in _IN_ZIP.items() if name in names), "")
    return found or ("pkl" if any(name.endswith("data.pkl") for name in names) else "")


@lru_cache(maxsize=1)
def _signatures() -> list[tuple[bytes, list[str]]]:
    """How files begin: with their format, or with what is said about one that holds no rows, and its remedy."""
    table = json.loads((resources() / "importing" / "signatures.json").read_text(encoding="utf-8"))
    return [(begin.encode("latin-1"), said) for begin, *said in table]


def not_a_page_with_rows(name: str, why: str = "") -> UserError:
    """What is said about a web page."""
    return UserError(tr("{name} isn't a dataset: it's a web page.", name=name), why,
                     tr("Save the data as JSONL (one JSON object per line) or CSV, and open that file."))


def _as_utf8(first: bytes, rest: Iterator[bytes], encoding: Encoding) -> Iterator[bytes]:
    if not encoding.codec:
        yield first
        yield from rest
        return
    errors = "replace" if encoding.assumed else "surrogatepass"
    decoder = codecs.getincrementaldecoder(encoding.codec)(errors)
    for chunk in chain([first], rest):
        yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
    try:
        yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        yield b"\xff"


def _with_newlines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Old Mac files end their lines with a lone CR: make it LF, so that nothing else has to know."""
    first = next(chunks, b"")
    lone_cr = b"\r" in first[:-1] and b"\n" not in first
    yield first.replace(b"\r", b"\n") if lone_cr else first
    for chunk in chunks:
        yield chunk.replace(b"\r", b"\n") if lone_cr else chunk
