"""A server in a worker of its own, and requests to it."""

from __future__ import annotations

import contextlib
import http.client
import json
from pathlib import Path

import openai
import pytest

from slmstudio.core.jobs.interactive import InteractiveWorker

KEY = "slm-a key for tests"
QUESTION = [{"role": "user", "content": "What is the capital of India?"}]
ANSWER = "The capital of India is"
"""How it begins, on every processor: which city follows depends on the order in which its kernels add."""
CONTEXT = 512


class Server:
    """A server in a worker of its own, and what it says."""

    def __init__(self, gguf: Path, **options):
        self.worker = InteractiveWorker("serve")
        self.worker.start()
        self.messages = self.worker.receive()
        self.worker.send({"command": "start", "path": str(gguf), "key": KEY, "context_length": CONTEXT, "parallel": 3,
                          **options})
        self.said = next(self.messages)
        self.url, self.port = self.said.get("url"), self.said.get("port")
        self.model = self.said.get("model")

    def client(self, key: str = KEY) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url, api_key=key, max_retries=0, timeout=120)

    def chat(self, messages=QUESTION, client=None, **options):
        settings = {"temperature": 0, "max_tokens": 6, **options}
        return (client or self.client()).chat.completions.create(model=self.model, messages=messages, **settings)

    def post(self, body: bytes | dict, path: str = "/v1/chat/completions", **headers):
        """Status and JSON of a request that no client library would send."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", path, data, {"Authorization": f"Bearer {KEY}", **headers})
        response = connection.getresponse()
        found = response.status, json.loads(response.read()), response.headers
        connection.close()
        return found

    def wait_for(self, **wanted):
        """The next status in which these fields have these values."""
        for message in self.messages:
            if message["type"] == "status" and all(message[name] == value for name, value in wanted.items()):
                return message
        raise AssertionError(self.worker.cause_of_death())


@contextlib.contextmanager
def serving(gguf: Path, home: Path, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLMSTUDIO_HOME", str(home))
        server = Server(gguf, **options)
        try:
            yield server
        finally:
            server.worker.close()
