"""Before the first step of several processes: who is missing or different is named, in one sentence."""

from __future__ import annotations

import copy
import socket
import threading
from datetime import timedelta

import pytest
from torch.distributed import HashStore, TCPStore

from slmstudio.core.errors import UserError
from slmstudio.worker.training import preflight

VERSIONS = {"slmstudio": "1.0", "torch": "2.13.0", "transformers": "5.24", "peft": "0.21", "trl": "1.16"}
CARD = {"name": "RTX 4090", "uuid": "GPU-1", "free": 20 * 1024**3, "total": 24 * 1024**3, "holders": []}


def reports(first_card: object = None, **other: object) -> list[preflight.Report]:
    """Of two processes on two machines; `other` is what the second one says differently."""
    first = {"host": "desk", "pid": 10, "group": "0", "versions": VERSIONS, "model": "aa", "path": "/m",
             "card": first_card, "address": ["127.0.0.1", 1]}
    return [first, {**copy.deepcopy(first), "host": "attic", "pid": 11, "group": "1", **other}]


def test_processes_that_are_alike_may_begin():
    preflight.compare(reports())
    preflight.compare(reports(CARD))


@pytest.mark.parametrize(("other", "sentence"), [
    ({"versions": {**VERSIONS, "torch": "2.12.0"}},
     "Process 2 of 2, on attic, has torch 2.12.0, and process 1, on desk, has torch 2.13.0."),
    ({"versions": {name: VERSIONS[name] for name in ("slmstudio", "torch", "transformers", "peft")}},
     "Process 2 of 2, on attic, has no trl, and process 1, on desk, has trl 1.16."),
    ({"model": "cc", "path": "/other"},
     "Process 2 of 2, on attic, has a different model: the weights in /other aren't those of process 1, on desk."),
    ({"card": CARD}, "Process 2 of 2, on attic, has a card, and process 1, on desk, trains on its processor."),
    ({"first_card": CARD, "card": None},
     "Process 2 of 2, on attic, has no card that can be used, and process 1, on desk, trains on a card."),
    ({"first_card": {**CARD, "uuid": "GPU-2"},
      "card": {**CARD, "free": 1024**3, "holders": [[99, "ollama", 20 * 1024**3], [11, "python", 2 * 1024**3]]}},
     "The card of process 2, on attic (RTX 4090), is in use by another program: ollama takes 20 GB of its memory."),
    ({"first_card": {**CARD, "uuid": "GPU-2"}, "card": {**CARD, "free": 1024**3, "holders": [[99, "", 20 * 1024**3]]}},
     "The card of process 2, on attic (RTX 4090), is in use by another program, which takes 20 GB of its memory."),
], ids=["version", "missing package", "model", "card too many", "card missing", "card", "unnamed program"])
def test_what_differs_is_named(other, sentence):
    with pytest.raises(UserError) as error:
        preflight.compare(reports(**other))
    assert error.value.what == sentence


def test_two_processes_on_one_card_are_refused():
    first, second = reports(host="desk", card=CARD)
    with pytest.raises(UserError) as error:
        preflight.compare([{**first, "card": CARD}, second])
    assert error.value.what == "Processes 1 and 2, on desk, would share one card (RTX 4090)."


def test_all_hear_all_and_who_is_missing_is_named():
    store, heard = HashStore(), {}

    def speak(rank: int) -> None:
        heard[rank] = preflight.exchange(store, "report", {"rank": rank}, rank, 2, seconds=30)

    threads = [threading.Thread(target=speak, args=(rank,)) for rank in (0, 1)]
    [each.start() for each in threads]
    [each.join() for each in threads]
    assert heard == {rank: [{"rank": 0}, {"rank": 1}] for rank in (0, 1)}
    with pytest.raises(UserError) as error:
        preflight.exchange(store, "way", {}, 0, 3, seconds=0.2)
    assert error.value.what == "Processes 2, 3 of 3 didn't report within 0 seconds."


def test_a_first_machine_that_is_gone_is_no_mystery():
    server = TCPStore("127.0.0.1", 0, None, True, timedelta(seconds=5), wait_for_workers=False)
    client = TCPStore("127.0.0.1", server.port, None, False, timedelta(seconds=5), wait_for_workers=False)
    del server
    with pytest.raises(UserError) as error:
        preflight.exchange(client, "report", {}, 0, 2, seconds=5)
    assert error.value.what == "The first machine is gone."


def test_ways_between_machines_are_tried_and_a_closed_one_is_named(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = reports(address=list(listener.getsockname()))
        assert preflight.knock(found, 0) == {"failed": None}
    ways = [preflight.knock(found, 0), {"failed": None}]
    port = found[1]["address"][1]
    assert ways[0] == {"failed": [1, "Connection refused"]}
    with pytest.raises(UserError) as error:
        preflight.compare_ways(ways, found)
    assert error.value.what == f"desk can't connect to attic at 127.0.0.1:{port}: Connection refused."


def test_a_firewall_that_drops_is_named_within_the_time(monkeypatch):
    """A full backlog answers no further connection, as a firewall that drops does."""
    monkeypatch.setattr(preflight, "KNOCK_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        with socket.socket() as filling:
            filling.connect(silent.getsockname())
            found = reports(address=list(silent.getsockname()))
            assert preflight.knock(found, 0) == {"failed": [1, preflight.FIREWALL]}
