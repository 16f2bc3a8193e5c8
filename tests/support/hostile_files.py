"""Datasets, archives, run folders, settings and adapters that somebody means ill with: each with what reads it.

    python tests/support/hostile_files.py FOLDER [name ...]

builds each in FOLDER, reads it, and prints a line of JSON for it: what was said, what it opened or started that it has
no business with, and what it took. Models, templates and GGUF files have lists of their own (`hostile_models`,
`hostile_templates`, `damaged_gguf`).
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from support.crafted_models import CANARY, Evil
from support.model_files import safetensors

MB = 2**20
ROW = b'{"prompt": "How are you?", "completion": "Fine."}\n'
Build = Callable[[Path], Path]
"""Makes it in a folder of its own, and returns what is to be read. What is large is made only then."""


def zipped(names: dict[str, bytes], link: str = "") -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in names.items():
            archive.writestr(name, content)
        if link:
            about = zipfile.ZipInfo("rows.jsonl")
            about.create_system, about.external_attr = 3, 0o120777 << 16
            archive.writestr(about, link)
    return written.getvalue()


def tarred(name: str, content: bytes = b"", link: str = "", kind: bytes = tarfile.REGTYPE) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as archive:
        about = tarfile.TarInfo(name)
        about.size, about.type, about.linkname = len(content), kind, link
        archive.addfile(about, io.BytesIO(content))
    return written.getvalue()


def file(name: str, content: bytes | Callable[[Path], bytes]) -> Build:
    def build(folder: Path) -> Path:
        (folder / name).write_bytes(content(folder) if callable(content) else content)
        return folder / name

    return build


def nested_zip(depth: int) -> bytes:
    data = zipped({"rows.jsonl": ROW * 20_000})
    for _ in range(depth):
        data = zipped({f"{number}.zip": data for number in range(8)})
    return data


def workbook(sheet: bytes, more: dict[str, bytes] | None = None) -> bytes:
    start = b'<?xml version="1.0"?>'
    return zipped({
        "[Content_Types].xml": start + b'<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "xl/workbook.xml": start + (
            b'<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.'
            b'openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="a" sheetId="1" r:id="r1"/>'
            b"</sheets></workbook>"),
        "xl/_rels/workbook.xml.rels": start + (
            b'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship '
            b'Id="r1" Type="worksheet" Target="worksheets/sheet1.xml"/></Relationships>'),
        "xl/worksheets/sheet1.xml": sheet, **(more or {})})


LAUGHS = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">' + b"".join(
    f'<!ENTITY a{n} "{f"&a{n - 1 if n else str()};" * 10}">'.encode() for n in range(10)) + b"]><x>&a9;</x>"
OUTSIDE = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>'
DATA: dict[str, Build] = {
    "pickle as rows": file("rows.jsonl", lambda folder: pickle.dumps(Evil(folder / "x"))),
    "pickle as a table": file("rows.parquet", lambda folder: pickle.dumps(Evil(folder / "x"))),
    "pickle as a packed file": file("rows.jsonl.gz", lambda folder: gzip.compress(pickle.dumps(Evil(folder / "x")))),
    "deep nesting": file("rows.json", b"[" * 200_000),
    "deep nesting in a row": file("rows.jsonl", b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n" + ROW),
    "numbers of a million digits": file("rows.jsonl", b'{"prompt": ' + b"9" * MB + b', "completion": "a"}\n' + ROW),
    "a line of 64 MB": file("rows.jsonl", lambda _: b'{"prompt": "' + b"a" * (64 * MB)),
    "a key a hundred thousand times": file("rows.jsonl", lambda _: b'{"prompt": "a", ' * 100_000),
    "a table of a million columns": file("rows.csv", lambda _: b"," * MB + b"\n" + b"," * MB),
    "a quote without end": file("rows.csv", lambda _: b'prompt,completion\n"' + b"a,b\n" * (2 * MB)),
    "zeros": file("rows.csv", lambda _: bytes(8 * MB)),
    "formulas": file("rows.csv", b"prompt,completion\n=cmd|' /C calc'!A0,@SUM(1)\n"),
    "half of a table": file("rows.parquet", b"PAR1" + bytes(1_000) + b"\xff\xff\xff\x7fPAR1"),
    "half of an Arrow file": file("rows.arrow", b"ARROW1\0\0" + b"\xff" * 1_000),
    "a program": file("rows.jsonl", b"\x7fELF" + bytes(5_000)),
    "a text of surrogates": file("rows.jsonl", b'{"prompt": "\\ud83d", "completion": "\\ude00"}\n' * 50),
    "a PDF that loops": file("rows.pdf", b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 1 0 R/Kids[1 0 R]/Count 999999999>>"
                                         b"endobj\ntrailer<</Root 1 0 R/Size 2/Prev 9>>\nstartxref\n9\n%%EOF"),
}
BUNDLES: dict[str, Build] = {
    "zip that leads out": file("rows.zip", zipped({"../../outside.jsonl": ROW, "rows.jsonl": ROW})),
    "zip with an absolute path": file("rows.zip", zipped({"/etc/hostname": ROW, "rows.jsonl": ROW})),
    "zip with a link": file("rows.zip", zipped({}, link="/etc/passwd")),
    "zip bomb": file("rows.zip", lambda _: zipped({"rows.jsonl": bytes(64 * MB)})),
    "zip of zips": file("rows.zip", lambda _: nested_zip(3)),
    "zip with a false size": file("rows.zip", zipped({"rows.jsonl": ROW * 99}).replace(
        len(ROW * 99).to_bytes(4, "little"), b"\xff\xff\xff\x7f")),
    "zip of ten thousand files": file("rows.zip", lambda _: zipped({f"{n}.jsonl": ROW for n in range(10_000)})),
    "gzip bomb": file("rows.jsonl.gz", lambda _: gzip.compress(bytes(64 * MB), 9)),
    "tar that leads out": file("rows.tar.gz", tarred("../../outside.jsonl", ROW)),
    "tar with a link": file("rows.tar.gz", tarred("rows.jsonl", link="/etc/passwd", kind=tarfile.SYMTYPE)),
    "tar with a device": file("rows.tar.gz", tarred("rows.jsonl", kind=tarfile.CHRTYPE)),
    "workbook bomb": file("rows.xlsx", lambda _: workbook(bytes(64 * MB))),
    "workbook of entities": file("rows.xlsx", workbook(LAUGHS)),
    "workbook that reads files": file("rows.xlsx", workbook(OUTSIDE)),
    "workbook of a billion rows": file("rows.xlsx", workbook(
        b'<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><dimension '
        b'ref="A1:XFD1048576"/><sheetData><row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
        b"</worksheet>")),
    "document of entities": file("rows.docx", zipped({"[Content_Types].xml": LAUGHS, "word/document.xml": LAUGHS})),
    "document that reads files": file("rows.docx", zipped({"[Content_Types].xml": OUTSIDE,
                                                           "word/document.xml": OUTSIDE})),
}


def run(changes: dict[str, Any] | None = None, **files: str | bytes) -> Build:
    """A run folder: its run.json with changes, and files beside it by their stems."""
    def build(folder: Path) -> Path:
        from slmstudio.core.run import folder as run_folder
        from slmstudio.core.run.config import RunConfig

        (folder / "rows.jsonl").write_bytes(ROW)
        job = run_folder.create(RunConfig(name="a", model=str(folder / "base"), train_file=str(folder / "rows.jsonl")),
                                folder / "runs")
        state = json.loads((job.folder / "run.json").read_text())
        (job.folder / "run.json").write_text(json.dumps({**state, **(changes or {})}))
        for name, content in files.items():
            path = job.folder / f"{name}.json{'l' if name.endswith('s') and name != 'process' else ''}"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder / "runs"

    return build


def linked_run(name: str, target: str) -> Build:
    def build(folder: Path) -> Path:
        found = run()(folder)
        path = next(found.iterdir()) / name
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        return found

    return build


EVENT = '{"event": "step", "time": 1, "step": 1, "train_loss": 1.0}\n'
OUTCOME = '{"format": "slm-studio job", "version": 1, "state": "finished", "result": %s, "error": null}'
RUNS: dict[str, Build] = {
    "a name that leads out": run({"name": "../../../etc/passwd"}),
    "a name of a million letters": run({"name": "x" * MB}),
    "paths that lead out": run({"model": "../../../../etc", "train_file": "/etc/passwd", "start_from": "../.."}),
    "values of other kinds": run({"name": 7, "model": [], "train_file": {}, "epochs": "x", "max_length": None}),
    "numbers without end": run({"learning_rate": 1e400, "max_length": 10**30}),
    "layers by an expression": run({"target_modules": "(a*)*b"}),
    "run.json is a list": file("run.json", b"[]"),
    "half a run.json": lambda folder: _half(run()(folder)),
    "hundreds of thousands of events": run(events=EVENT * 400_000),
    "events without line breaks": run(events=b'{"a": ' + b"[" * (8 * MB)),
    "events of other kinds": run(events="[]\n7\nnull\n" + '{"event": [], "step": {}, "time": "x"}\n' * 99),
    "losses that aren't numbers": run(events='{"event": "step", "step": NaN, "train_loss": {}, "time": 1e999}\n' * 99),
    "steps of forever": run(events='{"event": "step", "step": 1e308, "train_loss": 1, "time": 1}\n' * 99),
    "an outcome of other kinds": run(outcome='{"state": 7, "result": [], "error": "x"}'),
    "an outcome that leads out": run(outcome=OUTCOME % '{"adapter": "/etc", "folder": "../../.."}'),
    "an outcome without end": run(outcome="[" * 100_000),
    "a process that isn't": run(process='{"pid": -1, "create_time": "x"}'),
    "a process of everybody": run(process='{"pid": 1, "create_time": 0}'),
    "a process without end": run(process='{"pid": 1e400, "create_time": null}'),
    "commands of other kinds": run(commands="7\n[]\n" + '{"command": ["rm"]}\n' * 99),
}
if os.name != "nt":
    RUNS |= {"run.json leads out": linked_run("run.json", "/etc/passwd"),
             "events lead out": linked_run("events.jsonl", "/etc/passwd"),
             "the log leads out": linked_run("worker.log", "/etc/passwd"),
             "an outcome that leads to nothing": linked_run("outcome.json", "/nowhere/outcome.json")}


def _half(runs: Path) -> Path:
    path = next(runs.iterdir()) / "run.json"
    path.write_bytes(path.read_bytes()[:200])
    return runs


def settings(content: bytes | Callable[[Path], bytes]) -> Build:
    def build(folder: Path) -> Path:
        (folder / "home").mkdir()
        (folder / "home" / "settings.json").write_bytes(content(folder) if callable(content) else content)
        return folder / "home"

    return build


SETTINGS: dict[str, Build] = {
    "values of other kinds": settings(b'{"theme": 7, "last_tab": [], "datasets": ["x"], "mappings": [1], "told": {}}'),
    "numbers that aren't": settings(b'{"theme": NaN, "geometry": Infinity, "welcomed": -1e999}'),
    "64 MB": settings(lambda _: b'{"geometry": "' + b"a" * (64 * MB) + b'"}'),
    "deep nesting": settings(b'{"a": ' + b"[" * 200_000),
    "a pickle": settings(pickle.dumps(print)),
    "zeros": settings(bytes(MB)),
    "half a file": settings(b'{"theme": "dark", "mod'),
    "models elsewhere": settings(b'{"model_folders": ["//host/share", "/etc", "../..", "\\u0000"]}'),
}


def adapter(config: dict[str, Any], weights: bytes | Callable[[Path], bytes] | None = None,
            name: str = "adapter_model.safetensors") -> Build:
    def build(folder: Path) -> Path:
        start = "base_model.model.model.layers.0.self_attn.q_proj.lora"
        held = safetensors({f"{start}_A.weight": ("F32", (2, 8)), f"{start}_B.weight": ("F32", (8, 2))})
        (folder / "adapter").mkdir()
        (folder / "adapter" / "adapter_config.json").write_text(json.dumps({
            "peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], **config}))
        content = weights(folder) if callable(weights) else weights
        (folder / "adapter" / name).write_bytes(held if content is None else content)
        return folder / "adapter"

    return build


ADAPTERS: dict[str, Build] = {
    "layers by an expression": adapter({"target_modules": r"(\w+\.?)+Z"}),
    "ranks by an expression": adapter({"rank_pattern": {"(a*)*b": 2}}),
    "code": adapter({"auto_mapping": {"parent_library": "evil", "base_model_class": "x"}}),
    "another kind": adapter({"peft_type": "EVIL"}),
    "a rank of a billion": adapter({"r": 10**9}),
    "a base on another computer": adapter({"base_model_name_or_path": "//host/share/model"}),
    "a pickle": adapter({}, lambda folder: pickle.dumps(Evil(folder / "x")), "adapter_model.bin"),
    "a pickle as weights": adapter({}, lambda folder: pickle.dumps(Evil(folder / "x"))),
    "half of the weights": adapter({}, b"\x00\x10\x00\x00\x00\x00\x00\x00{"),
}


def read_data(path: Path) -> str:
    from slmstudio.core.data.reader import read_dataset

    return f"{len(read_dataset(path).records)} rows"


def read_runs(parent: Path) -> str:
    from slmstudio.core.run import folder

    said: list[str] = []
    found = [run.state for run in folder.all_runs(parent, lambda where, why: said.append(str(why)))]
    folder.wanting_attention(parent)
    return f"{found} {said}"


def read_settings(home: Path) -> str:
    from slmstudio.core import settings as module

    os.environ["SLMSTUDIO_HOME"] = str(home)
    return str(module.load()[1])


def read_adapter(folder: Path) -> str:
    from slmstudio.core.model import peft_adapter

    found = peft_adapter.read_adapter(folder)
    peft_adapter.need_loadable(folder)
    return found.name


KINDS: dict[str, tuple[dict[str, Build], Callable[[Path], str]]] = {
    "dataset": (DATA, read_data), "bundle": (BUNDLES, read_data), "run": (RUNS, read_runs),
    "settings": (SETTINGS, read_settings), "adapter": (ADAPTERS, read_adapter),
}
NAMES = [f"{kind}: {name}" for kind, (cases, _) in KINDS.items() for name in cases]
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect",
          "pickle.find_class")


def peak_megabytes() -> int:
    """The most that this process held. `ru_maxrss` would begin with what the process had that started it."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024


def main(base: Path, names: list[str]) -> None:
    import resource

    from slmstudio.core.errors import UserError

    resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
    opened: list[str] = []
    started: list[str] = []
    recording = False

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if recording and event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], (str, bytes)):
            opened.append(os.path.realpath(os.fsdecode(arguments[0])))
        elif recording and event in STARTS:
            started.append(event)

    sys.addaudithook(watch)
    for number, name in enumerate(names or NAMES):
        kind, _, case = name.partition(": ")
        folder = base / str(number)
        folder.mkdir(parents=True)
        os.environ["SLMSTUDIO_HOME"] = str(folder / "home")
        path = KINDS[kind][0][case](folder)
        began, recording = time.process_time(), True
        try:
            said, how = KINDS[kind][1](path), "read"
        except UserError as error:
            said, how = str(error), "refused"
        except Exception as error:
            said, how = f"{type(error).__name__}: {error}", "defect"
        recording = False
        outside = [each for each in opened if each.startswith(("/etc/", "/nowhere", str(base))) and each not in ALLOWED
                   and not each.startswith(str(folder))]
        print(json.dumps({"name": name, "how": how, "said": said[:3_000], "outside": outside, "started": started[:],
                          "ran": bool(list(folder.rglob(CANARY))), "seconds": round(time.process_time() - began, 2),
                          "megabytes": peak_megabytes()}), flush=True)
        opened.clear()
        started.clear()


ALLOWED = ("/etc/localtime", "/etc/mime.types", "/etc/os-release", "/etc/ssl/openssl.cnf")
if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
