"""Whatever goes wrong with a download is a sentence with a remedy, and a hostile hub gets nowhere."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from support import model_files, model_hub

from slmstudio.core.errors import UserError
from slmstudio.core.model.hub import place, token
from slmstudio.worker.download import fetch_child, transfer

REPO = "acme/tiny-model"
SECRET = "hf_ATokenThatNobodyElseMaySee"
Work = Callable[..., Path]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return model_hub.model_files(model_files.write_model(tmp_path_factory.mktemp("repository")))


@pytest.fixture
def hub(repository, studio_home, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 60)
    monkeypatch.setattr(transfer, "WAITS", (0.01, 0.01, 0.01))
    monkeypatch.setattr(transfer, "AT_ONCE", 0.01)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with model_hub.serving({REPO: dict(repository)}) as found:
        yield found


@pytest.fixture
def work(hub, tmp_path) -> Work:
    """Do what the child of a download does, here; returns the folder in which the model arrived."""
    def do(said: list[dict[str, Any]] | None = None, endpoint: str = "", **request: Any) -> Path:
        partial = tmp_path / ".tiny-model.partial"
        partial.mkdir(exist_ok=True)
        fetch_child.work({"repo": REPO, "revision": None, "endpoint": endpoint or hub.url, "partial": str(partial),
                          "lock": str(tmp_path / "lock"), **request},
                         lambda **fields: None if said is None else said.append(fields))
        return partial

    return do


def refused(work: Work, **request: Any) -> str:
    with pytest.raises(UserError) as caught:
        work(**request)
    assert caught.value.what and caught.value.remedy
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_what_the_hub_refuses_is_told_with_its_remedy(hub, work, repository, monkeypatch):
    assert "There is no model acme/other on the hub. It may be misspelt, or hidden" in refused(work, repo="acme/other")
    assert "no revision “v9”" in refused(work, revision="v9")
    hub.gate = SECRET
    said = refused(work)
    assert "there's no token to say who you are" in said and f"{hub.url}/{REPO}" in said
    assert f"models token --set --endpoint {hub.url}" in said
    token.save(hub.url, "hf_OfSomebodyElse")
    assert "doesn't accept the token from a file that only you can read. It's wrong" in refused(work)
    token.save(hub.url, SECRET)
    hub.accepted = False
    assert "The token is valid, but the model's owner hasn't given you access yet" in refused(work)
    hub.accepted = True
    assert (work() / "model.safetensors").read_bytes() == repository["model.safetensors"]


@pytest.mark.parametrize(("status", "headers", "sentence"), [
    (429, {}, "too many requests from this network. Try again in a few minutes."),
    (429, {"Retry-After": "900"}, "Try again in 15 min."),
    (429, {"RateLimit": '"api";r=0;t=600'}, "Try again in 10 min."),
    (503, {}, "The hub is overloaded, or being repaired. Try again later."),
    (500, {}, "The hub answered with status 500."),
    (403, {}, "The hub refuses access."),
    (407, {}, "The network's proxy asks for a name and a password"),
])
def test_a_hub_that_stays_busy_is_told_after_a_few_tries(hub, work, status, headers, sentence):
    hub.refusals = [(status, headers)] * 10
    assert sentence in refused(work)
    waits = status in transfer.BUSY and not headers
    assert 10 - len(hub.refusals) == (len(transfer.WAITS) + 1 if waits else 1)


def test_a_busy_hub_is_tried_again_after_the_time_it_asks_for(hub, work, repository):
    said: list[dict[str, Any]] = []
    hub.refusals = [(503, {"Retry-After": "0"}), (429, {"Retry-After": "Fri, 27 Nov 2015 10:00:00 GMT"}), (500, {})]
    assert (work(said) / "config.json").read_bytes() == repository["config.json"]
    assert [each["waiting"] for each in said if "waiting" in each] == ["The hub is busy. Trying again in 0 s."] * 3


def test_without_a_network_it_is_said_at_once(hub, work):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    said: list[dict[str, Any]] = []
    assert "The hub can't be reached, or the connection was lost. Check the network" in refused(
        work, endpoint=endpoint, said=said)
    assert not any("waiting" in each for each in said), "not tried again"
    assert "The hub's address can't be found" in refused(work, endpoint="http://no-such-host.invalid")


def test_a_page_to_sign_in_is_told_from_the_hub(hub, work):
    hub.page = {"model.safetensors"}
    assert "perhaps a sign-in page of the network" in refused(work)
    hub.mode = "html"
    assert "perhaps a sign-in page of the network" in refused(work)


def test_a_certificate_that_nobody_knows_is_told(hub, work, tmp_path):
    hub.use_tls(tmp_path)
    assert "The hub's certificate can't be trusted" in refused(work, endpoint=hub.url.replace("http:", "https:"))


def test_a_damaged_file_is_fetched_again_once_and_then_refused_by_name(hub, work, repository):
    hub.corrupt = {"model.safetensors": 1, "chat_template.jinja": 1}
    assert (work() / "model.safetensors").read_bytes() == repository["model.safetensors"]
    (work() / "model.safetensors").unlink()
    hub.corrupt = {"model.safetensors": 2}
    said = refused(work)
    assert "model.safetensors of acme/tiny-model arrived damaged twice. Its SHA-256 is" in said
    hub.corrupt = {"tokenizer_config.json": 2}
    (work() / "tokenizer_config.json").unlink()
    hub.corrupt = {"tokenizer_config.json": 2}
    assert "tokenizer_config.json of acme/tiny-model arrived damaged twice. Its SHA-1 is" in refused(work)


def test_a_beginning_that_was_spoilt_is_found_out(hub, work, repository):
    partial = work()
    whole = place.files_of(place.read_record(partial))["model.safetensors"]
    (partial / "model.safetensors").unlink()
    (partial / whole.incomplete).write_bytes(b"x" * 1000)
    hub.asked_for.clear()
    assert (work() / "model.safetensors").read_bytes() == repository["model.safetensors"]
    assert hub.asked_for == [("model.safetensors", 1000), ("model.safetensors", 0)]


@pytest.mark.parametrize(("size", "sentence"), [
    (-1, "makes no sense"), (2**60, "makes no sense"), ("12", "makes no sense"), (None, "makes no sense"),
    (fetch_child.MOST_BYTES, "enough disk space"), (fetch_child.MOST_BYTES + 1, "makes no sense"),
    (100, "The hub sends "), (10_000_000, "The hub sends "),
])
def test_a_hub_that_lies_about_sizes_is_not_believed(hub, work, size, sentence):
    sha256 = "0" * 64
    hub.lies = {"model.safetensors": {"lfs": {"sha256": sha256, "size": size, "pointerSize": 1}}}
    assert sentence in refused(work)


def test_more_than_was_said_is_not_written(hub, work, repository):
    hub.unsized = True
    hub.lies = {"model.safetensors": {"lfs": {"sha256": "0" * 64, "size": 1000, "pointerSize": 1}}}
    assert "arrived damaged twice. More arrived than the 1,000 bytes that the hub's list says" in refused(work)
    hub.lies = {}
    assert (work() / "model.safetensors").read_bytes() == repository["model.safetensors"]


def test_a_hub_that_falls_silent_is_asked_for_the_rest(hub, work, repository, monkeypatch):
    work()
    (work() / "model.safetensors").unlink()
    hub.asked_for.clear()
    hub.stalls = 1
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 3)
    assert (work() / "model.safetensors").read_bytes() == repository["model.safetensors"]
    assert hub.asked_for[:2] == [("model.safetensors", 0),
                                 ("model.safetensors", len(repository["model.safetensors"]) // 2)]


@pytest.mark.parametrize("lie", [{"lfs": {"sha256": "../../evil", "size": 5, "pointerSize": 1}},
                                 {"blobId": None, "lfs": None}])
def test_a_file_without_a_checksum_is_refused(hub, work, lie):
    hub.lies = {"model.safetensors": lie}
    assert "The size or checksum that the hub lists for" in refused(work)


@pytest.mark.parametrize("name", ["../evil.safetensors", "/tmp/evil.safetensors", "C:\\evil.safetensors",
                                  "a/b.safetensors", "..", "evil.bin", ".hidden.safetensors", "nul\x00.safetensors"])
def test_no_file_is_written_outside_of_the_folder(hub, work, tmp_path, repository, name):
    files = model_hub.sharded(repository)
    index = files["model.safetensors.index.json"].replace(
        b"model-00002-of-00002.safetensors", name.replace("\\", "\\\\").replace("\x00", "\\u0000").encode())
    hub.models[REPO] = {**files, name: b"evil", "model.safetensors.index.json": index}
    before = {path for path in tmp_path.rglob("*") if path.name != "lock"}
    assert "model.safetensors.index.json names" in refused(work)
    new = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path not in before}
    assert {path.parts[0] for path in new} <= {".tiny-model.partial", "lock"}
    assert not any("evil" in path.name for path in new)


def test_a_model_that_cannot_be_trained_is_refused_before_its_weights_come(hub, work, repository):
    for change, sentence in (({"model_type": "clip"}, "isn't a language model that this program can train"),
                             ({"quantization_config": {"quant_method": "awq"}}, "quantized with awq")):
        config = {**json.loads(repository["config.json"]), **change}
        hub.models[REPO] = {**repository, "config.json": json.dumps(config).encode()}
        with pytest.raises(UserError, match=sentence):
            work()
    assert {name for name, _ in hub.asked_for} == {"config.json"}


def test_room_on_the_disk_is_asked_for_first(hub, work):
    hub.lies = {"model.safetensors": {"lfs": {"sha256": "0" * 64, "size": 2**43, "pointerSize": 1}}}
    assert "enough disk space" in (said := refused(work)) and "About 8 TB is needed." in said
    assert {name for name, _ in hub.asked_for} == {"config.json"}


@pytest.mark.skipif(sys.platform == "win32", reason="no small file system can be mounted here")
def test_a_disk_that_fills_in_the_middle_loses_nothing(hub, work, repository, tmp_path, monkeypatch):
    disk = tmp_path / ".tiny-model.partial"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        hub.models[REPO] = {**repository, "model.safetensors": bytes(200_000)}
        with monkeypatch.context() as patch:
            patch.setattr(fetch_child.disk_space, "require", lambda *where: None)  # as if another program were faster
            assert "The disk is full. Free some space and try again. What was downloaded is kept." in refused(work)
        assert "The disk is full" in refused(work)
        assert subprocess.run(["mount", "-o", "remount,size=10m", str(disk)]).returncode == 0
        hub.asked_for.clear()
        assert (work() / "model.safetensors").read_bytes() == bytes(200_000)
        assert dict(hub.asked_for)["model.safetensors"] > 20_000
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_files_of_several_shards_come_by_their_index(hub, work, repository):
    hub.models[REPO] = model_hub.sharded(repository)
    held = {path.name for path in work().glob("*.safetensors*")}
    assert held == {"model.safetensors.index.json", "model-00001-of-00002.safetensors",
                    "model-00002-of-00002.safetensors"}


def test_the_token_goes_to_its_own_hub_alone(hub, work, repository):
    token.save(hub.url, SECRET)
    with model_hub.serving(hub.models) as cdn:
        hub.cdn = cdn
        work()
        assert {headers.get("authorization") for headers in hub.headers} == {f"Bearer {SECRET}"}
        sent = [name for name, _ in cdn.asked_for]
        assert sorted(sent) == ["model.safetensors", "tokenizer.json"]
        assert [headers.get("authorization") for headers in cdn.headers] == [None, None]
        cdn.headers.clear()
        (work() / "model.safetensors").unlink()
        work(endpoint=cdn.url)
        assert [headers.get("authorization") for headers in cdn.headers] == [None], "another hub has another token"
