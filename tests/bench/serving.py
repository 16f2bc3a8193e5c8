"""Every export in the program that it is for: the same held-out questions, answered greedily, against Chat.

    python tests/bench/serving.py --work FOLDER [--model FOLDER] [--data FILE…] [--llama-server PROGRAM]
        [--vllm PROGRAM] [--ollama-reader PROGRAM] [--json]

The first call trains an adapter for a few steps on some rows of each file, and exports it and its base; later calls
with the same --work use that, and the answers in its folder `answers`. Each program is in an environment of its own,
and is started with the very text that the serving recipes show (ports are changed). The ids of each prompt and greedy
answer are compared with our chat's. Where answers part, the trained model in fp32 says by how much it prefers the
chat's token.

--ollama-reader is made of Ollama's own packages `parser` and `template`: it takes a Modelfile and a file of
conversations, and prints {"prompts": [text]}. Without it, our own reader of the documented language is used.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import importlib.metadata
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

ROWS, QUESTIONS, TOKENS, CONTEXT = 30, 4, 40, 4096
TYPES = ("F16", "Q8_0", "MERGED", "ADAPTER", "LORA")
SETTINGS = ("max_steps=8", "eval_fraction=0", "learning_rate=0.001", "lora_rank=16", "lora_alpha=32", "max_length=640",
            "name=exports trial")
STARTER = ROOT / "resources" / "starter" / "helpdesk_train.jsonl"
START_SECONDS = 1500
TGI = {"model_type", "architectures", "rope_theta", "torch_dtype", ".safetensors", "chat_template", "tokenizer_class"}
GREEDY = {"temperature": 0, "max_tokens": TOKENS}
Talk = list[dict[str, str]]
Answers = list[dict[str, Any]]
"""Of each question: `prompt` and `answer`, token ids; only the prompt where a program's rules are read."""


@dataclasses.dataclass
class Row:
    """`against`: whose answers are right; `gap`: the largest difference of two logits in fp32 where answers part."""

    program: str
    version: str
    loaded: str
    against: str
    prompts: int = 0
    answers: int = 0
    gap: float | None = None
    remark: str = ""


def studio(*words: str) -> Any:
    """The JSON that a command of ours prints."""
    command = [sys.executable, "-m", "slmstudio", *words, "--json"]
    return json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout)


def read_rows(file: Path) -> list[dict[str, str]]:
    """Short rows first, so that a small model answers within its context."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        question = "\n\n".join(filter(None, (row.get("instruction") or row.get("question"), row.get("input"))))
        rows.append({"instruction": question, "output": row["output" if "output" in row else "answer"]})
    return sorted(rows, key=lambda row: len(row["instruction"]))[:ROWS + QUESTIONS]


def build(work: Path, model: str, data: list[Path]) -> dict[str, Any]:
    """Train and export, unless that was done; the paths of what was made, and the questions."""
    made = work / "made.json"
    if not made.is_file():
        work.mkdir(parents=True, exist_ok=True)
        files = [read_rows(file) for file in data]
        (work / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n"
                                                 for rows in files for row in rows[QUESTIONS:]), encoding="utf-8")
        studio("plan", "--model", model, "--data", str(work / "rows.jsonl"), "--out", str(work / "run.json"),
               *(word for setting in SETTINGS for word in ("--set", setting)))
        run = studio("train", str(work / "run.json"), "--no-evaluate")["run_dir"]
        base = json.loads((Path(run) / "run.json").read_text(encoding="utf-8"))["model"]
        found = studio("export", run, *(word for kind in TYPES for word in ("--type", kind)))["files"]
        [plain] = studio("export", base, "--type", "F16", "--out", str(work / "base"))["files"]
        made.write_text(json.dumps({
            "run": run, "base_gguf": plain["path"], **{each["type"]: each["path"] for each in found},
            "questions": [row["instruction"] for rows in files for row in rows[:QUESTIONS]]}), encoding="utf-8")
    return dict(json.loads(made.read_text(encoding="utf-8")))


def chat(path: str, lora: str | None, talks: list[Talk]) -> Answers:
    """Our chat's service. One token more is asked for than is compared: the last one drawn isn't in its memory."""
    from slmstudio.worker import torch_chat
    from slmstudio.worker.gguf_chat.service import ChatService, load_gguf

    service = ChatService(lambda kind, **fields: None, load_gguf if path.endswith(".gguf") else torch_chat.load)
    service.handle({"command": "load", "path": path, "context_length": CONTEXT})
    if lora:
        service.handle({"command": "adapter", "path": lora, "scale": 1.0})
    found = []
    for number, talk in enumerate(talks):
        model: Any = service.model
        prompt = model.vocab.prompt(talk)
        service.handle({"command": "generate", "id": number, "messages": talk, "temperature": 0,
                        "max_tokens": TOKENS + 1})
        found.append({"prompt": prompt, "answer": list(model.tokens[len(prompt):])[:TOKENS]})
    service.handle({"command": "unload"})
    return found


def plain(folder: str, adapter: bool, dtype: str, talks: list[Talk]) -> Answers:
    """transformers alone, or PEFT alone, as their manuals have it."""
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = (AutoPeftModelForCausalLM if adapter else AutoModelForCausalLM).from_pretrained(folder, dtype=dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for talk in talks:
        prompt = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=True, return_tensors="pt")
        length = prompt["input_ids"].shape[1]
        answer = model.generate(**prompt, do_sample=False, max_new_tokens=TOKENS)[0, length:].tolist()
        found.append({"prompt": prompt["input_ids"][0].tolist(), "answer": answer})
    return found


def gaps(adapter: str, places: list[dict[str, Any]]) -> list[float]:
    """By how much the trained model in fp32 prefers `ours` to `theirs` behind `tokens`, in logits."""
    import torch
    from peft import AutoPeftModelForCausalLM

    model = AutoPeftModelForCausalLM.from_pretrained(adapter, dtype="float32")
    found = []
    for place in places:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([place["tokens"]]), logits_to_keep=1).logits[0, -1]
        found.append(float(logits[place["ours"]] - logits[place["theirs"]]))
    return found


@contextlib.contextmanager
def server(work: Path, text: str, program: Path, port: int) -> Iterator[None]:
    """Run a recipe's text in a shell, as it stands, in which `program` is found; wait until it is ready."""
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "HF_HUB_OFFLINE": "1",
                   "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    print(text, file=sys.stderr, flush=True)
    with open(log := work / "server.log", "wb") as out:
        process = subprocess.Popen(["bash", "-ec", text], cwd=work, env=environment, stdout=out, stderr=out,
                                   start_new_session=True)
    try:
        until = time.monotonic() + START_SECONDS
        while True:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(log.read_text(encoding="utf-8", errors="replace")[-2000:])
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                break
            time.sleep(1)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def call(port: int, path: str, key: str = "", body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode() if body else None,
                                     {"Content-Type": "application/json", "Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=START_SECONDS) as reply:
        return json.load(reply)


def ask_llama_server(row: Row, port: int, key: str, messages: Talk) -> dict[str, Any]:
    row.version = call(port, "/props", key)["build_info"]
    text = call(port, "/apply-template", key, {"messages": messages})["prompt"]
    prompt = call(port, "/tokenize", key, {"content": text, "add_special": True, "parse_special": True})["tokens"]
    greedy = {**GREEDY, "cache_prompt": False}  # a prompt that is half remembered rounds differently
    chat = call(port, "/v1/chat/completions", key, {"messages": messages, **greedy})["choices"][0]["message"]
    # Only this gives all ids: the chat's logprobs lack tokens that are parts of a letter.
    plain = call(port, "/completion", key, {"prompt": prompt, **greedy, "return_tokens": True})
    if plain["content"].strip() != chat["content"].strip():
        raise RuntimeError(f"llama-server answers a chat and its prompt differently: {chat}, {plain['content']!r}")
    return {"prompt": prompt, "answer": plain["tokens"]}


def ask_vllm(row: Row, port: int, model: str, messages: Talk) -> dict[str, Any]:
    row.version = call(port, "/version")["version"]
    body = {"model": model, "messages": messages, **GREEDY, "return_token_ids": True}
    reply = call(port, "/v1/chat/completions", "", body)
    return {"prompt": reply["prompt_token_ids"], "answer": reply["choices"][0]["token_ids"]}


def tgi(row: Row, folder: Path, talks: list[Talk]) -> Answers:
    """The prompts of TGI for a local folder: its router takes tokenizer.json, and from tokenizer_config.json the
    template and special tokens; its launcher takes *.safetensors; its models read config.json as transformers 4."""
    from slmstudio.core.model.chat_template import ChatTemplate

    config, named = (json.loads((folder / name).read_text(encoding="utf-8"))
                     for name in ("config.json", "tokenizer_config.json"))
    if named.get("tokenizer_class") == "TokenizersBackend":
        del named["tokenizer_class"]
    there = {*config, *named, *(path.suffix for path in folder.iterdir() if not re.search("arg|training", path.name))}
    row.remark = f"missing: {', '.join(sorted(TGI - there)) or 'nothing'}"
    special = {name: token["content"] if isinstance(token, dict) else token for name, token in named.items()
               if name in ("bos_token", "eos_token") and token}
    template = ChatTemplate(named.get("chat_template", ""), special)
    return tokenized(folder, [template.render(talk, add_generation_prompt=True) for talk in talks])


def tokenized(folder: Path, prompts: list[str]) -> Answers:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [{"prompt": tokenizer.encode(prompt, add_special_tokens=False).ids} for prompt in prompts]


def ollama(work: Path, text: str, reader: Path | None, folder: Path, talks: list[Talk]) -> Answers:
    """The prompts of a Modelfile, by Ollama's own reader or by ours."""
    from support import go_template

    if reader is None:
        template = dict(go_template.read_modelfile(text))["TEMPLATE"]
        return tokenized(folder, [go_template.ollama_prompt(template, talk) for talk in talks])
    (work / "Modelfile").write_text(text, encoding="utf-8")
    (work / "talks.json").write_text(json.dumps(talks), encoding="utf-8")
    found = subprocess.check_output([reader.absolute(), work / "Modelfile", work / "talks.json"], text=True)
    return tokenized(folder, json.loads(found)["prompts"])


def trials(work: Path, made: dict[str, Any],
           options: argparse.Namespace) -> Iterator[tuple[Row, Callable[[], Answers]]]:
    """The rows, and what makes the answers of each. A row is compared with an earlier one, which it names."""
    from slmstudio.core.export import recipes
    from slmstudio.core.run import folder as run_folder

    talks = [[{"role": "user", "content": question}] for question in made["questions"]]
    port, merged = options.port, Path(made["MERGED"])
    export = recipes.find(Path(made["F16"]), run_folder.summarise(Path(made["run"])))
    of_run, on_base = "Chat the run", "base GGUF F16 + the adapter's GGUF"
    for loaded, path, lora in (("the run", made["run"], None), ("GGUF F16", made["F16"], None),
                               ("GGUF Q8_0", made["Q8_0"], None), (on_base, made["base_gguf"], made["LORA"])):
        yield (Row("Chat", importlib.metadata.version("slmstudio"), loaded, of_run),
               functools.partial(chat, path, lora, talks))
    for program, loaded, path in (("transformers", "merged folder", made["MERGED"]),
                                  ("peft", "adapter on base", made["ADAPTER"])):
        for dtype in ("float32", "bfloat16"):
            yield (Row(program, importlib.metadata.version(program), f"{loaded}, {dtype}", of_run),
                   functools.partial(plain, path, program == "peft", dtype, talks))

    def served(row: Row, kind: str, found: recipes.Export, extra: str) -> Answers:
        [recipe] = (each for each in recipes.recipes(found, "posix") if each.program == kind)
        if recipe.problem is not None:
            raise recipe.problem
        if kind == "vllm":
            with server(work, f"{recipe.text} --port {port}{extra}", options.vllm, port):
                return [ask_vllm(row, port, export.name, talk) for talk in talks]
        text = recipe.text.replace(f"--port {recipes.LLAMA_SERVER_PORT}", f"--port {port}")
        with server(work, f"{text}{extra}", options.llama_server, port):
            key = (work / "llama-server.key").read_text(encoding="utf-8").strip()
            return [ask_llama_server(row, port, key, talk) for talk in talks]

    servers = [("llama.cpp", f"GGUF {kind}", dataclasses.replace(export, gguf=Path(made[kind])), "")
               for kind in ("F16", "Q8_0")]
    servers.append(("llama.cpp", on_base, dataclasses.replace(export, gguf=Path(made["base_gguf"])),
                    f" {shlex.join(['--lora', made['LORA']])}"))
    alone = dataclasses.replace(export, merged=None)
    servers += [("vllm", f"{loaded}, {name}", found, extra)
                for loaded, found in (("merged folder", export), ("adapter on base", alone))
                for name, extra in (("bfloat16", ""), ("float32", " --dtype float32"))]
    for kind, loaded, found, extra in servers:
        if options.vllm if kind == "vllm" else options.llama_server:
            row = Row(kind, "", loaded, f"Chat {loaded}" if kind == "llama.cpp" else of_run)
            yield row, functools.partial(served, row, kind, found, extra)
    row = Row("TGI", "3.3.7", "merged folder, its rules", of_run)
    yield row, functools.partial(tgi, row, merged, talks)
    [text] = (each.text for each in recipes.recipes(export, "posix") if each.program == "ollama")
    yield (Row("Ollama", "", f"Modelfile, {'its reader' if options.ollama_reader else 'its rules'}", of_run),
           functools.partial(ollama, work, text, options.ollama_reader, merged, talks))


def judge(rows: list[tuple[Row, Answers]], adapter: str) -> None:
    """Count what is equal, and measure each place where answers part."""
    known = {f"{row.program} {row.loaded}": answers for row, answers in rows}
    end = json.loads((Path(adapter) / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
    places: list[tuple[Row, dict[str, Any]]] = []
    for row, answers in rows:
        for ours, theirs in zip(known[row.against], answers, strict=bool(answers)):
            row.prompts += ours["prompt"] == theirs["prompt"]
            if "answer" in theirs:
                one, other = ([token for token in each["answer"] if token != end] + [end] for each in (ours, theirs))
                row.answers += one == other
                if one != other:
                    at = next(at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1])
                    places.append((row, {"tokens": ours["prompt"] + one[:at], "ours": one[at], "theirs": other[at]}))
    for (row, _), gap in zip(places, gaps(adapter, [place for _, place in places]), strict=True):
        row.gap = max(abs(gap), row.gap or 0.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--data", type=Path, nargs="+", default=[STARTER])
    for name in ("--llama-server", "--vllm", "--ollama-reader"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--port", type=int, default=18080)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    work = options.work.absolute()
    os.environ.setdefault("SLMSTUDIO_HOME", str(work / "home"))
    made = build(work, options.model, options.data)
    rows: list[tuple[Row, Answers]] = []
    for row, answer in trials(work, made, options):
        cache = work / "answers" / f"{row.program} {row.loaded}.json"
        if cache.is_file():
            row.version, row.remark, answers = json.loads(cache.read_text(encoding="utf-8"))
        else:
            print(f"{row.program}: {row.loaded}", file=sys.stderr, flush=True)
            try:
                answers = answer()
            except (RuntimeError, OSError) as error:
                row.remark, answers = str(error), []
            cache.parent.mkdir(exist_ok=True)
            cache.write_text(json.dumps([row.version, row.remark, answers], ensure_ascii=False), encoding="utf-8")
        rows.append((row, answers))
    judge(rows, made["ADAPTER"])
    if options.json:
        print(json.dumps([dataclasses.asdict(row) for row, _ in rows], ensure_ascii=False))
    else:
        for row, answers in rows:
            equal = f"{row.answers} of {len(answers)}" if answers and "answer" in answers[0] else "–"
            why = f"{row.gap:.3f} {row.remark}" if row.gap is not None else row.remark
            print(f"| {row.program} {row.version} | {row.loaded} | {row.prompts} of {len(answers)} | {equal} | {why} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
