"""Each model of the hub has a folder of its own, and what has arrived of one is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slmstudio.core import files, formats, paths
from slmstudio.core.model.hub import place
from slmstudio.core.model.hub.place import RemoteFile

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE, SMALL = RemoteFile("model.safetensors", 1000, "a" * 64, ""), RemoteFile("config.json", 10, "", "b" * 40)
HUB = "https://hub.example"


@pytest.fixture(autouse=True)
def home(studio_home: Path) -> None:
    paths.models_dir().mkdir(parents=True)


def there(name: str, repo: str, revision: str = "main") -> None:
    state = {**formats.stamp("model source"), "repo": repo, "revision": revision, "commit": COMMIT, "files": []}
    files.write_atomically(paths.models_dir() / name / place.SOURCE, files.dump_pretty(state))


def arriving(name: str, repo: str, revision: str | None = None) -> Path:
    partial = paths.models_dir() / f".{name}.partial"
    place.write_record(partial, repo, revision, COMMIT, [LARGE, SMALL], HUB)
    return partial


@pytest.mark.parametrize(("repo", "revision", "name"), [
    ("acme/tiny", None, "tiny"), ("ACME/tiny", "main", "tiny"), ("acme/tiny", COMMIT[:8], "tiny"),
    ("acme/tiny", "v2", "tiny-acme"), ("acme/other", None, "other-acme"), ("beta/tiny", None, "tiny-beta"),
    ("beta/tiny", "refs/pr/3", "tiny-beta-refs-pr-3"), ("gamma/half", None, "half"), ("acme/half", None, "half-acme"),
    ("tiny", None, "tiny-2"), ("acme/new", "v1", "new"),
])
def test_a_model_has_its_own_folder(repo, revision, name):
    there("tiny", "acme/tiny")
    (paths.models_dir() / "other").mkdir()  # somebody's own
    there("tiny-beta", "beta/tiny")
    arriving("half", "gamma/half")
    if revision == "refs/pr/3":
        there("tiny-refs-pr-3", "acme/another")
    assert place.choose(repo, revision).name == name


def test_what_has_arrived_is_known():
    partial = arriving("tiny", "acme/tiny", "v2")
    assert place.unfinished() == [place.Unfinished("acme/tiny", "v2", 0, 1010, partial, HUB)]
    (partial / LARGE.incomplete).write_bytes(bytes(400))
    (partial / SMALL.name).write_bytes(bytes(10))
    (paths.models_dir() / ".import.123.partial").mkdir()
    assert [(each.done, each.total) for each in place.unfinished()] == [(410, 1010)]
    assert place.files_of(place.read_record(partial)) == {LARGE.name: LARGE, SMALL.name: SMALL}


@pytest.mark.parametrize("damage", ["", "[]", "{", json.dumps({"format": 99, "repo": "acme/tiny"}), '{"repo": 3}'])
def test_a_record_that_makes_no_sense_is_none(damage):
    partial = arriving("tiny", "acme/tiny")
    (partial / place.RECORD).write_text(damage)
    assert place.read_record(partial) is None and place.unfinished() == []


def test_a_record_names_files_beside_it_alone():
    listed = [{"name": "../x", "size": 1, "sha256": "", "blob_id": ""}, {"name": "a\\b", "size": 1, "sha256": "",
              "blob_id": ""}, 3, {"name": "x"}, {"name": "x", "size": "1", "sha256": "", "blob_id": ""}, vars(SMALL)]
    assert place.files_of({"files": listed}) == {SMALL.name: SMALL}
    assert place.files_of({"files": 3}) == place.files_of(None) == {}


def test_files_lie_in_the_folder_alone():
    for name in ("", ".", "..", "a/b", "a\\b", "C:x", "config.json:stream"):
        assert place.files_of({"files": [{**vars(SMALL), "name": name}]}) == {}, name
