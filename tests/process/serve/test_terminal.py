"""`slmstudio serve`: what it prints, and that the server ends with it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import openai
import psutil
import pytest
from support.served_model import QUESTION
from support.tiers import first_fast

from slmstudio.core.jobs import processes


@pytest.fixture
def start(studio_home, gguf):
    """`start("--json")`: the command, and the JSON object of its first line."""
    running = []

    def begin(*arguments: str):
        environment = {**processes.worker_environment(), "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
        process = subprocess.Popen([sys.executable, "-m", "slmstudio", "serve", str(gguf), "--context", "512",
                                    *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        running.append(process)
        return process, json.loads(process.stdout.readline()) if "--json" in arguments else None

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def test_one_json_line_once_it_is_ready(start, studio_home) -> None:
    process, said = start("--json")
    client = openai.OpenAI(base_url=said["url"], api_key=said["api_key"])
    answer = client.chat.completions.create(model=said["model"], messages=QUESTION, max_tokens=2, temperature=0)
    assert answer.choices[0].message.content == "The capital"
    assert said["api_key"] == (studio_home / "server.key").read_text().strip()
    assert said["api_key"] not in " ".join(psutil.Process(process.pid).cmdline())
    worker = psutil.Process(said["worker_pid"])
    assert (said["pid"], said["host"]) == (process.pid, "127.0.0.1")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, b"Stopped." in err) == (0, b"", True)
    assert not worker.is_running()


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
@pytest.mark.parametrize("how", first_fast([signal.SIGKILL, signal.SIGTERM]))
def test_the_server_ends_with_its_terminal(start, how) -> None:
    process, said = start("--json")
    worker = psutil.Process(said["worker_pid"])
    process.send_signal(how)
    process.wait(60)
    assert psutil.wait_procs([worker], timeout=60)[1] == []


def test_snippets_that_work(start) -> None:
    process, _ = start()
    lines = []
    for line in process.stdout:
        lines.append(line.decode())
        if "Ctrl-C" in lines[-1]:
            break
    text = "".join(lines)
    python = text[text.index("# pip install"):text.index("Press Ctrl-C")]
    done = subprocess.run([sys.executable, "-c", python], capture_output=True, timeout=60)
    assert done.returncode == 0 and done.stdout.strip() != b"", done.stderr
    curl = text[text.index("export "):text.index("# pip install")]
    if shutil.which("curl"):
        answer = subprocess.run(["/bin/sh", "-c", curl], capture_output=True, timeout=60)
        assert json.loads(answer.stdout)["choices"][0]["message"]["role"] == "assistant", answer


@pytest.mark.parametrize(("arguments", "words"), [(["--host", "0.0.0.0"], "--allow-network"),
                                                  (["--port", "1"], "1024")])
def test_what_it_refuses(start, arguments, words) -> None:
    if "--port" in arguments and os.name != "nt" and os.geteuid() == 0:
        pytest.skip("root may use every port")
    process, _ = start(*arguments)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and words in err.decode() and "Traceback" not in err.decode()
