"""A worker that does as it is told: emits events, obeys commands, crashes, hangs, writes garbage.

    python fake_worker.py JOB_FOLDER
    python fake_worker.py --interactive chat

The play is a line of words in FAKE_WORKER, such as "start load plan:40 steps:20 garbage steps:20 finish". It writes
with the same functions as the real worker, and it needs no torch.

    start       process.json and `job_started`          load        the phases before the first step
    plan:N      N steps in all                           steps:N     learn N steps, obeying commands between them
    steps:N@MS  the same, MS milliseconds a step         wait:NAME   wait until the command NAME came
    gpu         a GPU from here on                       no_gpu      say that there is none
    garbage     lines that are no JSON objects           half, rest  half an event, and its other half
    hang        do nothing, SIGTERM or not               die         SIGKILL to itself
    crash       a defect's traceback, exit status 1      error       an outcome "failed", with a UserError
    finish      an outcome "finished"                    cancelled   an outcome "cancelled"
    export      files as an export job makes them
    loss:KEY    the steps lose their number, as NaN      silent      no word, exit status 0
"""

from __future__ import annotations

import json
import math
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError

EVAL_EVERY, SAVE_EVERY = 20, 50
POLL = 0.01


class Play:
    def __init__(self, folder: Path):
        self.folder = folder
        self.job = jobs.Job(folder)
        self.step = self._newest_checkpoint()
        self.total = 40
        self.gpu = self.stopping = self.not_a_number = False
        self.commands = files.LineReader(folder / jobs.COMMANDS)
        self.random = random.Random(7)
        for _ in self.commands.read():
            pass

    def emit(self, type: str, **fields: Any) -> None:
        files.append_line(self.folder / jobs.EVENTS, {
            "protocol": jobs.PROTOCOL, "time": round(time.time(), 3), "type": type, **fields})

    def raw(self, data: bytes) -> None:
        with open(self.folder / jobs.EVENTS, "ab") as file:
            file.write(data)

    def end(self, state: str, **fields: Any) -> None:
        self.emit("job_ended", state=state)
        jobs.write_outcome(self.folder, jobs.Outcome(state, **fields))

    def _newest_checkpoint(self) -> int:
        steps = [int(path.name.removeprefix("step-")) for path in (self.folder / "checkpoints").glob("step-*")]
        return max(steps, default=0)

    def perform(self, words: list[str]) -> int:
        for word in words:
            name, _, argument = word.partition(":")
            status = getattr(self, f"do_{name}")(*([argument] if argument else []))
            if isinstance(status, int):
                return status
            if self.stopping:
                self.end("stopped", result=self._result())
                return 0
        return 0

    def do_start(self) -> None:
        jobs.write_process_file(self.folder, os.getpid())
        self.emit("job_started", pid=os.getpid(), kind=self.job.request()["kind"])

    def do_load(self) -> None:
        self.emit("phase", phase="reading data", detail="helpdesk_train.jsonl")
        self.emit("phase", phase="tokenizing")
        for done in range(0, 301, 100):
            self.emit("progress", phase="tokenizing", done=done, total=300, unit="rows")
        self.emit("phase", phase="loading model", detail="SmolLM2-135M-Instruct")
        self.emit("log", level="info", message="Loaded 272 tensors.")

    def do_plan(self, total: str) -> None:
        self.total = int(total)
        self.emit("plan", total_steps=self.total, trainable_parameters=4_884_480, parameters=139_399_488,
                  train_rows=270, eval_rows=30, tokens_per_epoch=41_230)

    def do_gpu(self) -> None:
        self.gpu = True

    def do_no_gpu(self) -> None:
        self.emit("sensors_unavailable", reason="no NVIDIA driver")

    def do_loss(self, key: str) -> None:
        self.not_a_number = key == "nan"

    def do_steps(self, argument: str) -> None:
        count, _, milliseconds = argument.partition("@")
        if self.step == 0:
            self._evaluate()
        for _ in range(int(count)):
            self._obey()
            if self.stopping or self.step >= self.total:
                return
            self._learn()
            time.sleep(float(milliseconds or 0) / 1000)

    def _learn(self) -> None:
        self.step += 1
        loss = 1.0 + 1.1 * math.exp(-self.step / 120) + self.random.gauss(0, 0.05)
        rate = 2e-4 * min(1.0, self.step / max(1, self.total * 0.03)) * 0.5 * (
            1 + math.cos(math.pi * self.step / self.total))
        self.emit("step", global_step=self.step, epoch=self.step * 3 / self.total,
                  train_loss=math.nan if self.not_a_number else loss, learning_rate=rate,
                  grad_norm=abs(self.random.gauss(0.9, 0.2)), tokens_per_second=3400 + self.random.gauss(0, 150),
                  tokens=2048, step_seconds=0.6, seconds_left=(self.total - self.step) * 0.6)
        self._sense()
        if self.step % EVAL_EVERY == 0:
            self._evaluate()
        if self.step % SAVE_EVERY == 0:
            self._save("interval")

    def _evaluate(self) -> None:
        self.emit("eval", global_step=self.step, eval_loss=1.06 + 0.9 * math.exp(-self.step / 100))

    def _sense(self) -> None:
        heat = 50 + 26 * (1 - math.exp(-self.step / 60)) + self.random.gauss(0, 0.6)
        gpu = {"temperature_c": round(heat), "slowdown_c": 88, "power_w": 160 + self.random.gauss(0, 6),
               "power_limit_w": 200, "memory_used": 8.2 * 1024**3, "memory_total": 12 * 1024**3}
        self.emit("sensors", gpu=gpu if self.gpu else None, process_memory=1.9e9 + 1e6 * self.step, cpu_percent=180.0)

    def _save(self, reason: str) -> None:
        (self.folder / "checkpoints" / f"step-{self.step:06d}").mkdir(parents=True, exist_ok=True)
        self.emit("checkpoint_saved", global_step=self.step, path=f"checkpoints/step-{self.step:06d}", reason=reason)

    def _obey(self) -> None:
        for command in [each["command"] for each in self.commands.read()]:
            if command == "checkpoint":
                self._save("requested")
            elif command in ("stop", "cancel"):
                self._save("stop")
                self.stopping = True
            elif command == "pause":
                self.emit("paused", global_step=self.step)
                self._wait_for("resume", "stop")
                self.emit("resumed", global_step=self.step)

    def _wait_for(self, *names: str) -> None:
        while True:
            for command in self.commands.read():
                self.stopping = self.stopping or command["command"] in ("stop", "cancel")
                if command["command"] in names:
                    return
            time.sleep(POLL)

    def do_wait(self, name: str) -> None:
        self._wait_for(name)
        self.stopping = False

    def do_garbage(self) -> None:
        self.raw(b'\x00\xff\xfe{"type": "step"\n[1, 2, 3]\nnull\n{"type": 7, "time": "noon"}\n')
        self.raw(b'{"type":"later_version"}\n')

    def do_half(self) -> None:
        self.raw(b'{"protocol": 1, "time": 1.0, "type": "log", "level": "info", "mess')

    def do_rest(self) -> None:
        self.raw('age": "पूरी पंक्ति"}\n'.encode())

    def do_hang(self) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.emit("log", level="info", message="hanging")
        while True:
            time.sleep(60)

    def do_die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def do_crash(self) -> None:
        raise RuntimeError("a defect")

    def do_silent(self) -> int:
        return 0

    def do_error(self) -> int:
        self.end("failed", error=UserError("Memory ran out on the GPU.", "The batch needs 13 GB; 11.2 GB are free.",
                                           "Lower the micro-batch size from 4 to 2.").to_dict(), details="Traceback …")
        return 1

    def do_finish(self) -> int:
        self._save("end")
        (self.folder / "adapter").mkdir(exist_ok=True)
        self.end("finished", result=self._result())
        return 0

    def do_cancelled(self) -> int:
        self.end("cancelled")
        return 1

    def do_export(self) -> int:
        request = self.job.request()
        exports = Path(request["run"]) / "exports"
        exports.mkdir(exist_ok=True)
        made = []
        for index, kind in enumerate(request["types"]):
            self.emit("progress", phase=f"quantize to {kind}", done=index, total=len(request["types"]), unit="files")
            path = exports / f"{Path(request['run']).name}-{kind}.gguf"
            path.write_bytes(b"GGUF" + bytes(1_000_000 * (index + 1)))
            parity = {"passed": True, "verdict": "Answers as trained.", "failures": [], "prompts": 60,
                      "token_ids_equal": True, "token_ids_differ": 0, "prompts_equal": True, "one_bos": True,
                      "nmse": 1e-6, "top1": 0.968, "positions": 2000, "type": kind}
            files.write_atomically(path.with_suffix(".parity.json"), files.dump_pretty(parity))
            made.append({"path": str(path), "type": kind, "bytes": path.stat().st_size, "parity": parity})
        self.end("finished", result={"files": made})
        return 0

    def _result(self) -> dict[str, Any]:
        return {"steps": self.step, "train_loss_first": 2.08, "train_loss_last": 1.02, "eval_loss_before": 1.96,
                "eval_loss_after": 1.08, "adapter": str(self.folder / "adapter")}


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


def main(arguments: list[str]) -> int:
    if arguments[0] == "--interactive":
        return chat()
    return Play(Path(arguments[0])).perform(os.environ.get("FAKE_WORKER", "start load plan:40 steps:40 finish").split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
