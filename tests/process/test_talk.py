"""Conversations with two models stay the same questions, whatever happens to one of them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slmstudio.cli import talk as module
from slmstudio.cli.talk import Talk, Voice
from slmstudio.core.errors import UserError

PRESS = "^C"
TOO_LONG = UserError("The conversation is too long.")


ON_CARD = {"device": "cuda", "device_name": "RTX 3060", "layers_on_device": 3}
ON_PROCESSOR = {"device": "cpu", "device_name": "", "layers_on_device": 0}


class PlayedWorker:
    """Gives the answers of a list, word by word, until it is told to stop; at `PRESS` somebody presses Ctrl-C."""

    placed = ON_PROCESSOR

    def __init__(self, *answers: str | UserError):
        self.answers, self.sent = answers, list[dict[str, Any]]()

    def start(self) -> None:
        self.placed = ON_PROCESSOR

    def cause_of_death(self) -> UserError:
        return UserError("It has ended.", "A library crashed.")

    def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def asked(self) -> list[list[str]]:
        """What it was asked, each time with all that was said before."""
        return [[each["content"] for each in message["messages"]] for message in self.sent if "messages" in message]

    def receive(self) -> Iterator[dict[str, Any]]:
        yield {"type": "loaded", "reason": "", "chat_template": True, "layers": 3, **self.placed}
        if self.placed is ON_CARD:
            return  # its driver has crashed
        for answer in self.answers:
            if isinstance(answer, UserError):
                yield {"type": "error", "error": answer.to_dict()}
                continue
            for word in answer.split():
                if word == PRESS:
                    signal.raise_signal(signal.SIGINT)
                if self.sent[-1]["command"] == "stop":
                    break
                yield {"type": "token", "text": f"{word} "}
            yield {"type": "done", "reason": "stopped" if self.sent[-1]["command"] == "stop" else "stop"}


Converse = Callable[[PlayedWorker, PlayedWorker], Talk]


@pytest.fixture
def converse(studio_home: Path, tmp_path: Path) -> Converse:
    def make(*workers: PlayedWorker) -> Talk:
        voices = []
        for name, worker in zip(("tuned", "base"), workers, strict=True):
            voice = Voice(tmp_path / name)
            voice.worker = worker  # type: ignore[assignment]
            voice.load("auto")
            voices.append(voice)
        return Talk(voices, {"seed": 0}, "", quiet=False)

    return make


def said(talk: Talk) -> list[list[str]]:
    """What is shown of each model's conversation."""
    return [[turn.content for turn in voice.lane.turns] for voice in talk.voices]


def test_a_question_that_one_cannot_answer_is_in_none_of_the_conversations(converse: Converse) -> None:
    tuned, base = PlayedWorker("one", "two", "three"), PlayedWorker(TOO_LONG, "zwei", "drei")
    talk = converse(tuned, base)
    with pytest.raises(UserError, match="too long"):
        talk.ask("First?")
    assert said(talk) == [[], []]
    with pytest.raises(UserError, match="haven't asked"):
        talk.regenerate()
    talk.ask("Second?")
    talk.regenerate()
    assert said(talk) == [["Second?", "three"], ["Second?", "drei"]]
    assert tuned.asked()[1:] == base.asked()[1:] == [["Second?"], ["Second?"]]


def test_where_one_cannot_answer_again_all_answers_stay(converse: Converse) -> None:
    tuned, base = PlayedWorker("one", "two", "three"), PlayedWorker("eins", TOO_LONG, "drei")
    talk = converse(tuned, base)
    talk.ask("First?")
    with pytest.raises(UserError, match="too long"):
        talk.regenerate()
    assert said(talk) == [["First?", "one"], ["First?", "eins"]]
    talk.regenerate()
    assert said(talk) == [["First?", "three"], ["First?", "drei"]]
    assert tuned.sent[-1]["seed"] == base.sent[-1]["seed"] == 2


def test_control_c_ends_the_round_and_a_later_one_asks_both_again(converse: Converse, capsys) -> None:
    tuned, base = PlayedWorker(f"one {PRESS} never", f"two {PRESS} never", "three"), PlayedWorker("drei", "vier")
    talk = converse(tuned, base)
    before = signal.getsignal(signal.SIGINT)
    talk.ask("First?")
    assert said(talk) == [["First?", "one"], ["First?", ""]] and not base.asked()
    assert "[base]" not in capsys.readouterr().out and signal.getsignal(signal.SIGINT) is before
    talk.regenerate()
    assert said(talk) == [["First?", "two"], ["First?", ""]] and not base.asked()
    talk.ask("Second?")
    assert said(talk) == [["First?", "two", "Second?", "three"], ["First?", "", "Second?", "drei"]]


def test_control_c_between_two_answers_does_not_end_the_program(converse: Converse, monkeypatch) -> None:
    def say(text: str = "", **how: Any) -> None:
        if text == "[base]":
            signal.raise_signal(signal.SIGINT)

    base = PlayedWorker("eins zwei")
    talk = converse(PlayedWorker("one"), base)
    monkeypatch.setattr(module, "say", say)
    talk.ask("First?")
    assert said(talk) == [["First?", "one"], ["First?", ""]] and base.sent[-1]["command"] == "stop"


def test_a_card_that_vanishes_is_left_for_the_processor_and_the_talk_continues(converse: Converse) -> None:
    tuned, base = PlayedWorker("one"), PlayedWorker("eins", "zwei")
    tuned.placed = ON_CARD
    talk = converse(tuned, base)
    with pytest.raises(UserError, match="RTX 3060 stopped computing"):
        talk.ask("First?")
    assert tuned.sent[-1]["device"] == "cpu"
    talk.ask("Second?")
    assert said(talk) == [["Second?", "one"], ["Second?", "eins"]]
    result = talk.voices[0].result
    assert (result["device"], result["layers_on_device"], result["layers"]) == ("cpu", 0, 3)
