"""One command from an adapter to a proven Q4_K_M, against merge, convert and quantize by hand, in the same run.

    python tests/bench/export.py [--json] [--layers N] [--keep FOLDER]

A model of Qwen2 1.5B's shape with its own vocabulary and random weights, and a LoRA adapter of rank 16 on all linear
layers, are built first. By hand: PEFT merges and saves, llama.cpp's converter writes F16, llama_model_quantize makes
Q4_K_M of it; nothing proves the result. Ours: `slmstudio export RUN --type Q4_K_M --json`, the proof included. Sampled
every 50 ms: the disk that the files take (blocks, the inputs left out) and the resident memory of all processes of a
side together.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import torch

ROOT = Path(__file__).resolve().parent.parent.parent
MARK = "SLMSTUDIO_BENCH_SIDE"
SAMPLE_SECONDS = 0.05
RANK = 16

MERGE = """
import shutil, sys
from pathlib import Path
from peft import PeftModel
from transformers import AutoModelForCausalLM
base, adapter, out = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(out)
for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
    shutil.copy(Path(base) / name, out)
"""
CONVERT = """
import runpy, sys
from pathlib import Path
from conversion.base import TextModel
# The converter knows vocabularies by their hashes, and not this one, which has Qwen 2's way to split texts.
TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
converter, *sys.argv[1:] = sys.argv[1:]
runpy.run_path(str(Path(converter) / "convert_hf_to_gguf.py"), run_name="__main__")
"""
QUANTIZE = """
import ctypes, os, sys, llama_cpp
parameters = llama_cpp.llama_model_quantize_default_params()
parameters.ftype, parameters.nthread = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M, os.cpu_count()
source, target = sys.argv[1:]
sys.exit(llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(parameters)))
"""


class Meter:
    """The most disk and memory that a side used, and its time."""

    def __init__(self, folder: Path, side: str):
        self._folder, self._side = folder, side
        self._start_blocks = blocks(folder)
        self._known: dict[int, bool] = {}
        self.disk = self.memory = 0
        self.seconds = 0.0
        self._done = threading.Event()

    def __enter__(self) -> Meter:
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._began
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self.disk = max(self.disk, blocks(self._folder) - self._start_blocks)
            self.memory = max(self.memory, sum(self._resident(process) for process in psutil.process_iter()))

    def _resident(self, process: psutil.Process) -> int:
        try:
            if process.pid not in self._known:
                self._known[process.pid] = process.environ().get(MARK) == self._side
            return process.memory_info().rss if self._known[process.pid] else 0
        except (psutil.Error, OSError):
            return 0


def blocks(folder: Path) -> int:
    """Bytes on the disk of all files below a folder."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(Path(parent) / name).st_blocks * 512
    return total


def run(side: str, *command: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env={**os.environ, **(env or {}), MARK: side, "HF_HUB_OFFLINE": "1"}, cwd=ROOT,
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def build(folder: Path, layers: int) -> tuple[Path, Path]:
    """The base model and the run."""
    from safetensors.torch import save_file
    from transformers import Qwen2Config, Qwen2ForCausalLM

    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from support import gguf_models

    base = folder / "base"
    base.mkdir()
    config = Qwen2Config(vocab_size=151936, hidden_size=1536, intermediate_size=8960, num_hidden_layers=layers,
                         num_attention_heads=12, num_key_value_heads=2, max_position_embeddings=32768,
                         rope_theta=1e6, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, dtype="bfloat16",
                         architectures=["Qwen2ForCausalLM"])
    config.save_pretrained(base)
    with torch.device("meta"):
        shapes = {name: tuple(weight.shape) for name, weight in Qwen2ForCausalLM(config).state_dict().items()}
    torch.manual_seed(0)
    save_file({name: weight(name, shape) for name, shape in shapes.items() if name != "lm_head.weight"},
              base / "model.safetensors", metadata={"format": "pt"})
    tokenizer = gguf_models.families() / "qwen2"
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tokenizer / name, base / name)
    return base, make_run(folder, base, shapes)


def weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Random; embeddings large enough that the first choice is no tie among 151,936 tokens."""
    if len(shape) == 1 and not name.endswith("bias"):
        return torch.ones(shape).bfloat16()
    return (torch.randn(shape) * (0.1 if "embed" in name else 0.02)).bfloat16()


def make_run(folder: Path, base: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    from safetensors.torch import save_file

    from slmstudio.core.run import folder as run_folder
    from slmstudio.core.run.config import RunConfig

    rows = ROOT / "resources" / "starter" / "helpdesk_train.jsonl"
    run = run_folder.create(RunConfig(name="bench", model=str(base), train_file=str(rows)), folder / "runs").folder
    adapter = run / run_folder.ADAPTER
    adapter.mkdir()
    tensors = {}
    for name, shape in shapes.items():
        if name.endswith("_proj.weight"):
            stem = f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{stem}.lora_A.weight"] = torch.randn(RANK, shape[1]) * 0.02
            tensors[f"{stem}.lora_B.weight"] = torch.randn(shape[0], RANK) * 0.02
    save_file(tensors, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    targets = sorted({name.split(".")[-2] for name in shapes if name.endswith("_proj.weight")})
    (adapter / "adapter_config.json").write_text(json.dumps(
        {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 2 * RANK, "target_modules": targets,
         "base_model_name_or_path": str(base)}))
    return run


def by_hand(base: Path, adapter: Path, work: Path) -> Meter:
    from slmstudio.core import paths

    work.mkdir()
    converter = paths.converter_dir()
    merged, wide, small = work / "merged", work / "f16.gguf", work / "q4_k_m.gguf"
    with Meter(work, "hand") as meter:
        run("hand", sys.executable, "-c", MERGE, str(base), str(adapter), str(merged))
        run("hand", sys.executable, "-c", CONVERT, str(converter), str(merged), "--outtype", "f16", "--outfile",
            str(wide), env={"PYTHONPATH": str(converter)})
        run("hand", sys.executable, "-c", QUANTIZE, str(wide), str(small))
    return meter


def ours(run_dir: Path) -> tuple[Meter, dict[str, object], dict[str, float]]:
    with Meter(run_dir, "ours") as meter:
        out = run("ours", sys.executable, "-m", "slmstudio", "export", str(run_dir), "--type", "Q4_K_M", "--json")
    [job] = (run_dir / "jobs").iterdir()
    events = [json.loads(line) for line in (job / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    times = [(event["phase"], event["time"]) for event in events if event["type"] == "phase"]
    times.append(("end", events[-1]["time"]))
    phases: dict[str, float] = {}
    for (phase, begins), (_, ends) in itertools.pairwise(times):
        phases[phase] = phases.get(phase, 0.0) + ends - begins
    return meter, json.loads(out.splitlines()[-1]), phases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="slmstudio-bench-")) if options.keep is None else options.keep
    folder.mkdir(exist_ok=True)
    try:
        base, run_dir = build(folder, options.layers)
        hand = by_hand(base, run_dir / "adapter", folder / "hand")
        shutil.rmtree(folder / "hand")
        mine, result, phases = ours(run_dir)
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    parity = result["files"][0]["parity"]  # type: ignore[index]
    figures = {
        "hand_seconds": hand.seconds, "seconds": mine.seconds, "time_ratio": mine.seconds / hand.seconds,
        "hand_disk": hand.disk, "disk": mine.disk, "disk_ratio": mine.disk / hand.disk,
        "hand_memory": hand.memory, "memory": mine.memory, "memory_ratio": mine.memory / hand.memory,
        "phases": phases, "proven": parity["passed"], "failures": parity["failures"]}
    if options.json:
        print(json.dumps(figures))
        return
    print(f"{'':10}{'by hand':>12}{'ours':>12}{'ratio':>8}")
    print(f"{'time':10}{hand.seconds:10.1f} s{mine.seconds:10.1f} s{figures['time_ratio']:8.2f}")
    for name in ("disk", "memory"):
        print(f"{name:10}{figures['hand_' + name] / 1e9:9.2f} GB{figures[name] / 1e9:9.2f} GB"
              f"{figures[name + '_ratio']:8.2f}")
    print("phases:", ", ".join(f"{name} {seconds:.1f} s" for name, seconds in phases.items()))
    print("proven:", parity["passed"], *parity["failures"])


if __name__ == "__main__":
    main()
