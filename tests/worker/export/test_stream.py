"""One pass from base and adapter to every type: the bytes that llama.cpp itself would write, and nothing in between."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from support import gguf_models as models
from support.gguf_models import convert, quant_type
from support.tiers import first_fast

from slmstudio.core import paths
from slmstudio.core.errors import UserError
from slmstudio.core.export.types import QUANT_TYPES

pytestmark = pytest.mark.timeout(900)
QUANTIZED = [kind.name for kind in QUANT_TYPES if kind.name != "F32"]


def tensors(path) -> dict[str, tuple[str, bytes]]:
    from slmstudio.worker.model.gguf_tensors import GgufTensors

    data = path.read_bytes()
    return {name: (kind.name, data[offset:offset + size])
            for name, (kind, offset, size) in GgufTensors(path)._places.items()}


def small_base(folder, hidden: int):
    """A Llama with few tokens; rows of `hidden` weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=49152, hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=3,
                         bos_token_id=1, eos_token_id=2, num_attention_heads=4, num_key_value_heads=2,
                         max_position_embeddings=256, tie_word_embeddings=hidden == 256)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(models.starter() / name, folder / name)
    return folder


@pytest.mark.parametrize(("hidden", "types"), first_fast([
    (256, ("F16", "Q8_0", "Q4_K_M")), *((hidden, tuple(QUANTIZED)) for hidden in (256, 96, 72))]))
def test_equals_what_llama_cpp_makes_of_f32(tmp_path, hidden: int, types: tuple[str, ...]) -> None:
    """Rows of 256 fit K-quants, 96 = 3 · 32 falls back, 72 fits nothing: every tensor is equal, byte for byte."""
    from slmstudio.worker.export import gguf_convert

    run = models.run_folder(small_base(tmp_path / "base", hidden), tmp_path / "runs")
    made = convert(run, tmp_path / "out", *types, "F32")
    for name in types:
        theirs = tmp_path / f"{name}.gguf"
        gguf_convert.quantize(made["F32"], theirs, quant_type(name).ftype)
        ours, wanted = tensors(made[name]), tensors(theirs)
        assert {key: kind for key, (kind, _) in ours.items()} == {key: kind for key, (kind, _) in wanted.items()}, name
        assert ours == wanted, name


def test_nothing_is_made_on_the_way(tmp_path) -> None:
    run = models.run_folder(models.tiny(), tmp_path / "runs")
    convert(run, tmp_path / "out", "Q4_K_M")
    assert [path.name.split(".")[1] for path in (tmp_path / "out").iterdir() if path.name != "job"] == [
        "pune-helpdesk-Q4_K_M"]


def test_merged_folder_is_pefts_merge(tmp_path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from slmstudio.worker.export import export

    run = models.run_folder(models.tiny(), tmp_path / "runs")
    (run / "adapter" / "training_args.bin").write_bytes(b"a pickle, with the paths of this machine")
    result = export.run(models.context(tmp_path / "job", run=str(run), types=["MERGED", "ADAPTER"]))
    merged, adapter = sorted(result["files"], key=lambda file: file["type"], reverse=True)
    assert (merged["path"], adapter["path"]) == (str(run / "exports" / "pune-helpdesk-merged"),
                                                 str(run / "exports" / "pune-helpdesk-adapter"))
    assert not {path.name for path in Path(adapter["path"]).iterdir()} & {"training_args.bin", "manifest.json"}
    base = AutoModelForCausalLM.from_pretrained(models.tiny(), dtype=torch.float32)
    expected = PeftModel.from_pretrained(base, adapter["path"]).merge_and_unload().state_dict()
    model = AutoModelForCausalLM.from_pretrained(merged["path"], dtype="auto")
    assert model.dtype == torch.bfloat16
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[name].to(torch.bfloat16)), name
    assert (run / "exports" / "pune-helpdesk-merged" / "chat_template.jinja").read_text(encoding="utf-8") == (
        models.tiny() / "chat_template.jinja").read_text(encoding="utf-8")
    named = json.loads((run / "exports" / "pune-helpdesk-merged" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert "chat_template" in named, "TGI reads it nowhere else"
    again = export.run(models.context(tmp_path / "job2", run=str(run), types=["MERGED"]))  # replaces the older folder
    assert again["files"][0]["bytes"] == merged["bytes"]
    assert sorted(path.name for path in (run / "exports").iterdir()) == ["pune-helpdesk-adapter",
                                                                         "pune-helpdesk-merged"]


def test_shards_have_their_index(tmp_path, monkeypatch) -> None:
    from transformers import AutoModelForCausalLM

    from slmstudio.worker.export import export, merged_folder

    monkeypatch.setattr(merged_folder, "SHARD_BYTES", 2**20)
    base = shutil.copytree(models.tiny(), tmp_path / "base")
    (base / "source.json").write_text('{"format": 1, "repo": "acme/tiny"}')
    run = models.run_folder(base, tmp_path / "runs")
    [merged] = export.run(models.context(tmp_path / "job", run=str(run), types=["MERGED"]))["files"]
    assert not (Path(merged["path"]) / "source.json").exists(), "it isn't that model any more"
    _model, report = AutoModelForCausalLM.from_pretrained(merged["path"], output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]


@pytest.mark.full
def test_a_lora_on_the_base_answers_as_the_merged_model(tmp_path) -> None:
    import llama_cpp
    import numpy as np

    from slmstudio.worker.export import export

    run = models.run_folder(models.tiny(), tmp_path / "runs", use_rslora=True, rank_pattern={"q_proj": 2})
    [lora] = export.run(models.context(tmp_path / "job", run=str(run), types=["LORA"]))["files"]
    base = convert(models.tiny(), tmp_path / "base", "F32")["F32"]
    merged = convert(run, tmp_path / "merged", "F32")["F32"]

    def logits(path, **options):
        model = llama_cpp.Llama(str(path), n_ctx=64, logits_all=True, verbose=False, **options)
        model.eval(list(range(100, 132)))
        found = np.array(model.scores[:32])
        model.close()
        return found

    plain, tuned, with_lora = logits(base), logits(merged), logits(base, lora_path=lora["path"])
    assert np.abs(tuned - plain).max() > 0.1
    np.testing.assert_allclose(with_lora, tuned, atol=2e-3 * np.abs(tuned).max())


@pytest.mark.parametrize("settings", first_fast([{"use_dora": True}, {"modules_to_save": ["lm_head"]}]), ids=str)
def test_what_a_lora_file_cannot_say_is_refused(tmp_path, settings) -> None:
    from slmstudio.worker.export import export

    run = models.run_folder(models.tiny(), tmp_path / "runs", **settings)
    with pytest.raises(UserError, match="can't become a GGUF LoRA"):
        export.run(models.context(tmp_path / "job", run=str(run), types=["LORA"]))
    assert list((run / "exports").iterdir()) == []


def packed_base(folder):
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                                  bnb_4bit_compute_dtype=torch.float32)
    model = AutoModelForCausalLM.from_pretrained(models.tiny(), quantization_config=settings, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(models.tiny() / name, folder / name)
    return folder


@pytest.mark.full
def test_a_four_bit_base_is_unpacked_or_its_original_is_used(tmp_path, monkeypatch) -> None:
    import torch
    from bitsandbytes import functional
    from transformers import AutoModelForCausalLM

    from slmstudio.worker.export import export

    monkeypatch.setenv("SLMSTUDIO_HOME", str(tmp_path / "home"))
    packed = packed_base(tmp_path / "folders" / "tiny-bnb-4bit")
    run = models.run_folder(packed, tmp_path / "runs")
    result = export.run(models.context(tmp_path / "job", run=str(run), types=["MERGED", "F16"]))
    assert "unpacked from the 4 bits" in result["notes"][0]
    wide = next(file for file in result["files"] if file["type"] == "F16")
    assert wide["parity"]["passed"], wide["parity"]["failures"]
    layer = AutoModelForCausalLM.from_pretrained(packed).model.layers[0].mlp.up_proj.weight
    expected = functional.dequantize_4bit(layer.data, layer.quant_state).float()
    from slmstudio.worker.model.base_weights import BaseWeights

    found = BaseWeights(packed).whole("model.layers.0.mlp.up_proj.weight")
    assert torch.equal(torch.from_numpy(found), expected)

    shutil.copytree(models.tiny(), tmp_path / "folders" / "tiny")
    result = export.run(models.context(tmp_path / "job2", run=str(run), types=["MERGED"]))
    assert "full-precision weights in tiny" in result["notes"][0]
    assert BaseWeights(run / "exports" / "pune-helpdesk-merged").packed == {}


@pytest.mark.full
def test_a_disk_that_fills_up_leaves_nothing(tmp_path, monkeypatch) -> None:
    """At any moment: in a header, in a tensor, in the second file, in a folder. tmpfs is the disk."""
    from slmstudio.worker.export import export

    run = models.run_folder(models.tiny(), tmp_path / "runs")
    disk = tmp_path / "disk"
    disk.mkdir()
    monkeypatch.setattr(export, "_check_space", lambda *_: None)
    for number, (size, types) in enumerate([("1m", ["Q8_0"]), ("5m", ["Q4_K_M"]), ("20m", ["F16"]),
                                            ("30m", ["F16", "Q8_0"]), ("8m", ["MERGED"]), ("64k", ["LORA"])]):
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)],
                          capture_output=True).returncode:
            pytest.skip("no file system may be mounted here")
        try:
            with pytest.raises((UserError, OSError)) as caught:
                export.run(models.context(tmp_path / f"job{number}", run=str(run), types=types, out=str(disk)))
            assert "disk is full" in str(caught.value) or "No space left" in str(caught.value)
            assert list(disk.iterdir()) == []
        finally:
            subprocess.run(["umount", str(disk)], check=True)


def test_all_unknown_types_are_named() -> None:
    from slmstudio.core.export.types import choose

    with pytest.raises(UserError, match="Q4_X, Q9 aren't quantization types"):
        choose(["Q4_X", "Q8_0", "Q9"])


def test_an_adapter_of_other_shapes_is_refused(tmp_path) -> None:
    run = models.run_folder(small_base(tmp_path / "base", 96), tmp_path / "runs")
    config = json.loads((run / "run.json").read_text(encoding="utf-8"))
    config["model"] = str(models.tiny())
    (run / "run.json").write_text(json.dumps(config), encoding="utf-8")
    from slmstudio.worker.export import export

    with pytest.raises(UserError, match="doesn't belong to this base"):
        export.run(models.context(tmp_path / "job", run=str(run), types=["Q8_0"]))


@pytest.mark.full
def test_the_importance_matrix_helps_where_bits_are_few(tmp_path) -> None:
    """Q2_K of the starter, weighed by its own rows and not: the weighed one is nearer to what was trained."""
    from slmstudio.worker.export import export

    run = models.run_folder(models.starter(), tmp_path / "runs")
    rows = tmp_path / "runs" / "rows.jsonl"
    rows.write_bytes(paths.starter_train_file().read_bytes())
    nmse = {}
    for weighed in (True, False):
        result = export.run(models.context(tmp_path / f"job-{weighed}", run=str(run), types=["Q2_K"],
                                           importance=weighed, out=str(tmp_path / f"out-{weighed}")))
        nmse[weighed] = result["files"][0]["parity"]["nmse"]
    assert nmse[True] < nmse[False]
    assert any(event["type"] == "phase" and event["phase"] == "weighing"
               for event in models.events(tmp_path / "job-True"))
    made = tmp_path / "out-True" / "pune-helpdesk-Q2_K.gguf"
    assert b"quantize.imatrix.entries_count" in made.read_bytes()[:20_000_000]


def test_importance_is_the_mean_square_of_each_input(tmp_path) -> None:
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    from slmstudio.worker.export import export
    from slmstudio.worker.model.export_source import Source

    run = models.run_folder(models.tiny(), tmp_path / "runs")
    job = models.context(tmp_path / "job")
    source = Source.of(run)
    tokens = export.measure(job, source, tmp_path / "importance.safetensors")
    found = load_file(tmp_path / "importance.safetensors")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(models.tiny(), dtype=torch.float32),
                                      run / "adapter")
    inputs = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name.endswith("base_layer"):
            key = name.removeprefix("base_model.model.").removesuffix(".base_layer") + ".weight"
            module.register_forward_pre_hook(lambda _, given, key=key: inputs.__setitem__(key, given[0]))
    [block] = export._blocks(job, source, export.MOST_TOKENS)
    with torch.inference_mode():
        model(torch.tensor([block]))
    assert tokens == len(block) > 50 and found.keys() == inputs.keys()
    for key, given in inputs.items():
        torch.testing.assert_close(found[key], given[0].square().mean(0), rtol=1e-3, atol=1e-6)


_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "rope_theta": 1e6}
_LINEAR = {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}


@pytest.mark.parametrize(("family", "rope", "older"), [
    ("llama", {"rope_type": "default", "rope_theta": 1e5}, {"rope_theta": 1e5}),
    ("llama", _YARN, {"rope_theta": 1e6, "rope_scaling": _YARN}),
    ("phi", {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5},
     {"rope_theta": 1e4, "partial_rotary_factor": 0.5}),
    ("gemma3_text", {"full_attention": _LINEAR, "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}},
     {"rope_theta": 1e6, "rope_scaling": _LINEAR, "rope_local_base_freq": 1e4}),
])
def test_a_folder_says_everything_in_the_names_of_transformers_4_too(tmp_path, family, rope, older) -> None:
    from transformers import AutoConfig, AutoTokenizer

    from slmstudio.worker.export import merged_folder

    (tmp_path / "config.json").write_text(json.dumps({"model_type": family, "dtype": "bfloat16",
                                                      "rope_parameters": rope}))
    shutil.copy(models.tiny() / "tokenizer.json", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "TokenizersBackend", "eos_token": "<|im_end|>", "extra_special_tokens": ["<|im_start|>"]}))
    (tmp_path / "chat_template.jinja").write_text("नमस्ते {{ messages[0].content }}", encoding="utf-8")
    before = AutoConfig.from_pretrained(tmp_path)
    merged_folder.add_older_names(tmp_path)
    config, named = (json.loads((tmp_path / name).read_text("utf-8")) for name in ("config.json",
                                                                                   "tokenizer_config.json"))
    assert {name: config.get(name) for name in older} == older and config["torch_dtype"] == "bfloat16"
    assert ("rope_scaling" in config) == ("rope_scaling" in older)
    assert named == {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>",
                     "additional_special_tokens": ["<|im_start|>"],
                     "chat_template": "नमस्ते {{ messages[0].content }}"}
    after = AutoConfig.from_pretrained(tmp_path)
    assert (after.rope_parameters, after.dtype) == (before.rope_parameters, before.dtype)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert "<|im_start|>" in tokenizer.all_special_tokens
    assert tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False) == "नमस्ते x"
