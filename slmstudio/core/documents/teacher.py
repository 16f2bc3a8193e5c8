"""Teachers: the models on this machine that can write questions and answers, and what a trial said of each."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from slmstudio.core import files, paths
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.request import model_at
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.model import library
from slmstudio.core.run import folder as run_folder
from slmstudio.core.run import named

GGUF, RUN, SERVER = "gguf", "run", "server"
TRIED = 3
"""Passages of a trial."""
GOOD, FAIR = 0.6, 0.3
"""Share of pairs that pass all checks, from which a teacher is good enough, and from which it is worth trying."""
FEWEST = 5
"""Pairs that say anything about a teacher."""
LOOPBACK = frozenset({"127.0.0.1", "::1"})
SECONDS = 10.0
"""For which a server is given to name its models."""
MOST_BYTES = 4 * 2**20
"""Of a server's answer that are read: one without an end is cut."""
TRIALS = "teachers.json"


class Refused(UserError):
    """A server takes no such request."""


@dataclass(frozen=True)
class Teacher:
    """A model that asks and answers.

    Attributes:
        kind: `GGUF`, `RUN` (a finished run, or a model folder) or `SERVER`.
        place: its path, or the server's address.
        model: what the server calls it; "" lets it choose.
    """

    kind: str
    name: str
    place: str
    model: str = ""

    @property
    def leaves_machine(self) -> bool:
        """Whether the documents are sent to another machine."""
        return self.kind == SERVER and not addresses(self.place) <= LOOPBACK

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Teacher:
        return cls(*(str(state.get(name) or "") for name in ("kind", "name", "place", "model")))

    def spec(self) -> dict[str, Any]:
        """As a request holds it: what a worker loads (`evaluation.request.model_at`), or the server.

        Raises:
            UserError: it isn't there any more.
        """
        if self.kind == SERVER:
            return {"server": by_number(self.place), "model": self.model}
        if self.kind == RUN and (run := named.find(self.place)) is not None:
            exported = next(iter(run_folder.exported(run)), None)  # llama.cpp holds it to a grammar
            return model_at(exported or run)
        return model_at(self.place)


def find(text: str, allow_address: bool = False) -> Teacher:
    """The teacher that a path, a name or an address means.

    Args:
        text: a GGUF file, a run, a model folder, "starter", or http://ADDRESS[#MODEL] of a server that speaks as
            OpenAI's does.
        allow_address: whether the server may be on another machine.

    Raises:
        UserError: there is no such model, or the server is on another machine.
    """
    if text.startswith(("http://", "https://")):
        address, _, model = text.partition("#")
        found = Teacher(SERVER, model or address, address.rstrip("/"), model)
        if not _has_host(address):
            raise UserError(tr("{address} isn't an address.", address=address), "",
                            tr("Write it as in {example}.", example="http://127.0.0.1:8080"))
        if not found.place.startswith("http://"):
            raise UserError(tr("{address} can't be used.", address=address),
                            tr("A worker may connect to an address alone, and can't check a certificate."),
                            tr("Give an address that begins with http://."))
        if found.leaves_machine and not allow_address:
            raise UserError(tr("{address} isn't on this machine.", address=address),
                            tr("Your documents would be sent there."),
                            tr("If that is what you want, add --allow-address."))
        return found
    if text == library.STARTER and (gguf := library.starter_gguf()) is not None:
        return Teacher(GGUF, library.STARTER_NAME, str(gguf))
    spec = model_at(text)
    if spec["gguf"]:
        return Teacher(GGUF, spec["name"], spec["gguf"])
    return Teacher(RUN, spec["name"], str(Path(text).absolute()) if Path(text).exists() else text)


def _has_host(url: str) -> bool:
    with contextlib.suppress(ValueError):  # of the port, or a bracket that isn't closed
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    return False


def installed() -> list[Teacher]:
    """What can teach here without a download: GGUF files and finished runs, the largest files first."""
    from slmstudio.core.model.hub import on_disk

    found = [Teacher(GGUF, each.path.stem, str(each.path)) for each in on_disk.local_models() if each.kind == "gguf"]
    starter = library.starter_gguf()
    if starter is not None:
        found.append(Teacher(GGUF, library.STARTER_NAME, str(starter)))
    exported = [Teacher(GGUF, gguf.stem, str(gguf)) for run, _ in run_folder.requests()
                for gguf in run_folder.exported(run)]
    runs = [Teacher(RUN, str(request.get("name") or run.name), str(run)) for run, request in run_folder.requests()
            if run_folder.result_folder(run) is not None]
    once = {each.place: each for each in (*found, *exported, *runs)}
    return sorted(once.values(), key=lambda each: (each.kind, -_size(each)))


def _size(teacher: Teacher) -> int:
    with contextlib.suppress(OSError):
        return Path(teacher.place).stat().st_size
    return 0


def addresses(url: str) -> frozenset[str]:
    """The IP addresses of a server; looks its name up where it has one. Empty if it can't be found."""
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return frozenset({str(ipaddress.ip_address(host))})
    if host == "localhost":
        return LOOPBACK
    with contextlib.suppress(OSError):
        return frozenset(str(each[4][0]) for each in socket.getaddrinfo(host, None))
    return frozenset({host})


def by_number(url: str) -> str:
    """The same address with a number instead of a name: a locked worker can look up no names."""
    host = urlsplit(url).hostname or ""
    found = min(addresses(url), key=lambda each: (":" in each, each), default=host)
    return url.replace(host, f"[{found}]" if ":" in found and found != host else found, 1)


def post(url: str, body: Mapping[str, Any] | None, seconds: float) -> dict[str, Any]:
    """What a server answers to JSON, or to a GET for None; past any proxy.

    Raises:
        Refused: it takes no such request.
        UserError: it can't be reached, fails, or answers something else.
    """
    data = None if body is None else json.dumps(body, ensure_ascii=False).encode(errors="replace")
    request = Request(url, data, {"Content-Type": "application/json"})
    what = tr("The server at {address} can't be used.", address=url)
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=seconds) as answer:
            found = json.loads(answer.read(MOST_BYTES))
    except HTTPError as error:
        why = error.read(300).decode("utf-8", "replace")
        raise (Refused if error.code in (400, 422) else UserError)(
            what, tr("It says: {reason}.", reason=f"{error.code} {why}".rstrip(".")),
            tr("Look at the server's own log, or choose another model of it.")) from error
    except URLError as error:
        raise UserError(what, tr("It says: {reason}.", reason=str(error.reason).rstrip(".")),
                        tr("Start the server, and check its address.")) from error
    except (OSError, ValueError) as error:
        raise UserError(what, tr("It answered nothing that can be read ({reason}).", reason=str(error)[:200]),
                        tr("Start the server again, or choose another teacher.")) from error
    return files.an_object(found)


def served_models(url: str) -> list[str]:
    """The models that a server names. Raises UserError: as `post`."""
    return [str(each.get("id")) for each in files.objects(post(f"{_base(url)}/models", None, SECONDS).get("data"))]


def chat_url(url: str) -> str:
    """Where a server takes chats, for an address with or without its "/v1"."""
    return f"{_base(url)}/chat/completions"


def _base(url: str) -> str:
    return url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/v1"


# -- What a trial said, kept for the next project: whether a model is good enough hardly depends on the documents.


@dataclass(frozen=True)
class Trial:
    """
    Attributes:
        pairs: that it made; `passed`: without any doubt.
        seconds: for a passage.
    """

    pairs: int
    passed: int
    seconds: float

    @property
    def share(self) -> float:
        return self.passed / self.pairs if self.pairs else 0.0

    @property
    def is_good(self) -> bool:
        return self.pairs >= FEWEST and self.share >= GOOD

    def sentence(self) -> str:
        """As in "Good: 8 of 9 questions passed every check."."""
        if not self.pairs:
            return tr("Not suitable: it wrote no question that could be read.")
        if self.pairs < FEWEST:
            return ntr("It wrote only {n} question, too few to say how good it is.",
                       "It wrote only {n} questions, too few to say how good it is.", self.pairs)
        if self.is_good:
            return ntr("Good: {passed} of {n} question passed every check.",
                       "Good: {passed} of {n} questions passed every check.", self.pairs, passed=self.passed)
        if self.share >= FAIR:
            return ntr("Usable: {passed} of {n} question passed every check. The others are left out.",
                       "Usable: {passed} of {n} questions passed every check. The others are left out.", self.pairs,
                       passed=self.passed)
        return ntr("Weak: {passed} of {n} question passed every check. A larger model does better.",
                   "Weak: {passed} of {n} questions passed every check. A larger model does better.", self.pairs,
                   passed=self.passed)


def trials() -> dict[str, Trial]:
    """By the teachers' places, what was tried on this machine; of several trials the last one."""
    found = {}
    places = paths.documents_dir().glob(f"*/{TRIALS}")
    for file in sorted(places, key=lambda file: file.stat().st_mtime):
        for place, state in (files.read_json(file) or {}).items():
            with contextlib.suppress(TypeError, KeyError, ValueError):
                found[place] = Trial(int(state["pairs"]), int(state["passed"]), float(state["seconds"]))
    return found


def keep_trial(project: Path, teacher: Teacher, trial: Trial) -> None:
    """Keep in a project's folder what a trial said, or all passages of a job. Raises OSError."""
    known = files.read_json(project / TRIALS) or {}
    files.write_atomically(project / TRIALS, files.dump_pretty({**known, teacher.place: asdict(trial)}))
