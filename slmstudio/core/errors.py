"""What a user sees when something is wrong: what happened, why, and what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from slmstudio.core import i18n
from slmstudio.core.i18n import tr

MOST_SAID = 20
"""Problems that are said one by one; a file may have as many as it has rows."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an input.

    Attributes:
        message: a sentence that says what is wrong.
        line: 1-based line in the file, when there is one.
        column: 1-based column in that line, when known.
        field: the configuration field or the JSON key concerned.
        file: of several files, the name of the one.
        lines: of several rows with the same fault, where each begins.
    """

    message: str
    line: int | None = None
    column: int | None = None
    field: str | None = None
    file: str | None = None
    lines: tuple[int, ...] = ()

    def __str__(self) -> str:
        if self.line is None:
            return f"{self.field}: {self.message}" if self.field else self.message
        where = tr("line {line}, column {column}", line=self.line, column=self.column) if self.column else \
            tr("line {line}", line=self.line)
        return f"{self.file}, {where}: {self.message}" if self.file else f"{where}: {self.message}"

    def to_dict(self) -> dict[str, Any]:
        return i18n.with_sources(asdict(self))


class UserError(Exception):
    """An error that a user can fix.

    Args:
        what: what happened, with the file, line or field named.
        why: the reason, as far as it is known.
        problems: every single problem of the input, when there are several.
    """

    def __init__(self, what: str, why: str = "", remedy: str = "", problems: tuple[Problem, ...] | list[Problem] = ()):
        super().__init__(what)
        self.what = what
        self.why = why
        self.remedy = remedy
        self.problems = tuple(problems)

    def __str__(self) -> str:
        lines = [" ".join(part for part in (self.what, self.why, self.remedy) if part)]
        listed = self.listed
        lines += [f"  {problem}" for problem in listed[:MOST_SAID]]
        if len(listed) > MOST_SAID:
            lines.append("  " + tr("… and {count:,} more.", count=len(listed) - MOST_SAID))
        return "\n".join(lines)

    @property
    def listed(self) -> list[Problem]:
        """The problems that the sentences don't tell already."""
        told = f"{self.what} {self.why} {self.remedy}".casefold()
        return [problem for problem in self.problems if problem.message.casefold() not in told]

    def __reduce__(self) -> Any:
        return (type(self), (self.what, self.why, self.remedy, self.problems))

    def to_dict(self) -> dict[str, Any]:
        """JSON values. `from_dict` makes the same error of them, in the language that is spoken then."""
        return i18n.with_sources({"what": self.what, "why": self.why, "remedy": self.remedy,
                                  "problems": [problem.to_dict() for problem in self.problems]})

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> UserError:
        """The error that `to_dict` has written; what a damaged file has made of it counts as not said."""
        state = i18n.retranslate(state)
        what, why, remedy = (state.get(key) for key in ("what", "why", "remedy"))
        listed = state.get("problems")
        problems = [Problem(problem["message"], problem.get("line"), problem.get("column"), problem.get("field"),
                            problem.get("file"), tuple(problem.get("lines") or ()))
                    for each in (listed if isinstance(listed, list) else []) if isinstance(each, dict)
                    if isinstance((problem := i18n.retranslate(each)).get("message"), str)]
        return cls(what if isinstance(what, str) else tr("It failed, and its error message is damaged."),
                   why if isinstance(why, str) else "", remedy if isinstance(remedy, str) else "", problems)


class NotAFile(OSError):
    """A folder, pipe, socket or device where a file belongs; reading it could wait forever, or never end."""


def from_os_error(error: OSError, what: str) -> UserError:
    """Turn an operating-system error into a sentence with a remedy.

    Args:
        what: what happened, as a whole sentence: tr("Could not write the checkpoint."). The path is put at its end.
    """
    import errno

    if error.filename:
        what = i18n.with_path(what, str(error.filename))
    if error.errno == errno.ENOSPC or getattr(error, "winerror", None) == 112:
        return UserError(what, tr("The disk is full."), tr("Free some space and try again."))
    if error.errno == errno.EROFS:
        return UserError(what, tr("The disk is read-only."), tr("Choose a folder on a disk that can be written to."))
    if error.errno in (errno.EACCES, errno.EPERM):
        return UserError(what, tr("Permission was denied."), tr("Choose another folder, or change its permissions."))
    if error.errno == errno.ENOENT:
        return UserError(what, tr("It doesn't exist."), tr("Check the path; it may have been moved or deleted."))
    if isinstance(error, NotAFile):
        return UserError(what, str(error.strerror), tr("Put a file in its place, or choose another one."))
    if error.errno == errno.ELOOP:
        return UserError(what, tr("It's a link, which isn't followed because it could lead to somebody else's file."),
                         tr("Remove the link, or put the file itself in its place."))
    if error.errno == errno.EISDIR:
        return UserError(what, tr("It is a folder, not a file."), tr("Choose a file."))
    return UserError(what, tr("The system says: {strerror}.", strerror=error.strerror or error),
                     tr("Check the disk and the path."))


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, the first cause last."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


@contextlib.contextmanager
def os_errors_as(what: str) -> Iterator[None]:
    """Within, what the system raises becomes a sentence with a remedy, as by `from_os_error`.

    Raises:
        UserError: the system raised an error.
    """
    try:
        yield
    except OSError as error:
        raise from_os_error(error, what) from error
