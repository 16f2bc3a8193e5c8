"""Models that are on this machine already are found, named, and used where they lie."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from support import model_files

from slmstudio.core import files, paths
from slmstudio.core.errors import UserError
from slmstudio.core.model import library
from slmstudio.core.model.facts import read_model
from slmstudio.core.model.hub import on_disk
from slmstudio.core.settings import Settings

COMMITS = ("a" * 40, "b" * 40)
SIZE = len(model_files.safetensors(model_files.llama_tensors()))


@pytest.fixture(autouse=True)
def machine(studio_home, tmp_path, monkeypatch):
    """A machine of somebody who has used other programs: `cache`, `studio` and `ollama` are their folders."""
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))


def cached(tmp_path: Path, name: str, commit: str, main: str = "") -> Path:
    """A model in the hub's cache, as its own library keeps it."""
    repo = tmp_path / "cache" / f"models--{name.replace('/', '--')}"
    snapshot = model_files.write_model(repo / "snapshots" / commit)
    blob = repo / "blobs" / commit
    blob.parent.mkdir(exist_ok=True)
    os.replace(snapshot / "model.safetensors", blob)
    if sys.platform == "win32":
        os.replace(blob, snapshot / "model.safetensors")
    else:
        (snapshot / "model.safetensors").symlink_to(Path("..", "..", "blobs", commit))
    if main:
        (repo / "refs").mkdir(exist_ok=True)
        (repo / "refs" / "main").write_text(main)
    return snapshot


def in_ollama(tmp_path: Path, owner: str, model: str, tag: str, content: bytes, digest: str = "") -> Path:
    digest = digest or "sha256:" + f"{len(list((tmp_path / 'ollama').rglob('*'))):064x}"
    blob = tmp_path / "ollama" / "blobs" / digest.replace(":", "-").replace("/", "_")
    manifest = tmp_path / "ollama" / "manifests" / "registry.example" / owner / model / tag
    for path in (blob, manifest):
        path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    manifest.write_text(json.dumps({"layers": [
        {"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:" + "0" * 64},
        {"mediaType": "application/vnd.ollama.image.model", "digest": digest}]}))
    return blob


def listed(source: str) -> list[tuple[str, str, Path]]:
    return [(found.name, found.kind, found.path) for found in on_disk.local_models() if found.source == source]


def test_nothing_is_found_on_a_new_machine():
    assert on_disk.local_models() == [] and library.local_models() == []


def test_the_hubs_cache_is_read_as_its_library_writes_it(tmp_path):
    cached(tmp_path, "acme/tiny", COMMITS[0])
    newest = cached(tmp_path, "acme/tiny", COMMITS[1], main=COMMITS[1])
    lone = cached(tmp_path, "acme/no-refs", COMMITS[0])
    (tmp_path / "cache" / "models--acme--half" / "snapshots" / COMMITS[0]).mkdir(parents=True)
    pickled = cached(tmp_path, "acme/pickled", COMMITS[0])
    (pickled / "model.safetensors").unlink()
    (pickled / "pytorch_model.bin").write_bytes(b"PK")
    for name, change in (("for-pictures", {"model_type": "clip"}),
                         ("packed", {"quantization_config": {"quant_method": "awq"}})):
        config = cached(tmp_path, f"acme/{name}", COMMITS[0]) / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
    (tmp_path / "cache" / "datasets--acme--rows").mkdir()
    assert listed(on_disk.HUB_CACHE) == [("acme/no-refs", "folder", lone), ("acme/tiny", "folder", newest)]
    assert {found.bytes for found in on_disk.local_models()} == {SIZE}
    assert library.local_models() == [lone, newest]


@pytest.mark.parametrize(("variables", "place"), [
    ({"HUGGINGFACE_HUB_CACHE": "{}/cache"}, "cache"), ({"HF_HOME": "{}/hf"}, "hf/hub"),
    ({"XDG_CACHE_HOME": "{}/xdg"}, "xdg/huggingface/hub"), ({}, ".cache/huggingface/hub"),
    ({"HF_HOME": "~/hf"}, "hf/hub"),
])
def test_the_cache_is_where_the_hubs_own_variables_say(variables, place, tmp_path, monkeypatch):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    assert on_disk.hub_cache() == tmp_path / place


def test_lm_studios_folders_hold_ggufs_and_folders(tmp_path):
    root = tmp_path / ".lmstudio" / "models"
    folder = model_files.write_model(root / "acme" / "tiny-mlx")
    (root / "acme" / "tiny-GGUF").mkdir()
    for name in ("tiny-Q4_K_M.gguf", "mmproj-tiny.gguf", "big-00001-of-00002.gguf", "big-00002-of-00002.gguf", "x.txt"):
        (root / "acme" / "tiny-GGUF" / name).write_bytes(b"GGUF" + bytes(96))
    (root / "loose.gguf").write_bytes(b"GGUF")
    found = listed(on_disk.LM_STUDIO)
    assert found == [("acme/big-00001-of-00002", "gguf", root / "acme" / "tiny-GGUF" / "big-00001-of-00002.gguf"),
                     ("acme/tiny-Q4_K_M", "gguf", root / "acme" / "tiny-GGUF" / "tiny-Q4_K_M.gguf"),
                     ("acme/tiny-mlx", "folder", folder)]
    assert library.local_models() == [folder]


def test_ollamas_models_are_found_by_their_manifests(tmp_path):
    plain = in_ollama(tmp_path, "library", "llama3.2", "1b", model_files.small_gguf())
    other = in_ollama(tmp_path, "acme", "tiny", "latest", b"GGUF")
    in_ollama(tmp_path, "library", "not-gguf", "latest", b"PK\x03\x04")
    in_ollama(tmp_path, "library", "evil", "latest", b"GGUF", digest="sha256:../../../../etc/passwd")
    manifests = tmp_path / "ollama" / "manifests" / "registry.example" / "library"
    for name, content in (("broken", "{"), ("list", "[]"), ("odd", '{"layers": [3, {"mediaType": 1}]}'),
                          ("deep", "[" * 9999)):
        (manifests / name).mkdir()
        (manifests / name / "latest").write_text(content)
    (manifests / "stray").write_text("x")
    assert listed(on_disk.OLLAMA) == [("acme/tiny:latest", "gguf", other), ("llama3.2:1b", "gguf", plain)]
    assert library.local_models() == [], "a GGUF file isn't a folder that can be trained"


def test_each_model_is_told_once_and_endless_folders_end(tmp_path, monkeypatch):
    snapshot = cached(tmp_path, "acme/tiny", COMMITS[0])
    settings = Settings()
    settings.remember_model(snapshot)
    settings.save()
    assert [found.source for found in on_disk.local_models()] == [on_disk.OPENED]
    root = tmp_path / ".lmstudio" / "models" / "acme" / "many"
    root.mkdir(parents=True)
    for number in range(60):
        (root / f"{number}.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(on_disk, "MOST_ENTRIES", 50)
    assert len(listed(on_disk.LM_STUDIO)) == 48


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_a_folder_that_may_not_be_read_hides_no_other(tmp_path):
    if os.getuid() == 0:
        pytest.skip("root may write anywhere")
    kept = cached(tmp_path, "acme/tiny", COMMITS[0])
    shut = cached(tmp_path, "acme/shut", COMMITS[0]).parent
    shut.chmod(0)
    try:
        assert library.local_models() == [kept]
    finally:
        shut.chmod(0o700)


def with_source(folder: Path, repo: str, revision: str = "main") -> Path:
    state = {"format": 1, "repo": repo, "revision": revision, "commit": COMMITS[0], "files": []}
    files.write_atomically(folder / "source.json", files.dump_pretty(state))
    return folder


def test_a_name_is_found_on_this_machine_or_the_command_that_gets_it_is_told(tmp_path, monkeypatch):
    own = with_source(model_files.write_model(paths.models_dir() / "tiny"), "acme/tiny")
    by_hand = model_files.write_model(paths.models_dir() / "by-hand")
    beta = with_source(model_files.write_model(paths.models_dir() / "tiny-beta"), "beta/small")
    loose = model_files.write_model(paths.models_dir() / "qwen 2.5")  # which the catalogue would understand otherwise
    in_cache = cached(tmp_path, "acme/other", COMMITS[0])
    for text, folder in (("acme/tiny", own), ("Tiny", own), ("acme/tiny@main", own), ("ACME/OTHER", in_cache),
                         ("other", in_cache), ("by-hand", by_hand), ("any/by-hand", by_hand),
                         ("tiny-beta", beta), ("qwen 2.5", loose), (str(own), own)):
        assert on_disk.resolve(text) == folder, text
    monkeypatch.chdir(paths.models_dir())
    assert on_disk.resolve("tiny") == own and on_disk.resolve("./gone") == paths.models_dir() / "gone"
    for text, command in (("acme/gone", "models get acme/gone"), ("beta/tiny", "models get beta/tiny"),
                          ("acme/tiny@v2", "models get acme/tiny@v2"), ("gone", "Include its owner")):
        with pytest.raises(UserError, match=f"{text} isn't on this machine.*{command}"):
            on_disk.resolve(text)


def test_two_of_one_name_need_their_owner_and_a_gguf_is_told(tmp_path):
    cached(tmp_path, "acme/tiny", COMMITS[0])
    beta = cached(tmp_path, "beta/tiny", COMMITS[0])
    with pytest.raises(UserError, match=r"Several models are called tiny\. They are acme/tiny, beta/tiny\."):
        on_disk.resolve("tiny")
    assert on_disk.resolve("beta/tiny") == beta
    file = tmp_path / ".lmstudio" / "models" / "acme" / "g" / "small.gguf"
    file.parent.mkdir(parents=True)
    file.write_bytes(model_files.small_gguf())
    with pytest.raises(UserError, match=r"only as a GGUF file.*models import"):
        on_disk.resolve("small")


@pytest.mark.parametrize(("text", "repo"), [
    ("qwen 2.5 1.5b", "Qwen/Qwen2.5-1.5B"), ("Llama 3.2 1B", "meta-llama/Llama-3.2-1B"),
    ("acme/tiny", "acme/tiny"), ("tiny", "tiny")])
def test_a_model_is_named_as_the_hub_or_the_catalogue_does(text, repo):
    assert on_disk.repo_name(text).repo == repo


def test_a_misspelled_name_gets_the_nearest_ones():
    with pytest.raises(UserError) as caught:
        on_disk.resolve("qwenn 2.5 1.5b")
    assert "Qwen/Qwen2.5-1.5B" in caught.value.remedy


def test_a_name_that_is_too_long_for_a_file_is_a_sentence():
    with pytest.raises(UserError):
        read_model(on_disk.resolve("x" * 300))
