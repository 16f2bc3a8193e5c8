"""Another machine looks for the first one: what stands in its way is told in one sentence, and soon."""

from __future__ import annotations

import socket
import threading

import pytest

from slmstudio.core.errors import UserError
from slmstudio.worker.launch import ranks_of, way


def refused(host: str, port: int) -> str:
    with pytest.raises(UserError) as error:
        way.reach(host, port)
        way.connect(host, port)
    return error.value.what


def test_a_machine_that_waits_is_reached_from_an_address_of_ones_own():
    store = ranks_of.open_store("127.0.0.1")
    assert way.reach("localhost", store.port) == ("127.0.0.1", "127.0.0.1")
    way.connect("127.0.0.1", store.port).set("here", "1")
    assert store.get("here") == b"1"


def test_nobody_listens(monkeypatch):
    monkeypatch.setattr(way, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert refused("127.0.0.1", port) == (
        f"Nothing is waiting at 127.0.0.1:{port}: the first machine hasn't started the run, or has ended it.")


def test_a_name_that_nobody_has():
    assert refused("slmstudio.invalid", 1) == (
        "slmstudio.invalid can't be found: it isn't the name or address of a known machine.")


def test_a_firewall_that_drops(monkeypatch):
    """A full backlog answers no further connection, as a firewall that drops does."""
    monkeypatch.setattr(way, "CONNECT_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        port = silent.getsockname()[1]
        with socket.socket() as filling:
            filling.connect(silent.getsockname())
            assert refused("127.0.0.1", port) == (
                f"127.0.0.1:{port} didn't answer within 0 seconds: the machine is off, or a firewall is "
                "blocking the connection.")


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["silent", "another server"])
def test_what_answers_is_another_program(monkeypatch, says):
    monkeypatch.setattr(way, "CONNECT_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def answer() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                    held[-1].sendall(says)
                except OSError:
                    return

        threading.Thread(target=answer, daemon=True).start()
        port = server.getsockname()[1]
        assert refused("127.0.0.1", port) == f"What answers at 127.0.0.1:{port} isn't SLM Studio waiting for machines."
        for each in held:
            each.close()


def test_an_address_that_is_taken_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError) as error:
        ranks_of.open_store("127.0.0.1", taken.getsockname()[1])
    port = taken.getsockname()[1] if taken.fileno() >= 0 else error.value.what.rsplit(":", 1)[1].rstrip(".")
    assert error.value.what == f"This machine can't wait for others at 127.0.0.1:{port}."
