"""A worker that chats, and a way to wait for what it says."""

from __future__ import annotations

from typing import Any

from slmstudio.core.jobs.interactive import InteractiveWorker


class Chat:
    """A worker of its kind: "chat" with GGUF files, "talk" with runs and folders."""

    def __init__(self, kind: str = "chat") -> None:
        self.worker = InteractiveWorker(kind)
        self.worker.start()
        self.messages = self.worker.receive()
        self.generated = 0

    def ask(self, command: str, **arguments: Any) -> tuple[list[str], dict[str, Any]]:
        """Send a command; returns the texts of the tokens, and the first message that is none."""
        self.worker.send({"command": command, **arguments})
        return self.answer()

    def answer(self) -> tuple[list[str], dict[str, Any]]:
        texts = []
        for message in self.messages:
            assert message["protocol"] == 1
            if message["type"] == "placed":  # on a card, where there is one
                continue
            if message["type"] != "token":
                return texts, message
            texts.append(message["text"])
        raise AssertionError(self.worker.log.read_text())

    def generate(self, messages: list[dict[str, str]], **arguments: Any) -> tuple[list[str], dict[str, Any]]:
        """A greedy answer of six tokens, unless the arguments say otherwise."""
        self.generated += 1
        return self.ask("generate", id=self.generated, messages=messages,
                        **{"temperature": 0, "max_tokens": 6, **arguments})
