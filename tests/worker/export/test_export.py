"""A run becomes GGUF files: complete or absent, with the right vocabulary, template and end of turn."""

from __future__ import annotations

import json
import os
import shutil
import signal
from types import SimpleNamespace

import pytest
from support import gguf_models as models
from support.gguf_models import quant_type

from slmstudio.core import files
from slmstudio.core.errors import UserError
from slmstudio.core.export.types import QUANT_TYPES
from slmstudio.core.hardware import heat_guard
from slmstudio.core.hardware.heat_guard import Settings
from slmstudio.worker.runtime import cooling
from slmstudio.worker.runtime.context import JobContext

pytestmark = pytest.mark.timeout(900)
BYTE_LEVEL = ("qwen2", "llama3")


def metadata(path) -> dict[str, str]:
    import llama_cpp

    model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    found = dict(model.metadata)
    model.close()
    return found


def export(run, job_folder, *types: str, **request):
    from slmstudio.worker.export import export

    return export.run(models.context(job_folder, run=str(run), types=list(types), **request))


@pytest.fixture(scope="module")
def tiny_run():
    return models.exported_run()[0]


@pytest.fixture(scope="module")
def tiny_export():
    return models.export_result()


def test_makes_every_type_and_proves_it(tiny_run, tiny_export) -> None:
    made = {file["type"]: file for file in tiny_export["files"]}
    assert list(made) == ["F16", "Q8_0", "Q4_K_M"]
    assert sorted(path.name for path in (tiny_run / "exports").iterdir()) == sorted(
        f"pune-helpdesk-{name}{ending}" for name in made for ending in (".gguf", ".parity.json"))
    for file in made.values():
        path = tiny_run / "exports" / f"pune-helpdesk-{file['type']}.gguf"
        assert (file["path"], file["bytes"], file["sha256"]) == (str(path), path.stat().st_size, files.sha256_of(path))
        assert files.read_json(path.with_suffix(".parity.json")) == file["parity"]
        assert file["parity"]["passed"], file["parity"]["failures"]
    assert made["F16"]["parity"]["nmse"] < 1e-4 and made["F16"]["parity"]["top1"] >= 0.99
    assert made["F16"]["parity"]["prompts"] >= 50 and made["F16"]["parity"]["user_prompts"] == 3
    assert tiny_export["notes"] == []


def test_it_rests_while_the_processor_is_too_hot(tiny_run, tmp_path, monkeypatch) -> None:
    from slmstudio.worker.export import export as exporting

    heat = tmp_path / "sys/class/hwmon/hwmon0/temp1_input"
    heat.parent.mkdir(parents=True)
    heat.with_name("name").write_text("k10temp\n")
    heat.write_text("97000\n")
    monkeypatch.setenv("SLMSTUDIO_SYS", str(tmp_path / "sys"))
    monkeypatch.setattr(heat_guard, "HOT_SECONDS", 0.0)
    monkeypatch.setattr(cooling, "PERIOD_SECONDS", 0.01)
    monkeypatch.setattr(cooling, "SETTINGS", Settings(rest_seconds=0.0))
    emit = JobContext.emit

    def cool(job, type, **fields):
        emit(job, type, **fields)
        if type == "guard_rest":
            heat.write_text("60000\n")

    monkeypatch.setattr(JobContext, "emit", cool)
    monkeypatch.setattr(exporting, "_prove", lambda job, source, made: [
        setattr(each, "parity", {"passed": True, "normalizer": None, "sha256": None}) for each in made])
    export(tiny_run, tmp_path / "job", "F16", out=str(tmp_path))
    rest, over = (event for event in models.events(tmp_path / "job") if event["type"].startswith("guard_"))
    assert rest["message"].startswith("The processor is at 97 °C; the limit is 90 °C. The export rests until")
    assert over["type"] == "guard_resume" and (tmp_path / "pune-helpdesk-F16.gguf").exists()


def test_its_vocabulary_and_template_are_the_bases(tiny_export) -> None:
    for file in tiny_export["files"]:
        found = metadata(file["path"])
        assert found["tokenizer.ggml.pre"] == "smollm"
        assert found["tokenizer.chat_template"] == (models.tiny() / "chat_template.jinja").read_text(encoding="utf-8")
        assert found["tokenizer.ggml.eos_token_id"] == found["tokenizer.ggml.eot_token_id"] == "2"
        assert found["general.name"] == "pune-helpdesk"


def test_sizes_are_estimated_well(tiny_export) -> None:
    from slmstudio.core.model.facts import read_model

    facts = read_model(models.tiny())
    for file in tiny_export["files"]:
        assert quant_type(file["type"]).estimate_bytes(facts) == pytest.approx(file["bytes"], rel=0.05)


@pytest.mark.full
def test_cancel_leaves_no_file_and_older_ones_alone(tiny_run, tmp_path) -> None:
    from slmstudio.core.jobs.job import Job

    older = tmp_path / "out" / "pune-helpdesk-F16.gguf"
    older.parent.mkdir()
    older.write_bytes(b"older")
    types = ["F16", "Q8_0", "Q2_K", "MERGED", "LORA", "ADAPTER"]
    for phase in ("merging", "weighing", "converting", "checking"):
        job = Job.create(tmp_path / phase, "export", run=str(tiny_run), types=types, out=str(older.parent))
        job.start()
        outcome = job.wait(lambda event, job=job, phase=phase: (
            job.send("cancel") if event["type"] == "phase" and event["phase"] == phase else None))
        assert outcome.state == "cancelled", outcome
        assert [path.name for path in older.parent.iterdir()] == [older.name], phase
        assert older.read_bytes() == b"older"


@pytest.mark.full
def test_what_a_killed_export_left_is_removed(tiny_run, tmp_path) -> None:
    """By whoever learns of it, or else by the next export."""
    from slmstudio.core.jobs.job import PROCESS, Job

    out = tmp_path / "out"
    job = Job.create(tmp_path / "killed", "export", run=str(tiny_run), types=["F16", "MERGED"], out=str(out))
    job.start()
    next(event for event in job.follow() if event["type"] == "progress" and event["phase"] == "converting")
    pid = json.loads((job.folder / PROCESS).read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    left = {path.name for path in out.iterdir()}
    assert left and all(name.startswith(".") and name.endswith(f".{pid}.partial") for name in left)
    assert job.wait().error["remedy"] == "No unfinished files were left behind. Start it again."
    assert list(out.iterdir()) == []
    for name in left:
        (out / name).write_bytes(b"as if nobody had learned of it")
    export(tiny_run, tmp_path / "next", "Q8_0", out=str(out))
    assert sorted(path.name for path in out.iterdir()) == ["pune-helpdesk-Q8_0.gguf", "pune-helpdesk-Q8_0.parity.json"]


def test_a_full_disk_is_found_before_the_work(tiny_run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match="isn't enough space") as caught:
        export(tiny_run, tmp_path / "job", "F16", out=str(tmp_path / "out"))
    assert "only 1000 bytes is free" in caught.value.why.replace(",", "")
    assert list((tmp_path / "out").iterdir()) == []


def test_says_what_cannot_be_exported(tiny_run, tmp_path, monkeypatch) -> None:
    with pytest.raises(UserError, match="isn't a quantization type"):
        export(tiny_run, tmp_path / "job", "Q4_WRONG")
    unfinished = tmp_path / "run"
    unfinished.mkdir()
    shutil.copy(tiny_run / "run.json", unfinished)
    with pytest.raises(UserError, match="nothing to export yet"):
        export(unfinished, tmp_path / "job", "F16")
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    with pytest.raises(UserError, match="converter isn't installed"):
        export(tiny_run, tmp_path / "job", "F16")


@pytest.mark.full
def test_an_adapter_of_another_base_is_refused(tiny_run, tmp_path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("exports"))
    weights = run / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes().replace(b"layers.1.", b"layers.9."))
    with pytest.raises(UserError, match="doesn't belong to this base"):
        export(run, tmp_path / "job", "F16", out=str(tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.full
def test_the_starter_says_which_rows_fall_back(tmp_path) -> None:
    """576 is no multiple of 256. Also: a model folder without a run can be exported, and comes back as it was."""
    from slmstudio.core.model.facts import read_model

    result = export(models.starter(), tmp_path / "job", "Q4_K_M", "F16", out=str(tmp_path / "out"))
    assert "576" in result["notes"][0] and "Q4_K → Q5_0" in result["notes"][0]
    wide, small = result["files"]
    assert wide["parity"]["passed"] and wide["parity"]["nmse"] < 1e-4 and wide["parity"]["top1"] >= 0.99
    assert small["parity"]["passed"], small["parity"]["failures"]
    facts = read_model(models.starter())
    assert quant_type("Q4_K_M").estimate_bytes(facts) == pytest.approx(small["bytes"], rel=0.05)
    theirs, ours = metadata(models.starter_gguf()), metadata(wide["path"])
    for key in ("tokenizer.ggml.pre", "tokenizer.chat_template", "tokenizer.ggml.eos_token_id", "llama.rope.freq_base",
                "llama.context_length", "tokenizer.ggml.add_bos_token", "general.license"):
        assert ours[key] == theirs[key]


@pytest.mark.full
def test_phi3_without_sentencepiece_file(families, tmp_path) -> None:
    """transformers 5 saves none, so a fully tuned Phi-3 has none."""
    base = tmp_path / "phi3"
    shutil.copytree(families / "phi3", base)
    (base / "tokenizer.model").unlink()
    [file] = export(base, tmp_path / "job", "F16", out=str(tmp_path / "out"))["files"]
    assert file["parity"]["passed"], file["parity"]["failures"]


@pytest.mark.full
def test_a_vocabulary_that_the_converter_never_saw(tmp_path) -> None:
    """The converter knows vocabularies by a hash; the pre-tokenizer's spelling decides where it doesn't."""
    from support import tiny_model

    base = tmp_path / "tiny"
    tiny_model.build(base)
    [file] = export(base, tmp_path / "job", "F16", out=str(tmp_path / "out"))["files"]
    assert metadata(file["path"])["tokenizer.ggml.pre"] == "gpt-2"
    assert file["parity"]["passed"], file["parity"]["failures"]

    tokenizer = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["pre_tokenizer"]["add_prefix_space"] = True
    (base / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(UserError, match="can't become a GGUF"):
        export(base, tmp_path / "job", "F16", out=str(tmp_path / "other"))


def test_the_table_of_types_is_llama_cpps() -> None:
    import llama_cpp

    for kind in QUANT_TYPES:
        prefix = "LLAMA_FTYPE_ALL" if kind.name == "F32" else "LLAMA_FTYPE_MOSTLY"
        assert kind.ftype == getattr(llama_cpp, f"{prefix}_{kind.name}")
    assert quant_type("q4_k_m").name == "Q4_K_M"
