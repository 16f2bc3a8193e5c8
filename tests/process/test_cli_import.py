"""`models import` in the terminal: GGUF files, folders, adapters and starters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support import crafted_models, model_files
from support import gguf_models as models

from slmstudio.cli import commands
from slmstudio.core import settings
from slmstudio.core.model import library
from slmstudio.core.run import folder

pytestmark = pytest.mark.timeout(300)
ADAPTER = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "acme/tiny"}


def last_json(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def adapter(path: Path) -> Path:
    path.mkdir()
    start = "base_model.model.model.layers.0.self_attn.q_proj"
    (path / "adapter_config.json").write_text(json.dumps(ADAPTER))
    (path / "adapter_model.safetensors").write_bytes(model_files.safetensors(
        {f"{start}.lora_A.weight": ("F32", (2, 8)), f"{start}.lora_B.weight": ("F32", (8, 2))}))
    return path


def test_a_folder_is_remembered(studio_home, tmp_path, capsys) -> None:
    model = crafted_models.honest(tmp_path / "tiny")
    assert commands.main(["models", "import", str(model), "--json"]) == 0
    told = last_json(capsys)
    assert (told["kind"], told["folder"], told["has_chat_template"]) == ("model", str(model), True)
    assert settings.load()[0].model_folders == [str(model)] and library.local_models() == [model]


def test_an_adapter_becomes_a_run(studio_home, tmp_path, capsys) -> None:
    base, made = crafted_models.honest(tmp_path / "tiny"), adapter(tmp_path / "helper")
    assert commands.main(["models", "import", str(made)]) == 2
    assert "acme/tiny, which isn't on this machine" in capsys.readouterr().err
    assert commands.main(["models", "import", str(base)]) == 0
    (made / "chat_template.jinja").write_text("{{ messages }}")
    capsys.readouterr()
    assert commands.main(["models", "import", str(made), "--name", "Help desk", "--json"]) == 0
    told = last_json(capsys)
    assert (told["base"], told["rank"], told["alpha"]) == (str(base), 2, 4.0)
    assert "differs from its base model's" in told["warning"]
    run = folder.summarise(Path(told["run_dir"]))
    assert (run.config.name, run.state, run.folder.parent) == ("Help desk", "finished", studio_home / "runs")
    assert commands.main(["models", "import", str(made), "--base", str(base), "--json"]) == 0


def test_what_cannot_be_imported_is_said(studio_home, tmp_path, capsys) -> None:
    (tmp_path / "notes.txt").write_text("shopping")
    for words, said in (([], "Give either a file or folder"), ([str(tmp_path / "gone")], "doesn't exist"),
                        ([str(tmp_path / "notes.txt")], "is a single file"),
                        (["--starter", "gemma-3-270m"], "must be accepted first"),
                        (["--starter", "gemma"], "no starter model 'gemma'")):
        assert commands.main(["models", "import", *words]) == 2
        assert said in capsys.readouterr().err
    (tmp_path / "m.gguf").write_bytes(model_files.small_gguf())
    for words, said in ((["--starter", "gemma-3-270m", "--name", "x"], "Leave out --name and --base"),
                        (["--starter", "gemma-3-270m", "--base", "x"], "Leave out --name and --base"),
                        ([str(tmp_path / "m.gguf"), "--base", "x"], "Leave out --base")):
        assert commands.main(["models", "import", *words]) == 2
        assert said in capsys.readouterr().err
    assert commands.main(["models", "import", str(tmp_path / "m.gguf"), "--name", "../up"]) == 2
    assert "can't be used as a model's name" in capsys.readouterr().err


def split(source: Path, parent: Path) -> Path:
    """The same model in two files; returns the first."""
    import gguf
    from gguf.scripts.gguf_new_metadata import copy_with_new_metadata

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(parent / "parts.gguf", "llama", split_max_tensors=len(reader.tensors) // 2 + 1)
    copy_with_new_metadata(reader, writer, {}, [])
    return parent / "parts-00001-of-00002.gguf"


@pytest.mark.full
def test_gguf_files_are_unpacked(studio_home, tmp_path, capsys) -> None:
    """With an ending, as Ollama calls them, and in parts: the weights are the same, whatever lies beside them."""
    source = models.exported_run()[1]["F16"]
    blob = tmp_path / "sha256-0a1b2c"
    shutil.copy(source, blob)
    for stray in ("adapter_config.json", "config.json", "tokenizer_config.json"):
        (tmp_path / stray).write_text(json.dumps({"base_model_name_or_path": str(tmp_path / "gone"), "model_type": "x",
                                                  "tokenizer_class": "Gone"}))
    made = {}
    for file in (source, blob, split(source, tmp_path)):
        assert commands.main(["models", "import", str(file), "--json"]) == 0
        told = capsys.readouterr()
        assert "Its weights are F16" in told.err and "2 bytes per weight" in told.err
        state = json.loads(told.out.splitlines()[-1])
        made[Path(state["folder"]).name] = (Path(state["folder"]) / "model.safetensors").read_bytes()
    assert list(made) == [source.stem, "pune-helpdesk", "parts"]
    assert len(set(made.values())) == 1
