"""A body that doesn't come, or comes drop by drop, isn't waited for."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn

from slmstudio.worker.serve import http_api

KEY = "slm-a key for tests"


@pytest.mark.parametrize("drips", [False, True])
def test_a_body_has_its_time(monkeypatch, drips) -> None:
    monkeypatch.setattr(http_api, "BODY_SECONDS", 0.3)
    api = http_api.Api(cast(Any, SimpleNamespace(context_length=512)), "model")
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(api.app(KEY, False), log_config=None, access_log=False, lifespan="off",
                                           ws="none", http="h11", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    stop = threading.Event()
    try:
        with socket.create_connection(listener.getsockname(), timeout=60) as client:
            client.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
                           "Content-Length: 100000\r\n\r\n{".encode())

            def drip() -> None:
                while drips and not stop.wait(0.02):
                    with contextlib.suppress(OSError):
                        client.sendall(b" ")

            dripping = threading.Thread(target=drip, daemon=True)
            dripping.start()
            answer = http.client.HTTPResponse(client)
            answer.begin()
            said = json.loads(answer.read())["error"]
            stop.set()
            dripping.join()
        assert (answer.status, said["code"], api.status.refused) == (408, "timeout", 1)
    finally:
        server.should_exit = True
        thread.join(60)
