"""The real server with a crowd of connections that ask for nothing."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from pathlib import Path

import pytest
from support import starter
from support.served_model import KEY

from slmstudio.core.jobs.interactive import InteractiveWorker

CROWD, FILES = 1500, 1024
pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")]


@pytest.fixture
def few_files():
    """A worker starts with the usual limit of open files, while this process may have enough for the crowd."""
    import resource

    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CROWD + 200:
        pytest.skip("the limit of open files is too low")
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    yield lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


def post(port: int, key: str = KEY, **body) -> tuple[int, dict]:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/completions", json.dumps(body), {"Authorization": f"Bearer {key}"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_fifteen_hundred_idle_connections_lock_nobody_out(few_files, studio_home) -> None:
    path: Path = starter.gguf()
    with InteractiveWorker("serve") as worker, contextlib.ExitStack() as crowd:
        worker.send({"command": "start", "path": str(path), "key": KEY, "context_length": 256, "parallel": 1})
        said = next(worker.receive())
        few_files()
        asked = {"model": said["model"], "prompt": "1, 2, 3,", "max_tokens": 2, "temperature": 0}
        for number in range(CROWD):
            crowd.enter_context(socket.create_connection(("127.0.0.1", said["port"]), timeout=60))
            if number % 500 == 499:
                status, answer = post(said["port"], **asked)
                assert status == 200 and answer["choices"][0]["text"].strip(), number
        for _ in range(300):
            assert post(said["port"], key="wrong", **asked)[0] == 401
        assert post(said["port"], **asked)[0] == 200
        assert worker.log.stat().st_size < 10_000, worker.log.read_text("utf-8")[:2000]
