"""The chat of the fake worker: streams words, stops, dies, or writes garbage."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError


def chat() -> int:
    """Speak the chat protocol. The prompt's first word says what to do: "die", "half", "garbage", "markdown",
    "long", "held" (until it is stopped), "think", "tool", "repeat", or anything. A model beside which lies a file
    "….hold" loads once that has gone; one whose name has "card" is on a graphics card."""
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
            while Path(f"{message['path']}.hold").exists():
                time.sleep(0.01)
            if not Path(message["path"]).exists():
                say(type="error", error=UserError(f"{message['path']} doesn't exist.", "It was moved.",
                                                  "Choose another model.").to_dict())
            else:
                say(type="loaded", context_length=message.get("context_length") or 2048,
                    chat_template="no_template" not in message["path"], **_placed(message))
        elif command == "adapter":
            say(type="adapter", path=message["path"], scale=message["scale"])
        elif command == "count":
            words = " ".join(each["content"] for each in message["messages"])
            say(type="count", tokens=len(words.split()), dropped_messages=_dropped(words),
                documents=[_measured(text) for text in message.get("documents") or []])
        elif command == "generate":
            _generate(message, say, lines, out)
        elif command == "stop":
            say(type="stopped", id=message["id"])
    return 0


def _generate(message: dict[str, Any], say: Any, lines: Any, out: Any) -> None:
    import select

    prompt = message["messages"][-1]["content"]
    if prompt.startswith("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    words = ["**नमस्ते**", " दुनिया,", " you", " asked:", f" {prompt}"]
    if prompt.startswith("long"):
        words = [f" word{i}" for i in range(100_000)]
    if prompt.startswith("markdown"):
        words = ["See [this](https://example.org) <script>x</script>\n\n| a | b |\n|---|---|\n| १ | 2 |\n\n",
                 "```python\nprint('नमस्ते')\nx =", " 1\n```\n"]
    if prompt.startswith(("think", "held think")):
        words = ["<think>\n", "The office", " is closed", " on Sundays, so", " Monday.\n</think>\n\n",
                 "Go on **Monday**."]
    if prompt.startswith("tool"):
        words = ["Let me look.\n", "<tool_", 'call>\n{"name": "get_weather", ',
                 '"arguments": {"city": "Pune"}}\n</tool_call>']
    if prompt.startswith("garbage"):
        out.write(b"\xff\x00 garbage\n[1, 2]\nnull\n")
    reason, count = "stop", 0
    for word in words:
        if select.select([lines], [], [], None if prompt.startswith("held") and count == 3 else 0.001)[0]:
            order = json.loads(lines.readline())
            if order["command"] == "close":
                sys.exit(0)
            reason = "stopped"
            break
        if count == message.get("max_tokens"):
            reason = "length"
            break
        if count == 3 and prompt.startswith("half"):
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1
        say(type="token", id=message["id"], text=word)
    if prompt.startswith("repeat"):
        reason = "repeated"
    say(type="done", id=message["id"], reason=reason, prompt_tokens=12, completion_tokens=count,
        seconds_to_first_token=0.21, tokens_per_second=41.0, context_length=2048,
        dropped_messages=_dropped(prompt))


def _measured(text: str) -> dict[str, int]:
    """A token a word, and 100 of them fit."""
    words = text.split()
    read = len(text) if len(words) <= 100 else text.index(words[100])
    return {"of": len(text), "read": read, "tokens": len(words), "left_out": max(0, len(words) - 100)}


def _placed(message: dict[str, Any]) -> dict[str, Any]:
    """On a card where the file's name has one, unless the processor was asked for."""
    card = "card" in Path(message["path"]).name and message.get("device") != "cpu"
    return {"device": "cuda" if card else "cpu", "device_name": "RTX 3060" if card else "", "layers": 25,
            "layers_on_device": 25 if card else 0, "cache_type": message.get("cache_type") or "f16",
            "flash_attention": card, "batch": message.get("batch") or 512, "why": {"batch": "As usual."},
            "reason": "On the RTX 3060: needs about 1.2 GB."}


def _dropped(text: str) -> int:
    """"dropped:4" in what was said: so many messages don't fit."""
    found = re.search(r"dropped:(\d+)", text)
    return int(found[1]) if found else 0
