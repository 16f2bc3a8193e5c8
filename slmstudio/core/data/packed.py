"""Compressed files and archives, with a limit on what they expand to."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from slmstudio.core import units
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import noop, tr

SUFFIXES = (".gz", ".zst", ".zip")
GZIP, ZSTD, ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"
FREE_BYTES = 8 << 20
"""What a file may expand to, however small it is."""
MOST_TIMES = 500
"""Beyond that it may expand to this many times its size: text that says one thing over and over takes about 200."""
AGAIN = noop("Copy or download it again.")
UNPACK = noop("Unpack it and open the files in it.")
CHUNK = 1 << 20


class Member(NamedTuple):
    """A file in a ZIP archive, by its path there, with "/"."""

    archive: Path
    name: str

    def chunks(self, size: int) -> Iterator[bytes]:
        """Its bytes. Raises UserError where it is damaged or locked."""
        try:
            with zipfile.ZipFile(self.archive) as opened, opened.open(self.name) as file:
                packed = opened.getinfo(self.name).compress_size
                done = 0
                while chunk := file.read(size):
                    done += len(chunk)
                    check_growth(done, packed, self.name)
                    yield chunk
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:  # the last: how it was packed
            raise UserError(tr("{name} in {archive} is damaged.", name=self.name, archive=self.archive.name),
                            tr("The archive says: {error}.", error=error), tr(AGAIN)) from error


def is_compressed(head: bytes) -> bool:
    """Whether the bytes begin a gzip or Zstandard file."""
    return head.startswith((GZIP, ZSTD))


def check_growth(unpacked: int, packed: int, name: str) -> None:
    """Raise UserError where a file expands to more than real data does: an attack, or useless."""
    if unpacked > FREE_BYTES and unpacked > MOST_TIMES * max(packed, 1):
        raise UserError(tr("{name} wasn't read.", name=name),
                        tr("It expands to more than {times:,} times its size ({size}), which suggests a damaged or "
                           "malicious file.", times=MOST_TIMES, size=units.format_bytes(packed)),
                        tr("Unpack it yourself if you trust it, and open what is in it."))


def check_archive(file: BinaryIO, name: str) -> None:
    """The same for what is in a file that is a ZIP archive, as office documents are."""
    if file.read(4) == ZIP:
        with zipfile.ZipFile(file) as opened:
            for info in opened.infolist():
                check_growth(info.file_size, info.compress_size, name)
    file.seek(0)


class _Reader(io.RawIOBase):
    """Chunks as the file that pyarrow reads."""

    def __init__(self, chunks: Iterator[bytes]):
        self._chunks, self._rest, self.taken = chunks, b"", 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            self._rest = next(self._chunks, b"")
            self.taken += len(self._rest)
        found, self._rest = (self._rest[:size], self._rest[size:]) if size >= 0 else (self._rest, b"")
        return found


def decompressed(raw: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The bytes of a file, unpacked where it is a gzip or Zstandard file; they tell by their beginning.

    Raises:
        UserError: it is damaged or cut short, or expands beyond the limit.
    """
    first = next(raw, b"")
    everything = chain([first], raw)
    if not is_compressed(first):
        yield from everything
        return
    import pyarrow

    codec, known_as = ("gzip", "gzip") if first.startswith(GZIP) else ("zstd", "Zstandard")
    reader, made = _Reader(everything), 0
    try:
        with pyarrow.CompressedInputStream(pyarrow.PythonFile(reader, mode="r"), codec) as file:
            while text := file.read(CHUNK):
                made += len(text)
                check_growth(made, reader.taken, name)
                yield text
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(tr("{name} is a damaged {format} file, or was cut short.", name=name, format=known_as),
                        tr("Unpacking it failed: {error}.", error=error), tr(AGAIN)) from error


def members(path: Path) -> list[Member]:
    """The files in a ZIP archive that are worth a look, by name.

    Raises:
        UserError: it is damaged, has a password, or a name that leads out of it.
    """
    try:
        with zipfile.ZipFile(path) as opened:
            infos = [info for info in opened.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, EOFError) as error:
        raise UserError(tr("{name} is a damaged ZIP archive.", name=path.name),
                        tr("Opening it failed: {error}.", error=error), tr(AGAIN)) from error
    for info in infos:
        parts = PurePosixPath(info.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]:
            raise UserError(tr("{name} wasn't read.", name=path.name),
                            tr("The name of a file in it, {filename!r}, leads out of the archive. Malicious archives "
                               "do that.", filename=info.filename[:80]),
                            tr("Get the data from somewhere else, or be careful when you unpack it."))
        if info.flag_bits & 1:
            raise UserError(tr("{name} has a password.", name=path.name), "", tr(UNPACK))
        check_growth(info.file_size, info.compress_size, info.filename)
    return [Member(path, info.filename) for info in sorted(infos, key=lambda info: info.filename)]
