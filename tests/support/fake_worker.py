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
    overfit:N   eval loss rises from step N on           early       the run ends by its patience
    adjusted    memory ran out and the batch was halved  asleep:S    the machine slept S seconds
    sleepless   the machine may fall asleep              spill       memory spills over
    best:N      the weights of step N are the result     consent:N   failed; N tokens would do
    event:JSON  an event as it is written, without spaces
    cards:N     N cards, told as the sensors tell them       lost        the last card no longer answers
    guard_rest:WHY, guard_resume  what the guard did: heat, hold, battery or hours
    advice      a lower power limit would help
    clock:S     the clock was set by S seconds           deaf        obey no command from here on

At each evaluation it answers two questions, and it obeys sample, free and change like the real one.
"""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import fake_chat

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.jobs import processes
from slmstudio.core.run import checkpoints
from slmstudio.core.run.guard_summary import GUARD_FIELDS, told

EVAL_EVERY, SAVE_EVERY = 20, 50
POLL = 0.01


class Play:
    def __init__(self, folder: Path):
        self.folder = folder
        self.job = jobs.Job(folder)
        self.step = self._newest_checkpoint()
        self.total = 40
        self.cards = 0
        self.gpu = self.stopping = self.freeing = self.not_a_number = False
        self.rate, self.turns_at, self.best = 2e-4, 0, 0
        self.commands = files.LineReader(folder / jobs.COMMANDS, int(os.environ[processes.COMMANDS_FROM]))
        self.random = random.Random(7)
        self.clock = 0.0

    def emit(self, type: str, **fields: Any) -> None:
        files.append_line(self.folder / jobs.EVENTS, {
            "protocol": jobs.PROTOCOL, "time": round(time.time() + self.clock, 3), "type": type, **fields})

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
            if self.freeing:
                self.end("paused")
                return 0
            if self.stopping:
                self.end("stopped", result=self._result())
                return 0
        return 0

    def do_start(self) -> None:
        jobs.write_process_file(self.folder, os.getpid())
        self.emit("job_started", pid=os.getpid(), kind=self.job.request()["kind"])

    def do_clock(self, seconds: str) -> None:
        self.clock = float(seconds)

    def do_deaf(self) -> None:
        self.commands = files.LineReader(self.folder / "nowhere")

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

    def do_cards(self, count: str) -> None:
        self.cards = int(count)

    def do_lost(self) -> None:
        cards = [{"index": n, "name": "NVIDIA GeForce RTX 4090"} for n in range(self.cards)]
        cards[-1] |= {"lost": True, "message": "The GPU is lost."}
        self.emit("sensors", gpus=cards, cpu={})
        self.emit("sensors_unavailable", reason="The GPU is lost.")
        self.emit("warning", code="gpu_lost", message="The GPU is lost.")

    def do_guard_rest(self, why: str) -> None:
        about = {
            "heat": "The GPU is at 84 °C; the limit is 83 °C. Training rests until it has cooled to 73 °C, for at "
                    "least 1 min.",
            "hold": "Holding 78 °C: training rests a little after each step.",
            "battery": "The machine runs on its battery (64%). Training rests until it is plugged in.",
            "hours": "Training rests until 22:00; it may run from 22:00 to 06:00."}
        limit = {"hold": 78, "heat": 83}.get(why)
        heat = {"temperature_c": 84, "limit_c": limit, "gpu": 0} if limit else {}
        self.emit("guard_rest", global_step=self.step, why=why, message=about[why], **heat)
        if why == "hold":
            self.emit("guard_hold", global_step=self.step, seconds=17.4, working=0.71, message="Holding.", **heat)

    def do_guard_resume(self) -> None:
        self.emit("guard_resume", global_step=self.step, why="heat", seconds=241.0, temperature_c=74,
                  message="The rest is over after 4 min 1 s. The GPU is at 74 °C.")

    def do_advice(self) -> None:
        command = "sudo nvidia-smi -i 0 -pl 136"
        self.emit("power_limit_advised", gpu=0, watts=136, now_w=170.0, command=command, message=(
            "A lower power limit keeps RTX 3060 cooler and costs little speed: 136 W instead of 170 W. Type in a "
            f"terminal: {command} (it holds until the next restart; some laptops refuse it)."))

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
            if self.stopping or self.freeing or self.step >= self.total:
                return
            self._learn()
            time.sleep(float(milliseconds or 0) / 1000)

    def _learn(self) -> None:
        self.step += 1
        loss = 1.0 + 1.1 * math.exp(-self.step / 120) + self.random.gauss(0, 0.05)
        rate = self.rate * min(1.0, self.step / max(1, self.total * 0.03)) * 0.5 * (
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

    def _eval_loss(self, step: int) -> float:
        beyond = max(0, step - self.turns_at) if self.turns_at else 0
        return 1.06 + 0.9 * math.exp(-(step - beyond) / 100) + 0.002 * beyond

    def _evaluate(self) -> None:
        self.emit("eval", global_step=self.step, eval_loss=self._eval_loss(self.step))
        if self.turns_at and self.step == self.turns_at + EVAL_EVERY:
            self.emit("overfitting", global_step=self.turns_at, eval_loss=self._eval_loss(self.turns_at))
        self._sample()

    def _sample(self) -> None:
        early = "I am sorry, I cannot help with that."
        late = "आवेदन के 7 कार्य दिवसों के भीतर प्रमाण पत्र जारी किया जाता है।"
        self.emit("sample", global_step=self.step, seconds=0.4, samples=[
            {"prompt": "जन्म प्रमाण पत्र कितने दिन में मिलता है?", "answer": early if self.step < 40 else late,
             "reference": "आवेदन के 7 कार्य दिवसों के भीतर।"},
            {"prompt": "Which number do I call in an emergency?", "reference": None,
             "answer": early if self.step < 60 else f"Call **112**. It is free. (step {self.step})"}])

    def _sense(self) -> None:
        heat = 50 + 26 * (1 - math.exp(-self.step / 60)) + self.random.gauss(0, 0.6)
        gpu = {"temperature_c": round(heat), "slowdown_c": 88, "power_w": 160 + self.random.gauss(0, 6),
               "power_limit_w": 200, "memory_used": 8.2 * 1024**3, "memory_total": 12 * 1024**3}
        if self.cards:
            named = {**gpu, "name": "NVIDIA GeForce RTX 4090"}
            cards = [{**named, "index": n, "temperature_c": round(heat) - 3 * n} for n in range(self.cards)]
            more = {"gpus": cards, "cpu": {"temperature_c": 61.0, "percent": 34.0}}
            self.emit("sensors", **more, process_memory=1.9e9, cpu_percent=180.0)
            return
        self.emit("sensors", gpus=[gpu] if self.gpu else [], process_memory=1.9e9 + 1e6 * self.step, cpu_percent=180.0)

    def _save(self, reason: str) -> None:
        (self.folder / "checkpoints" / f"step-{self.step:06d}").mkdir(parents=True, exist_ok=True)
        self.emit("checkpoint_saved", global_step=self.step, path=f"checkpoints/step-{self.step:06d}", reason=reason)

    def _obey(self) -> None:
        if self.job.is_gone():
            raise jobs.gone(self.folder)
        for each in list(self.commands.read()):
            command = each["command"]
            if command == "checkpoint":
                self._save("requested")
            elif command == "sample":
                self._sample()
            elif command == "change":
                self._change(each)
            elif command == "free":
                self._free()
            elif command == "guard":
                self._guard(each)
            elif command in ("stop", "cancel"):
                self._save("stop")
                self.stopping = True
            elif command == "pause":
                self.emit("paused", global_step=self.step)
                self._wait_for("resume", "stop", "free")
                if not self.freeing:
                    self.emit("resumed", global_step=self.step)

    def _free(self) -> None:
        self._save("free")
        self.freeing = True

    def _change(self, command: dict[str, Any]) -> None:
        asked = {key: command[key] for key in ("learning_rate", "max_steps", "epochs") if key in command}
        total = int(command.get("max_steps") or command.get("epochs", 0) * 100 or self.total)
        if total <= self.step:
            self.emit("warning", code="change_refused", message="The change wasn't made. It is too short.")
            return
        self.total, self.rate = total, command.get("learning_rate", self.rate)
        self.emit("changed", global_step=self.step, learning_rate=self.rate, total_steps=total, asked=asked)

    def _guard(self, command: dict[str, Any]) -> None:
        values = {name: value for name, value in command.items() if name in GUARD_FIELDS}
        self.emit("guard_resume", global_step=self.step, why="hours", seconds=1.0, message="The rest is over.")
        self.emit("guard_changed", global_step=self.step, values=values,
                  message=f"Heat guard changed: {', '.join(told(values))}.")

    def _wait_for(self, *names: str) -> None:
        while True:
            for command in self.commands.read():
                self.stopping = self.stopping or command["command"] in ("stop", "cancel")
                if command["command"] == "free":
                    self._free()
                if command["command"] == "guard":
                    self._guard(command)
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

    def do_overfit(self, step: str) -> None:
        self.turns_at = int(step)

    def do_early(self) -> None:
        self.emit("early_stop", global_step=self.step, best_step=self.turns_at)

    def do_best(self, step: str) -> None:
        self.best = int(step)
        self.emit("best_used", global_step=self.best, eval_loss=self._eval_loss(self.best))

    def do_adjusted(self) -> None:
        self.emit("adjusted", reason="out_of_memory",
                  changes={"micro_batch_size": 2, "gradient_accumulation_steps": 8},
                  was={"micro_batch_size": 4, "gradient_accumulation_steps": 4})

    def do_asleep(self, seconds: str) -> None:
        self.emit("suspended", seconds=float(seconds))

    def do_sleepless(self) -> None:
        self.emit("sleep_prevented", on=False, reason="no power service answers")

    def do_spill(self) -> None:
        self.emit("warning", code="memory_spill", message="The GPU's memory is full and spills into main memory.")

    def do_event(self, text: str) -> None:
        self.raw(text.encode() + b"\n")

    def do_consent(self, length: str) -> int:
        self.end("failed", error=UserError(
            "Memory ran out, and nothing is left to lower but the sequence length.",
            "One row of 1,024 tokens does not fit.", f"Continue with {length} tokens, or use a smaller model."
            ).to_dict(),
            result={"consent": {"max_length": int(length)}})
        return 1

    def do_finish(self) -> int:
        self._save("end")
        (self.folder / "adapter").mkdir(exist_ok=True)
        checkpoints.seal(self.folder / "adapter", self.step)
        self.end("finished", result=self._result())
        return 0

    def do_answers(self) -> int:
        """An evaluation's answers and scores, and its end."""
        import evaluated_runs

        rows = evaluated_runs.items(24)
        models = [each["name"] for each in jobs.Job(self.folder).request()["models"]]
        self.emit("progress", phase="answering: base", done=3, total=30, unit="answers", seconds_left=60.0)
        self.emit("answers", model="base", done=True, answers=[
            {"id": row["id"], "question": row["messages"][-1]["content"], "answer": evaluated_runs.base_answer(row)}
            for row in rows[:3]])
        evaluated_runs.answer(self.folder, models, rows, "0" * 64)
        self.end("finished", result={})
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
                "eval_loss_after": self._eval_loss(self.best or self.step // EVAL_EVERY * EVAL_EVERY),
                "used_step": self.best or self.step, "adapter": str(self.folder / "adapter")}


def main(arguments: list[str]) -> int:
    if arguments[0] == "--interactive":
        return fake_chat.chat()
    play, words = Play(Path(arguments[0])), os.environ.get("FAKE_WORKER", "start load plan:40 steps:40 finish").split()
    if words[-1:] == ["finish"] and play.job.request()["kind"] == "evaluate":
        words = ["start", "answers"]  # the evaluation that follows a training
    return play.perform(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
