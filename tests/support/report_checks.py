"""What the tests of the report look for: figures in its text, requests of its page, rows cut in its PDF."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from slmstudio.core import jobs
from slmstudio.core.report import pdf
from slmstudio.core.report.text import exact, flat, moment

NO_PROXY, NO_NAMES = "--no-proxy-server", "--host-resolver-rules"
needs_browser = pytest.mark.skipif(not pdf.browsers(), reason="needs Chromium, Chrome or Edge")
needs_pdftotext = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs pdftotext (poppler-utils)")
CALLS_HOME = re.compile(r"\b(google|googleapis|gstatic|gvt1|microsoft|msedge|bing)\.(com|net)\b")
"""Chromium asks its maker's servers on its own account, whatever page is open."""


class _Text(HTMLParser):
    """Collects the text of a page, without its style, and all tags with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._hidden = False

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._hidden = self._hidden or tag in ("style", "title", "desc")
        self.parts.append(" ")

    def handle_endtag(self, tag):
        if tag in ("style", "title", "desc"):
            self._hidden = False
        self.parts.append(" ")

    def handle_data(self, data):
        if not self._hidden:
            self.parts.append(data)


class Page:
    """
    Attributes:
        html: the file. text: what one reads, blanks as one. tags: (name, attributes).
    """

    def __init__(self, html: str):
        reader = _Text()
        reader.feed(html)
        reader.close()
        self.html, self.tags = html, reader.tags
        self.text = " ".join("".join(reader.parts).split())


def missing(values: list[tuple[str, Any]], text: str) -> list[tuple[str, Any]]:
    """Those of `values` that a reader doesn't find, each as a word of its own and nothing rounded."""
    words = f" {text} "

    def stands(value: Any) -> bool:
        if value is None or value == "" or isinstance(value, bool):
            return True
        written = " ".join(str(exact(value)).split())
        return any(f"{before}{written}{after}" in words for before in ' "(“' for after in ' ,.;)”"')

    return [(name, value) for name, value in values if not stands(value)]


def untold(run: Path, text: str) -> list[tuple[str, Any]]:
    """The values of a run's run.json and outcome.json, of its plan, steps and evaluations, that a text doesn't say."""
    wanted: list[tuple[str, Any]] = []
    for name, instant in ((jobs.RUN, "created"), (jobs.OUTCOME, "time")):
        record = json.loads((run / name).read_text("utf-8"))
        wanted += [(f"{name} {key}", value) for key, value in flat(record)
                   if key not in (instant, "chosen")  # those fields have "You set this." as their reason
                   and ".msgids." not in f".{key}"]  # what sentences are made of
        wanted.append((f"{name} {instant}", moment(record[instant])))
    wanted += [(f"{event['type']} {name}", value) for event in jobs.Job(run).events()
               if event["type"] in ("step", "eval", "plan") for name, value in flat(event)
               if name not in ("protocol", "time", "type", "seconds_left")]
    assert len(wanted) > 150
    return missing(wanted, text)


class CountingProxy:
    """A proxy that answers nobody; it only writes down who comes.

    Attributes:
        requests: first lines, those of the browser's own errands apart.
        everything: with those too.
    """

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.everything: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                asked = connection.recv(4096).decode("latin-1").partition("\r")[0]
                if asked:  # a browser that leaves may open a connection and say nothing
                    self.everything.append(asked)

    @property
    def requests(self) -> list[str]:
        return [request for request in self.everything if not CALLS_HOME.search(request)]

    def close(self) -> None:
        self._socket.close()


def open_in_browser(page: Path, proxy: CountingProxy, shot: Path, *options: str) -> None:
    """Open a page with everything it asks for going to the proxy, and take a picture of it."""
    flags = [flag for flag in pdf.OFFLINE if flag != NO_PROXY and not flag.startswith(NO_NAMES)]
    root = ["--no-sandbox"] if sys.platform == "linux" and os.geteuid() == 0 else []
    subprocess.run([pdf.browsers()[0], *root, "--headless=new", "--disable-gpu", *flags, *options,
                    f"--proxy-server={proxy.url}", "--proxy-bypass-list=<-loopback>",
                    f"--user-data-dir={shot.parent / (shot.stem + '-profile')}", "--window-size=1280,900",
                    f"--screenshot={shot}", page.as_uri()], check=True, capture_output=True, timeout=240)


class _Rows(HTMLParser):
    """The cells of each row of each table, in plain letters without blanks."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._in_cell = False

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self._in_cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data):
        if self._in_cell:
            self.rows[-1][-1] += data


def letters(text: str) -> str:
    """Only what every font and every PDF reader writes alike."""
    return re.sub(r"[^A-Za-z0-9.,]", "", text)


def cut_rows(html: str, printed: Path) -> list[list[str]]:
    """The rows of tables that aren't found whole on one page of a PDF."""
    text = subprocess.run(["pdftotext", "-raw", "-enc", "UTF-8", printed, "-"], check=True, capture_output=True).stdout
    pages = [letters(page) for page in text.decode("utf-8").split("\f")]
    assert len(pages) > 5
    reader = _Rows()
    reader.feed(html)
    rows = [[letters(cell) for cell in row] for row in reader.rows]
    assert len(rows) > 150
    return [row for row in rows if not any(all(cell in page for cell in row) for page in pages)]
