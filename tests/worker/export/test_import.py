"""GGUF to a base model folder: weights, tokenizer, configuration."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import gguf_models as models
from support.family_models import FAMILIES
from support.tiers import first_fast

from slmstudio.core import leftovers
from slmstudio.core.errors import UserError

pytestmark = pytest.mark.timeout(900)


def test_the_starter_becomes_a_base_model() -> None:
    from slmstudio.core.model.facts import read_model

    facts = read_model(models.starter())
    assert (facts.parameters, facts.context_length) == (134_515_008, 8192)
    assert (facts.dtype, facts.tied_embeddings) == ("bf16", True)
    assert facts.licence == "Apache-2.0" and facts.has_chat_template
    config = json.loads((models.starter() / "config.json").read_text())
    assert config["rope_parameters"]["rope_theta"] == 100_000.0
    assert config["rms_norm_eps"] == 1e-5
    assert [config[f"{name}_token_id"] for name in ("bos", "eos", "pad")] == [1, 2, 2]
    assert len({path.stat().st_mode for path in models.starter().iterdir()}) == 1, "who may read one file may read all"


def test_its_tokenizer_splits_digits_and_equals_llama_cpp() -> None:
    import llama_cpp
    from transformers import AutoTokenizer

    from slmstudio.core.model.tokens import local_tokenizer
    from slmstudio.worker.model import gguf_vocabulary

    model = llama_cpp.Llama(str(models.starter_gguf()), vocab_only=True, verbose=False)
    plain, theirs = local_tokenizer(models.starter()), AutoTokenizer.from_pretrained(models.starter())
    for encode in (lambda text: plain.encode(text, add_special_tokens=False).ids,
                   lambda text: theirs(text)["input_ids"]):
        assert len(encode("2024")) == 4
        assert not gguf_vocabulary.differing([*gguf_vocabulary.PROBES, "<|im_start|>user\nहाँ 12<|im_end|>\n"], encode,
                                    lambda text: model.tokenize(text.encode(), add_bos=False, special=True))


def test_its_weights_are_those_of_the_file() -> None:
    import llama_cpp
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    ids = [1, 9690, 198, 2683, 359, 253, 5356]
    model = llama_cpp.Llama(str(models.starter_gguf()), n_ctx=16, logits_all=True, verbose=False)
    model.eval(ids)
    with torch.inference_mode():
        hugging_face = AutoModelForCausalLM.from_pretrained(models.starter(), dtype=torch.float32)
        ours = hugging_face(torch.tensor([ids])).logits[0]
    theirs = model.scores[:len(ids)]
    assert np.square(ours.numpy() - theirs).sum() / np.square(theirs).sum() < 0.01
    assert (ours.numpy().argmax(1) == theirs.argmax(1)).mean() > 0.8


@pytest.mark.full
def test_without_the_chat_engine_the_same_tokenizer_is_written_and_said_to_be_unproven(tmp_path, no_engine) -> None:
    from slmstudio.core.model.gguf.header import read_header
    from slmstudio.worker.export import import_model

    source, job = models.starter_gguf(), models.context(tmp_path / "job")
    import_model._write_tokenizer(job, source, read_header(source, lambda *_: None).values, tmp_path, 8192)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (models.starter() / name).read_bytes()
    assert [event["code"] for event in models.events(job.folder) if event["type"] == "warning"] == [
        "tokenizer_unproven"]


def test_importing_it_again_only_looks(tmp_path) -> None:
    from slmstudio.worker.export import import_model

    result = import_model.run(models.context(tmp_path, gguf=str(models.starter_gguf()), out=str(models.starter())))
    assert result == {"folder": str(models.starter()), "reused": True, "bytes": 269_060_552}


@pytest.mark.full
def test_another_models_folder_is_never_overwritten(tmp_path) -> None:
    from slmstudio.worker.export import import_model

    folder = tmp_path / "taken"
    folder.mkdir()
    with pytest.raises(UserError, match="already exists"):
        import_model.run(models.context(tmp_path / "job", gguf=str(models.starter_gguf()), out=str(folder)))
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_found_before_the_work(tmp_path, monkeypatch) -> None:
    from slmstudio.worker.export import import_model

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match="isn't enough space"):
        import_model.run(models.context(tmp_path / "job", gguf=str(models.starter_gguf()), out=str(tmp_path / "out")))
    assert [path.name for path in tmp_path.iterdir()] == ["job"]


@pytest.mark.full
def test_cancel_leaves_nothing(tmp_path) -> None:
    from slmstudio.core.jobs.job import Job
    from slmstudio.worker.export import import_model
    from slmstudio.worker.runtime.context import Cancelled

    job = models.context(tmp_path / "job", gguf=str(models.starter_gguf()), out=str(tmp_path / "out"))
    Job(job.folder).send("cancel")
    with pytest.raises(Cancelled):
        import_model.run(job)
    assert [path.name for path in tmp_path.iterdir()] == ["job"]


def test_what_a_killed_import_left_is_removed(tmp_path) -> None:
    """By whoever learns of it, or else by the next import of the same name."""
    from slmstudio.core.jobs.job import Job

    target = tmp_path / "models" / "my [new] model"
    job = Job.create(tmp_path / "job", "import", gguf=str(models.starter_gguf()), out=str(target))
    job.start()
    left = leftovers.of_import(target, job._process.pid)
    while not left.is_dir():
        assert job.is_alive(), job.log_tail()
        time.sleep(0.01)
    os.kill(job._process.pid, signal.SIGKILL)
    assert job.wait().error["remedy"] == "No unfinished files were left behind. Start it again."
    assert list(target.parent.iterdir()) == []
    left.mkdir()  # as if nobody had learned of it
    leftovers.remove_dead(target.parent.glob(".*.partial"))
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("family", first_fast(
    ["qwen2", *(family for family in FAMILIES if family not in ("qwen2", "smollm3"))]))
def test_an_export_becomes_the_same_base_model(families, tmp_path, monkeypatch, family) -> None:
    """Token ids of plain texts, of special tokens within them and of conversations, and weights as the file has them.
    transformers can't read SmolLM3's GGUF."""
    import torch
    from safetensors.torch import load_file

    from slmstudio.core.model.named_templates import template_of
    from slmstudio.core.model.tokens import local_tokenizer
    from slmstudio.worker.export import export, import_model
    from slmstudio.worker.model import gguf_vocabulary

    proof = {"passed": True, "normalizer": None, "sha256": None}  # the exports' own tests look at it
    monkeypatch.setattr(export, "_prove", lambda job, source, made: [setattr(each, "parity", proof) for each in made])
    base, folder = families / family, tmp_path / "imported"
    [file] = export.run(models.context(tmp_path / "export", run=str(base), types=["F32"], out=str(tmp_path)))["files"]
    import_model.run(models.context(tmp_path / "import", gguf=file["path"], out=str(folder)))
    encoders = [(local_tokenizer(each), template_of(each)) for each in (base, folder)]
    added = [token.content for token in encoders[0][0].get_added_tokens_decoder().values()]
    for text in ["[…]", "</s>", *gguf_vocabulary.PROBES, *gguf_vocabulary.strings(), *gguf_vocabulary.around(added)]:
        one, other = (tokenizer.encode(text, add_special_tokens=False).ids for tokenizer, _ in encoders)
        assert one == other, text
    for text in gguf_vocabulary.PROBES:
        one, other = (tokenizer.encode(template.render([{"role": "user", "content": text}], True),
                                       add_special_tokens=False).ids for tokenizer, template in encoders)
        assert one == other, text
    one, other = (load_file(each / "model.safetensors") for each in (base, folder))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_an_unknown_pre_tokenizer_is_refused() -> None:
    from slmstudio.worker.export.import_model import read_tokenizer

    with pytest.raises(UserError, match="an unsupported kind") as caught:
        read_tokenizer(models.starter_gguf(), {"tokenizer.ggml.pre": "martian"})
    assert "'martian'" in caught.value.why


def test_runs_of_spaces_that_are_tokens_of_their_own_are_found_in_the_text(tmp_path) -> None:
    """Gemma's files list them as user-defined tokens, although merges would make them, too."""
    import gguf

    from slmstudio.worker.export.import_model import read_tokenizer

    tokens = ["<unk>", "<s>", "</s>", "  ", "▁", "a", "▁a", "b", "▁b", *(f"<0x{byte:02X}>" for byte in range(256))]
    types = [2, 3, 3, 4, 1, 1, 1, 1, 1, *[6] * 256]
    writer = gguf.GGUFWriter(tmp_path / "spaces.gguf", "gemma3")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(number) for number in range(len(tokens))])
    writer.add_token_types(types)
    writer.add_add_space_prefix(False)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()

    found = read_tokenizer(tmp_path / "spaces.gguf", {"tokenizer.ggml.add_space_prefix": False})

    assert found.convert_ids_to_tokens(found("a  b b", add_special_tokens=False).input_ids) == ["a", "  ", "b", "▁b"]


def vocabulary_file(model: Path, pre_tokenizer: str, path: Path) -> Path:
    """A GGUF file with the vocabulary of a model folder, and nothing else."""
    import gguf

    state = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    special = {token["id"]: token["content"] for token in state["added_tokens"]}
    tokens = {number: token for token, number in state["model"]["vocab"].items()} | special
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer)
    writer.add_token_list([tokens[number] for number in range(len(tokens))])
    writer.add_token_types([gguf.TokenType.CONTROL if number in special else gguf.TokenType.NORMAL
                            for number in range(len(tokens))])
    writer.add_token_merges([" ".join(pair) for pair in state["model"]["merges"]])
    writer.add_bos_token_id(min(special))
    writer.add_eos_token_id(min(special))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(("family", "pre_tokenizer"), first_fast([("llama3", "llama-bpe"), ("qwen2", "qwen2")]))
def test_other_pre_tokenizers_equal_llama_cpp(families, data_dir, tmp_path, family, pre_tokenizer) -> None:
    import llama_cpp

    from slmstudio.worker.export.import_model import read_tokenizer
    from slmstudio.worker.model import gguf_vocabulary

    file = vocabulary_file(families / family, pre_tokenizer, tmp_path / "vocabulary.gguf")
    model = llama_cpp.Llama(str(file), vocab_only=True, verbose=False)
    tokenizer = read_tokenizer(file, model.metadata)
    hindi = (data_dir / "xquad_hi_instructions.jsonl").read_text(encoding="utf-8").splitlines()[:50]
    assert not gguf_vocabulary.differing([*gguf_vocabulary.PROBES, *hindi],
                                lambda text: tokenizer(text, add_special_tokens=False)["input_ids"],
                                lambda text: model.tokenize(text.encode(), add_bos=False, special=True))
