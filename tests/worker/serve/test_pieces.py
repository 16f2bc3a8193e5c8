"""In which pieces an answer is sent."""

from __future__ import annotations

from slmstudio.worker.gguf_chat import generation
from slmstudio.worker.gguf_chat.generation import Generation, Sampling


def test_what_is_drawn_quickly_goes_out_together_and_nothing_is_left(monkeypatch):
    now, heard = [0.0], []
    monkeypatch.setattr(generation.time, "monotonic", lambda: now[0])
    answer = Generation([1], Sampling(max_tokens=9), lambda event: heard.append(event.text))
    for now[0], piece in ((5.0, b"a"), (5.02, b"b"), (5.04, b"\xe0\xa4"), (5.06, b"\x95"), (5.11, b"c"), (5.12, b"d")):
        assert not answer.write(piece)
    assert heard == ["a", "bकc"] and answer.written == 6
    answer.flush()
    assert heard[2:] == ["d"]
