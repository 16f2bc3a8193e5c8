"""`slmstudio chat` as a person types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import starter

from slmstudio.core.chat.conversation import Conversation
from slmstudio.core.jobs import processes


@pytest.fixture
def command(studio_home) -> list[str]:
    return [sys.executable, "-m", "slmstudio", "chat", str(starter.gguf())]


def environment() -> dict[str, str]:
    return processes.worker_environment()


def run(command: list[str], typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=typed, capture_output=True, text=True, env=environment(), timeout=120)


def test_asked_once(command) -> None:
    done = run([*command, "--prompt", "What is the capital of India?", "--temperature", "0", "--json",
                "--stop", "al of Ind", "--context", "512"])
    answer = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0 and answer["reply"] == "The capit" and answer["reason"] == "stop_string"
    assert answer["context_length"] == 512 and answer["seconds_to_first_token"] > 0


def test_wrong_settings_are_refused_all_at_once(command) -> None:
    done = run([*command, "--prompt", "x", "--temperature", "9", "--top-p", "2"])
    assert done.returncode == 2 and "temperature" in done.stderr and "top_p" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.full
def test_a_conversation_with_commands(command, tmp_path) -> None:
    typed = ["/help", "What is the capital of India?", "/regenerate", "//slash", "/set top_k x", "/set max_tokens 5",
             "/system You are a pirate.", "/dance", f"/save {tmp_path / 'talk'}", "/new", "/regenerate", "/quit", "no"]
    done = run([*command, "--temperature", "0", "--max-tokens", "12"], "\n".join(typed))
    assert done.returncode == 0, done.stderr
    for said in ("/regenerate", "The capital of India is", "You are a pirate."):
        assert said in done.stdout
    for said in ("'x' isn't a whole number", "/dance isn't a command here", "You haven't asked anything yet"):
        assert said in done.stderr
    assert "Traceback" not in done.stderr
    tree = Conversation.read(tmp_path / "talk.json").lanes[0].tree
    first = tree.path()
    assert len(tree.siblings(first[1])) == 2 and first[2].content == "/slash"
    assert "## You\n\n/slash" in (tmp_path / "talk.md").read_text("utf-8")


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C of another console")
def test_control_c_ends_the_answer_and_not_the_program(command) -> None:
    with subprocess.Popen([*command, "--max-tokens", "3000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env=environment()) as talk:
        assert talk.stdin is not None and talk.stdout is not None
        talk.stdin.write(b"Tell a very long story about a river, with many people in it.\n")
        talk.stdin.flush()
        assert len(talk.stdout.read(8)) == 8
        talk.send_signal(signal.SIGINT)
        talk.stdin.write(b"/set seed 3\n/quit\n")
        talk.stdin.flush()
        rest = talk.stdout.read().decode()
    assert talk.returncode == 0 and "seed is now 3." in rest and len(rest.split()) < 1500


def test_a_file_that_is_none(command, tmp_path) -> None:
    path = tmp_path / "x.gguf"
    path.write_text("Hello")
    done = run([*command[:-1], str(path), "--prompt", "x", "--json"])
    assert done.returncode == 2 and json.loads(done.stdout)["error"]["what"] == "x.gguf isn't a GGUF file."
    assert Path(path).exists()
