"""A server on this machine that speaks as OpenAI's does, and a document whose sections it asks about: truthfully, or
with one of the lies that teachers tell."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Pair = dict[str, Any]


def document(folder: Path, sections: int) -> Path:
    """A Markdown file with a rule in each of its sections."""
    path = folder / "rules.md"
    path.write_text("# Rules\n" + "".join(f"## Rule {number}\n{sentence(number)}\n\n" for number in range(sections)))
    return path


def sentence(number: int) -> str:
    return f"The office at Camp{number} issues {number * 10 + 5} permits to traders every month."


def truth(number: int) -> Pair:
    return {"quotation": sentence(number), "kind": "fact",
            "question": f"How many permits does the office at Camp{number} issue to traders?",
            "answer": f"It issues {number * 10 + 5} permits to traders every month."}


LIES: dict[str, tuple[Callable[[int], Any], str]] = {
    "invented number": (lambda n: truth(n) | {"answer": "It issues 7777 permits to traders every month."},
                        "number_missing"),
    "quotation changed by one word": (lambda n: truth(n) | {"quotation": sentence(n).replace("issues", "sells")},
                                      "quotation_missing"),
    "quotation of another passage": (lambda n: truth(n) | {"quotation": sentence(n + 1)}, "quotation_missing"),
    "question that needs the passage": (lambda n: truth(n) | {"question": "How many permits according to this text?"},
                                        "needs_passage"),
    "what does it say here": (lambda n: truth(n) | {"question": "What does it say here about permits and traders?"},
                              "needs_passage"),
    "wrong language": (lambda n: truth(n) | {"question": "कैंप का कार्यालय व्यापारियों को कितने परमिट जारी करता है?"},
                       "wrong_language"),
    "endless": (lambda n: truth(n) | {"answer": "It issues permits to traders every month. " * 400}, "too_long"),
    "empty": (lambda n: truth(n) | {"answer": ""}, "empty"),
    "near-duplicate": (lambda n: [truth(n), truth(n) | {
        "question": f"How many permits does the office at Camp{n} issue to the traders?"}], "near_duplicate"),
    "not repeated": (lambda n: truth(n) | {"question": f"How many permits does Camp{n} issue? (forgets)"},
                     "not_repeated"),
    "no JSON at all": (lambda n: "I'm sorry, I can't.", "malformed"),
}
"""By name: what is written about a section instead of the truth, and the doubt that catches it."""


class ScriptedTeacher:
    """
    Args:
        lies: by number of the section.
        before: called before each answer, with what was asked.

    Attributes:
        asked: the sections that were asked about, in that order.
    """

    def __init__(self, lies: dict[int, Callable[[int], Any]] | None = None,
                 before: Callable[[int], None] = lambda number: None):
        self._lies, self._before = lies or {}, before
        self.asked: list[int] = []
        self.url = ""

    def answer(self, messages: list[dict[str, str]]) -> str:
        number = int((re.search(r"Camp(\d+)", messages[-1]["content"]) or [0, 0])[1])
        if "Answer the question" in messages[0]["content"]:
            return "NOT STATED" if "forgets" in messages[-1]["content"] else truth(number)["answer"]
        self.asked.append(number)
        self._before(number)
        said = self._lies.get(number, truth)(number)
        pairs = said if isinstance(said, list) else [said]
        return said if isinstance(said, str) else json.dumps({"pairs": pairs}, ensure_ascii=False)


@contextmanager
def serving(teacher: ScriptedTeacher) -> Iterator[ScriptedTeacher]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send({"data": [{"id": "scripted"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send({"choices": [{"message": {"content": teacher.answer(body["messages"])},
                                     "finish_reason": "stop"}]})

        def _send(self, value: Any) -> None:
            data = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with suppress(OSError):  # whoever asked was killed
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    teacher.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield teacher
    finally:
        server.shutdown()
        server.server_close()
