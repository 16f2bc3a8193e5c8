"""Our chat's speed against llama.cpp's own through the plain binding, in turns on the same machine.

    python tests/bench/chat.py [--model GGUF] [--rounds 5] [--tokens 128] [--json]

Ours is the whole way: the worker process, its sampler, text, JSON lines, and the clock of whoever reads them. The
other side is a bare loop of llama_decode and the greedy sampler in a process of its own that makes no text; beside it,
`Llama.__call__`. Both read the same prompts and draw the same tokens. Exit status 1 below the target.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from slmstudio.core.jobs.interactive import InteractiveWorker
from slmstudio.core.model import library

TARGET = 0.97
CONTEXT = 2048
FILLER = "A river begins as a spring in the hills, and villages along it draw their water and tell their tales. " * 18


def messages(number: int) -> list[dict[str, str]]:
    """A prompt of about 400 tokens whose start nobody remembers."""
    return [{"role": "system", "content": f"{number} is your number. {FILLER}"},
            {"role": "user", "content": "Tell a very long story about a river, with many people in it."}]


class Ours:
    """The chat worker, asked as the window asks it."""

    def __init__(self, model: Path):
        self.worker = InteractiveWorker("chat")
        self.worker.start()
        self.replies = self.worker.receive()
        self.worker.send({"command": "load", "path": str(model), "context_length": CONTEXT})
        next(self.replies)
        self.asked = 0

    def answer(self, number: int, tokens: int) -> dict[str, float]:
        self.asked += 1
        begun = time.perf_counter()
        self.worker.send({"command": "generate", "id": self.asked, "messages": messages(number), "temperature": 0,
                          "max_tokens": tokens})
        first = 0.0
        for message in self.replies:
            first = first or time.perf_counter()
            if message["type"] == "done":
                ended = time.perf_counter()
                read = message["prompt_tokens"] - message["cached_tokens"]
                return {"generation": (message["completion_tokens"] - 1) / (ended - first),
                        "prompt": read / (first - begun), "tokens": message["completion_tokens"]}
            assert message["type"] == "token", message
        raise RuntimeError(self.worker.log.read_text())


class Plain:
    """The binding in a process of its own, with the environment that a user's program has."""

    def __init__(self, model: Path):
        command = [sys.executable, __file__, "--plain", str(model)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def answer(self, kind: str, number: int, tokens: int) -> dict[str, float]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([kind, number, tokens]) + "\n")
        self.process.stdin.flush()
        found: dict[str, float] = json.loads(self.process.stdout.readline())
        return found


def plain(model: Path) -> None:
    """The other side: answers lines of [kind, number, tokens] with speeds."""
    import llama_cpp
    import psutil

    from slmstudio.worker.model.llama_gguf import LlamaVocab

    llama = llama_cpp.Llama(str(model), n_ctx=CONTEXT, n_threads=psutil.cpu_count(logical=False) or 1,
                            n_threads_batch=psutil.cpu_count() or 1, verbose=False)
    vocab = LlamaVocab(llama)
    for line in sys.stdin:
        kind, number, tokens = json.loads(line)
        prompt = vocab.encode(vocab.template.render(messages(number), add_generation_prompt=True))
        print(json.dumps((_bare if kind == "bare" else _call)(llama, prompt, tokens)), flush=True)


def _bare(llama: Any, prompt: list[int], tokens: int) -> dict[str, float]:
    import llama_cpp

    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(llama.ctx), True)
    sampler = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    llama_cpp.llama_sampler_chain_add(sampler, llama_cpp.llama_sampler_init_greedy())
    token = (llama_cpp.llama_token * 1)()
    begun = time.perf_counter()
    for start in range(0, len(prompt), 512):
        part = prompt[start:start + 512]
        array = (llama_cpp.llama_token * len(part))(*part)  # the batch keeps only its address
        llama_cpp.llama_decode(llama.ctx, llama_cpp.llama_batch_get_one(array, len(part)))
    token[0] = llama_cpp.llama_sampler_sample(sampler, llama.ctx, -1)
    first = time.perf_counter()
    for _ in range(tokens - 1):
        llama_cpp.llama_decode(llama.ctx, llama_cpp.llama_batch_get_one(token, 1))
        token[0] = llama_cpp.llama_sampler_sample(sampler, llama.ctx, -1)
    ended = time.perf_counter()
    llama_cpp.llama_sampler_free(sampler)
    llama.reset()
    return {"generation": (tokens - 1) / (ended - first), "prompt": len(prompt) / (first - begun)}


def _call(llama: Any, prompt: list[int], tokens: int) -> dict[str, float]:
    llama.reset()
    begun = first = time.perf_counter()
    count = 0
    for count, _ in enumerate(llama(prompt, max_tokens=tokens, temperature=0, top_k=0, stream=True)):
        first = first if count else time.perf_counter()
    return {"generation": (count - 1) / (time.perf_counter() - first), "prompt": len(prompt) / (first - begun)}


def measure(model: Path, rounds: int, tokens: int) -> dict[str, Any]:
    """Speeds in tokens per second; the sides take turns, and the first round isn't counted."""
    ours, other = Ours(model), Plain(model)
    speeds: dict[str, list[dict[str, float]]] = {"ours": [], "bare": [], "call": []}
    try:
        for number in range(rounds + 1):
            mine = ours.answer(number, tokens)
            sides = {"ours": mine, "bare": other.answer("bare", number, int(mine["tokens"])),
                     "call": other.answer("call", number, int(mine["tokens"]))}
            for name, found in sides.items():
                speeds[name].append(found)
    finally:
        ours.worker.close()
        other.process.kill()
        other.process.wait()
    result: dict[str, Any] = {"model": model.name, "rounds": rounds, "tokens": tokens, "target": TARGET,
                              "ended_by_itself": min(each["tokens"] for each in speeds["ours"]) < tokens}
    for what in ("generation", "prompt"):
        kept = {name: [each[what] for each in found[1:]] for name, found in speeds.items()}
        result[what] = {name: round(statistics.median(values), 2) for name, values in kept.items()}
        # Each round's own ratio: what else the machine does changes from round to round, and within one much less.
        for name in ("bare", "call"):
            ratios = [mine / theirs for mine, theirs in zip(kept["ours"], kept[name], strict=True)]
            result[what][f"to_{name}"] = round(statistics.median(ratios), 3)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        plain(options.plain)
        return 0
    model = options.model or library.starter_gguf()
    if model is None:
        parser.error("no model: give one with --model, or install the starter model")
    with tempfile.TemporaryDirectory() as home:
        os.environ["SLMSTUDIO_HOME"] = home
        result = measure(model, options.rounds, options.tokens)
    if options.json:
        print(json.dumps(result))
    else:
        for what in ("generation", "prompt"):
            row = result[what]
            print(f"{what:<10}  ours {row['ours']:.1f} tokens/s, bare loop {row['bare']:.1f}, Llama() "
                  f"{row['call']:.1f}; ratio to the bare loop {row['to_bare']:.3f}, to Llama() {row['to_call']:.3f}")
        print(f"target: generation at least {TARGET:.0%} of the bare loop")
    return 0 if result["generation"]["to_bare"] >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
