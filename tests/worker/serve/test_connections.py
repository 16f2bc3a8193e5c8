"""What one client may take from the others, tried with sockets against uvicorn and a small application."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.responses import PlainTextResponse, StreamingResponse

from slmstudio.worker.serve import serve
from slmstudio.worker.serve.http_api import Guard

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")]
KEY = "slm-a key for tests"
HEAD = f"Host: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"
LARGE = 2**26


class Served:
    """A server on a free port."""

    def __init__(self, limits: serve.Limits):
        self.ended = threading.Event()
        self.busy = threading.Semaphore(0)
        self.body_asked = False
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        protocol = functools.partial(serve.Connection, limits=limits)
        self.server = uvicorn.Server(uvicorn.Config(
            Guard(self.answer, KEY, False, lambda error: None), log_config=None, access_log=False, lifespan="off",
            ws="none", http=protocol, timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=serve.HEADER_BYTES))
        self.thread = threading.Thread(target=self.server.run, args=([listener],), daemon=True)
        self.thread.start()

    async def answer(self, scope, receive, send) -> None:
        self.body_asked = True
        if scope["path"] == "/large":
            try:
                await StreamingResponse(iter([b"x" * 2**16] * (LARGE // 2**16)))(scope, receive, send)
            finally:
                self.ended.set()
        elif scope["path"] == "/wait":
            self.busy.release()
            await receive()
            await receive()
        else:
            while (await receive()).get("more_body"):
                pass
            await PlainTextResponse("fine")(scope, receive, send)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def ask(self, path: str = "/", body: bytes = b"", key: str = KEY) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", path, body, {"Authorization": f"Bearer {key}"})
        return connection.getresponse()


@contextlib.contextmanager
def served(**limits) -> Iterator[Served]:
    made = Served(serve.Limits(**limits))
    try:
        yield made
    finally:
        made.server.should_exit = True
        made.thread.join(60)


def heard(client: socket.socket) -> bytes:
    """All that the server says until it closes."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := client.recv(2**16):
            parts.append(part)
    return b"".join(parts)


def test_those_that_ask_for_nothing_make_room_the_oldest_first() -> None:
    with served(most=4) as server:
        idle = [server.connect() for _ in range(7)]
        assert server.ask().read() == b"fine"
        assert [heard(client) for client in idle[:4]] == [b""] * 4, "seven and one are four too many"
        idle[6].sendall(f"GET / HTTP/1.1\r\n{HEAD}Connection: close\r\n\r\n".encode())
        assert heard(idle[6]).endswith(b"fine")


def test_bodies_that_do_not_come_make_room_too() -> None:
    with served(most=4) as server, contextlib.ExitStack() as crowd:
        for _ in range(7):
            slow = crowd.enter_context(server.connect())
            slow.sendall(f"POST /wait HTTP/1.1\r\n{HEAD}Content-Length: 100000\r\n\r\nx".encode())
            assert server.busy.acquire(timeout=60)
        assert [server.ask(body=b"x" * 2**17).read() for _ in range(3)] == [b"fine"] * 3


def test_where_all_are_busy_a_new_one_is_told_to_come_again() -> None:
    with served(most=2) as server, server.connect() as first, server.connect() as second:
        for client in (first, second):
            client.sendall(f"POST /wait HTTP/1.1\r\n{HEAD}Content-Length: 1\r\n\r\nx".encode())
            assert server.busy.acquire(timeout=60)
        answer = server.ask()
        said = json.loads(answer.read())["error"]
        assert (answer.status, answer.headers["Retry-After"], said["code"]) == (503, "1", "too_many_connections")


@pytest.mark.parametrize("begun", ["", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Drip: "])
def test_headers_that_do_not_come_in_time_end(begun) -> None:
    with served(request_seconds=0.3) as server, server.connect() as client:
        client.sendall(begun.encode())
        stop = threading.Event()

        def drip() -> None:
            while begun and not stop.wait(0.02):
                with contextlib.suppress(OSError):
                    client.sendall(b"x")

        dripping = threading.Thread(target=drip, daemon=True)
        dripping.start()
        said = heard(client)
        stop.set()
        dripping.join()
        assert (b"408 Request Timeout" in said and b"did not arrive in time" in said) if begun else said == b""


def test_a_kept_connection_has_the_time_for_each_request_anew() -> None:
    with served(request_seconds=2) as server, server.connect() as client:
        for _ in range(3):
            client.sendall(f"GET / HTTP/1.1\r\n{HEAD}\r\n".encode())
            answer = http.client.HTTPResponse(client)
            answer.begin()
            assert answer.read() == b"fine"
        client.sendall(b"GET / HTTP/1.1\r\nHost:")
        assert b"408" in heard(client)


def test_a_stranger_is_refused_before_the_body_comes_and_the_body_is_not_waited_for() -> None:
    with served(request_seconds=60) as server, server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\n\r\n{")
        said = heard(client)
        assert b"401 Unauthorized" in said and b"missing_api_key" in said and not server.body_asked


def test_a_client_that_reads_nothing_of_its_answer_is_gone() -> None:
    with served(read_seconds=0.3) as server, server.connect() as client:
        client.sendall(f"GET /large HTTP/1.1\r\n{HEAD}\r\n".encode())
        assert server.ended.wait(60)
        assert len(heard(client)) < LARGE


@pytest.mark.parametrize("request_", [
    "POST / HTTP/1.1\r\n{head}Content-Length: 5\r\nContent-Length: 6\r\n\r\nHello",
    "POST / HTTP/1.1\r\n{head}Content-Length: +5\r\n\r\nHello",
    "POST / HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\n{head}Transfer-Encoding: xchunked\r\n\r\nHello",
    "POST / HTTP/1.1\r\n{head}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "GET / HTTP/1.1\r\n{head}Long: {long}\r\n\r\n", "GET / HTTP/1.1\r\n{head}Host: evil.example\r\n\r\n"])
def test_a_request_whose_end_can_be_read_in_two_ways_is_refused(request_) -> None:
    """And the connection is closed, so that nothing after it is taken for another request."""
    with served() as server, server.connect() as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(request_.format(head=HEAD, long="x" * 2**17).encode())
            client.sendall(f"GET / HTTP/1.1\r\n{HEAD}\r\n".encode())
        said = heard(client)
        assert said[9:12] in (b"400", b"501") and said.count(b"HTTP/1.1") == 1 and b"fine" not in said, said


def test_the_cap_lies_below_the_limit_of_open_files() -> None:
    code = ("import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]),) * 2); "
            "from slmstudio.worker.serve import serve; print(serve.most())")
    said = [int(subprocess.run([sys.executable, "-c", code, files], capture_output=True, check=True).stdout)
            for files in ("64", "512", "1024")]
    assert said == [4, 128, 256]
