"""The chat of the fake worker: streams words, stops, dies, or writes garbage."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError


def chat() -> int:
    """Speak the chat protocol. The prompt's first word says what to do: "die", "garbage", "long", or anything."""
    # Unbuffered, so that select() sees what is there; open as long as the process lives.
    out, lines = sys.stdout.buffer, open(0, "rb", buffering=0)  # noqa: SIM115

    def say(**message: Any) -> None:
        out.write(json.dumps({"protocol": 1, **message}, ensure_ascii=False).encode() + b"\n")
        out.flush()

    for line in lines:
        message = json.loads(line)
        command = message["command"]
        if command == "close":
            return 0
        if command == "load":
            if not Path(message["path"]).exists():
                say(type="error", error=UserError(f"{message['path']} does not exist.", "It was moved.",
                                                  "Choose another model.").to_dict())
            else:
                say(type="loaded", context_length=message.get("context_length") or 2048, chat_template=True)
        elif command == "count":
            say(type="count", tokens=sum(len(each["content"].split()) for each in message["messages"]))
        elif command == "generate":
            _generate(message, say, lines)
        elif command == "stop":
            say(type="stopped", id=message["id"])
    return 0


def _generate(message: dict[str, Any], say: Any, lines: Any) -> None:
    import select

    prompt = message["messages"][-1]["content"]
    if prompt.startswith("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    words = ["**नमस्ते**", " दुनिया,", " you", " asked:", f" {prompt}"]
    if prompt.startswith("long"):
        words = [f" word{i}" for i in range(100_000)]
    reason, count = "stop", 0
    for word in words:
        if select.select([lines], [], [], 0.001)[0]:
            order = json.loads(lines.readline())
            if order["command"] == "close":
                sys.exit(0)
            reason = "stopped"
            break
        if count == message.get("max_tokens"):
            reason = "length"
            break
        count += 1
        say(type="token", id=message["id"], text=word)
    say(type="done", id=message["id"], reason=reason, prompt_tokens=12, completion_tokens=count,
        seconds_to_first_token=0.21, tokens_per_second=41.0, context_length=2048, dropped_messages=0)
