"""What people paste is understood or refused in a sentence; of a repository only a base model's files are wanted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmstudio.core.errors import UserError
from slmstudio.core.model.hub import names
from slmstudio.core.model.hub.names import RepoName

QWEN = "Qwen/Qwen2.5-1.5B-Instruct"


@pytest.mark.parametrize(("text", "revision"), [
    (QWEN, None), (f"  “{QWEN}” \n", None), (f"'{QWEN}'", None), (f"`{QWEN}`", None),
    (f"{QWEN}@main", "main"), (f"{QWEN}@a8b602d9", "a8b602d9"), (f"{QWEN}@refs/pr/3", "refs/pr/3"),
    (f"https://hub.example/{QWEN}", None), (f"http://127.0.0.1:8080/{QWEN}/", None),
    (f"https://hub.example/{QWEN}/tree/main", "main"), (f"https://hub.example/{QWEN}/blob/v1.0/config.json", "v1.0"),
    (f"https://hub.example/{QWEN}/resolve/refs%2Fpr%2F3/model.safetensors?download=true", "refs/pr/3"),
    (f"https://hub.example/{QWEN}?library=transformers#files", None), (f"https://hub.example/{QWEN}.git", None),
    (f"https://hub.example/api/models/{QWEN}", None), (f"hub.example/{QWEN}", None), (f"hf://{QWEN}", None),
    (f"hub.example/{QWEN}/tree/main", "main"),
    ("models--Qwen--Qwen2.5-1.5B-Instruct", None), ("models--Qwen--Qwen2.5-1.5B-Instruct/", None),
])
def test_what_is_pasted_is_understood(text, revision):
    assert names.parse(text) == RepoName(QWEN, revision)


def test_old_models_have_no_owner():
    assert names.parse("gpt2") == RepoName("gpt2") and names.parse("gpt2").owner == ""
    assert (names.parse(QWEN).owner, names.parse(QWEN).name) == ("Qwen", "Qwen2.5-1.5B-Instruct")


@pytest.mark.parametrize("text", [
    "", "  ", "''", "a/b/c/d", "../models/x", "/home/models/x", "~/x", ".\\x", "C:\\models\\x", "D:/models", "x y/z",
    "Qwen/../x", "Qwen/a--b", "-a/b", "a/b-", "a/.b", "a/b\x00", "क/ख", "https://hub.example/", "model.gguf",
    "a/model.Q4_K_M.gguf", "a" * 97,
])
def test_what_is_no_name_is_refused(text):
    with pytest.raises(UserError, match=r"isn't the name of a model\..* for instance Qwen/Qwen2\.5-1\.5B-Instruct"):
        names.parse(text)


def test_datasets_and_strange_revisions_are_refused():
    with pytest.raises(UserError, match="is a dataset, not a model"):
        names.parse("https://hub.example/datasets/Rowan/hellaswag")
    with pytest.raises(UserError, match="is a space, not a model"):
        names.parse("https://hub.example/spaces/a/b")
    with pytest.raises(UserError, match="isn't a revision"):
        names.parse(f"{QWEN}@../../x")


@given(st.text(max_size=60))
def test_anything_is_a_name_or_a_sentence(text):
    try:
        found = names.parse(text)
    except UserError:
        return
    assert names.parse(found.repo).repo == found.repo and not set(found.repo) & set("\\:\0 ")


WHOLE = ["config.json", "model.safetensors", "tokenizer.json"]


def test_each_weight_is_wanted_once_and_nothing_else():
    extra = ["generation_config.json", "tokenizer_config.json", "vocab.json", "merges.txt", "chat_template.jinja",
             "LICENSE", "LICENSE-MODEL", "README.md", "README.zh-CN.md", "USE_POLICY.md"]
    left = ["pytorch_model.bin", "consolidated.safetensors", "model.fp16.safetensors", "model.gguf",
            "flax_model.msgpack", "onnx/model.onnx", "original/consolidated.00.pth", "original/tokenizer.json",
            "modeling_x.py", "readme.py", "license-x.exe", ".gitattributes", "training_args.bin", "README.py/x",
            "../config.json"]
    assert sorted(names.needed(QWEN, [*WHOLE, *extra, *left])) == sorted([*WHOLE, *extra])
    parts = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    held = ["config.json", "tokenizer.json", "model.safetensors.index.json", *parts, *left]
    assert names.needed(QWEN, held, parts) == ["config.json", "model.safetensors.index.json", "tokenizer.json", *parts]
    assert set(names.needed(QWEN, [*held, "model.safetensors"])) & {*parts, "model.safetensors.index.json"} == set()
    with pytest.raises(UserError, match=r"model-00003-of-00003\.safetensors is missing"):
        names.needed(QWEN, held, [*parts, "model-00003-of-00003.safetensors"])


@pytest.mark.parametrize(("held", "why", "remedy"), [
    (["config.json", "pytorch_model.bin", "tokenizer.json"], r"Python pickles \(pytorch_model\.bin\)", "safetensors"),
    (["a.Q4_K_M.gguf", "a.Q8_0.gguf", "b.gguf", "README.md"], r"GGUF files \(a\.Q4_K_M\.gguf, a\.Q8_0\.gguf and 1 more",
     "models import FILE"),
    (["adapter_config.json", "adapter_model.safetensors", "config.json"], "an adapter", "base model that it was"),
    (["consolidated.safetensors", "params.json"], "no config.json", "transformers can load"),
    (["config.json", "model.fp16.safetensors"], "no model.safetensors or", "transformers can load"),
    (["README.md"], "neither a config.json nor weights", "Check the name"),
    (["config.json", "tf_model.h5"], "no weights in safetensors files", "Check the name"),
    ([], "neither a config.json nor weights", "Check the name"),
    (["config.json", "model.safetensors"], "in a different format, or missing", "Choose a version"),
    (["config.json", "model.safetensors", "tokenizer.model"], "in a different format, or missing", "Choose a version"),
])
def test_a_repository_without_a_base_model_is_refused_by_what_it_holds(held, why, remedy):
    with pytest.raises(UserError, match=f"{why}.*{remedy}"):
        names.needed(QWEN, held)


@pytest.mark.parametrize("index", [
    {}, {"weight_map": []}, {"weight_map": {}}, {"weight_map": {"a": 1}}, {"weight_map": {"a": "../x.safetensors"}},
    {"weight_map": {"a": "x.bin"}}, {"weight_map": {"a": "x/y.safetensors"}}, {"weight_map": {"a": "/x.safetensors"}},
    {"weight_map": {"a": "A.safetensors", "b": "a.safetensors"}},
])
def test_an_index_may_name_files_beside_it_alone(index):
    with pytest.raises(UserError, match=r"model\.safetensors\.index\.json (names|doesn't say)"):
        names.shards(QWEN, index)
    assert names.shards(QWEN, {"weight_map": {"a": "x-2.safetensors", "b": "x-1.safetensors", "c": "x-1.safetensors"}}
                        ) == ["x-1.safetensors", "x-2.safetensors"]
