"""Writing files so that they are complete or absent, and reading JSON lines that are still being written."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import math
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from slmstudio.core.errors import NotAFile
from slmstudio.core.i18n import noop, tr

PIECE = 2**20
"""Bytes that a `LineReader` takes at once."""
_KINDS = ((stat.S_ISDIR, noop("It is a folder, not a file.")), (stat.S_ISFIFO, noop("It is a pipe, not a file.")),
          (stat.S_ISSOCK, noop("It is a socket, not a file.")))


def regular(path: str | os.PathLike[str], flags: int) -> int:
    """An `opener` for `open`, for files that come from elsewhere: it opens only regular files, and links to them.

    Raises:
        NotAFile: it is something else. It isn't opened: that alone might wait forever, or have an effect.
    """
    with contextlib.suppress(FileNotFoundError):  # `open` makes it, or says so itself
        _refuse_special(os.stat(path).st_mode, path)
    # It may be another one by now, so don't wait for it, and look again.
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0), 0o666)
    try:
        _refuse_special(os.fstat(descriptor).st_mode, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def own(path: str | os.PathLike[str], flags: int) -> int:
    """As `regular`, but for files that this program made: a link in such a file's place isn't followed, because what is
    written would be written to somebody else's."""
    return regular(path, flags | getattr(os, "O_NOFOLLOW", 0))


def _refuse_special(mode: int, path: str | os.PathLike[str]) -> None:
    if not stat.S_ISREG(mode):
        sentence = next((said for is_kind, said in _KINDS if is_kind(mode)), noop("It is a device, not a file."))
        raise NotAFile(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, tr(sentence), str(path))


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """All of a regular file. Raises OSError, as `regular` too."""
    with open(path, "rb", opener=regular) as file:
        return file.read()


def read_text(path: str | os.PathLike[str]) -> str:
    """All of a regular file in UTF-8, with its line ends made \n. Raises OSError, as `regular` too, and
    UnicodeDecodeError."""
    with open(path, encoding="utf-8", opener=regular) as file:
        return file.read()


def fsync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut. Windows has no such call and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, content: str | bytes | Iterable[bytes], private: bool = False,
                     check: Callable[[Path], None] | None = None) -> None:
    """Write `content` beside `path`, flush it to the disk, and rename it into place.

    Args:
        content: all of it, or pieces that are made one after another.
        private: whether its owner alone may read it, from its first byte on.
        check: looks at the new file before it is renamed; what it raises ends it.

    Raises:
        OSError: nothing was changed at `path`, and the partial file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):  # root would replace even a device such as /dev/null
        _refuse_special(os.stat(path).st_mode, path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    data = content.encode("utf-8") if isinstance(content, str) else content
    mode = 0o600 if private else 0o666
    try:
        if private:
            partial.unlink(missing_ok=True)  # one that others can read would stay so
        with open(partial, "wb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), mode)
                  ) as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            os.fsync(file.fileno())
        if check is not None:
            check(partial)
        _replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def _replace(partial: Path, path: Path) -> None:
    """Rename over `path`. Windows refuses that while somebody reads it, which takes milliseconds."""
    for _ in range(20 if os.name == "nt" else 0):
        with contextlib.suppress(PermissionError):
            return os.replace(partial, path)
        time.sleep(0.01)
    os.replace(partial, path)


def put_aside(path: Path, why: str) -> Path:
    """Rename a file that can't be used, so that nothing is written over it. Returns its new path.

    Raises:
        OSError: it can't be renamed.
    """
    import secrets  # few starts of the program need it

    aside = path.with_name(f"{path.name}.{why}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}")
    path.replace(aside)
    return aside


def new_folder(wanted: Path) -> Path:
    """Make a folder that nobody else has: `wanted`, or where that is taken NAME-2, NAME-3 and so on. Its owner alone
    may look into it, wherever it is: runs and jobs hold rows and answers.

    Raises:
        OSError: it can't be made.
    """
    wanted.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            return folder
    raise AssertionError  # never: the numbers have no end


def without_non_finite(value: Any) -> Any:
    """NaN and Inf aren't JSON: they travel as null plus a flag, `non_finite`, naming the keys.

    >>> without_non_finite({"loss": float("nan"), "step": 3})
    {'loss': None, 'step': 3, 'non_finite': {'loss': 'nan'}}
    """
    if isinstance(value, dict):
        flags = {k: str(v) for k, v in value.items() if isinstance(v, float) and not math.isfinite(v)}
        clean = {k: None if k in flags else without_non_finite(v) for k, v in value.items()}
        return {**clean, "non_finite": flags} if flags else clean
    if isinstance(value, (list, tuple)):
        return [None if isinstance(v, float) and not math.isfinite(v) else without_non_finite(v) for v in value]
    return value


def an_object(value: Any) -> dict[str, Any]:
    """What should be an object in a file that may be damaged; an empty one where it isn't."""
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[dict[str, Any]]:
    """What should be a list of objects in a file that may be damaged: those that are."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def number(event: dict[str, Any], name: str) -> float | None:
    """A finite number of a JSON object, or None: the worker sends NaN and Inf as null."""
    return finite(event.get(name))


def finite(value: Any) -> float | None:
    """A JSON value as a finite number; None if it is none."""
    if type(value) is float:  # the usual cases first: a long run's events have tens of millions
        return value if -math.inf < value < math.inf else None
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    if value is None or isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an integer of more digits than a float holds
        return None


def dump_line(value: dict[str, Any]) -> bytes:
    """One JSON object as one UTF-8 line."""
    return json.dumps(without_non_finite(value), ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n"


def dump_pretty(value: Any) -> str:
    return json.dumps(without_non_finite(value), ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def append_line(path: Path, value: dict[str, Any]) -> None:
    """Append one JSON object in a single write, so that two writers never mix their bytes.

    A line that a power cut left unfinished is closed first, so that only that line is lost.

    Raises:
        OSError: as `own`, too.
    """
    with open(path, "ab+", opener=own) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            unfinished = file.read(1) != b"\n"
        else:
            unfinished = False
        file.write((b"\n" if unfinished else b"") + dump_line(value))


_observer: ContextVar[Callable[[Path, int], None] | None] = ContextVar("observer", default=None)


@contextlib.contextmanager
def observed_reading(observer: Callable[[Path, int], None]) -> Iterator[None]:
    """Call `observer` with each file that a `LineReader` of this thread reads and the bytes that it has taken since the
    last call, so that whoever reads long files can say how far that is."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


class LineReader:
    """Reads the JSON objects that were appended to a file since the last call.

    Half a line stays unread until its end is there. A line that isn't a JSON object is counted in
    `damaged` and passed over: one lost line must not hide the rest of a run.

    Attributes:
        offset: bytes that are taken; once all that `read` gives is used, those that were read.
        at: where the line that `read` gave last begins.
    """

    def __init__(self, path: Path, offset: int = 0):
        """
        Args:
            offset: bytes from which on it reads.
        """
        self.path, self.offset, self.at = path, offset, offset
        self.damaged = 0

    def read(self) -> Iterator[dict[str, Any]]:
        while lines := self._next_lines():
            size = sum(map(len, lines)) + len(lines)
            if (observe := _observer.get()) is not None:
                observe(self.path, size)
            following = self.offset - size
            for line in lines:
                self.at, following = following, following + len(line) + 1
                try:
                    value = parsed(line)
                except (ValueError, RecursionError):  # the latter if it is nested absurdly deep
                    value = None
                if isinstance(value, dict):
                    yield value
                elif line.strip():
                    self.damaged += 1

    def _next_lines(self) -> list[bytes]:
        """Whole lines, a piece of the file at a time: the events of a long run fill gigabytes as objects."""
        try:
            with open(self.path, "rb", opener=regular) as file:
                file.seek(self.offset)
                data = file.read(PIECE)
                if b"\n" not in data:
                    data += file.readline()
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        self.offset += end
        return data[:end].split(b"\n")[:-1]


def parsed(line: bytes) -> Any:
    """A line's JSON; what the quicker reader refuses, as NaN and half characters, is left to Python's own."""
    import orjson

    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return json.loads(line)


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file, or None if the file is missing or isn't a JSON object."""
    try:
        value = json.loads(read_bytes(path))
    except (FileNotFoundError, NotADirectoryError, NotAFile, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    inner = path.rglob("*") if path.is_dir() else (path,)
    return sum(each.stat().st_size for each in inner if each.is_file())


def sizes_below(folder: Path) -> Iterator[int]:
    """Bytes of each regular file below a folder; files and folders may come and go meanwhile."""
    for parent, _, names in os.walk(folder):  # passes over a folder that is gone by now
        for name in names:
            with contextlib.suppress(OSError):
                found = os.lstat(os.path.join(parent, name))
                if stat.S_ISREG(found.st_mode):
                    yield found.st_size


def sha256_of(path: Path) -> str:
    import hashlib  # loads OpenSSL, which no start needs

    with open(path, "rb", opener=regular) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
