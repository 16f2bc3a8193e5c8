"""The token for gated models is kept where nobody else reads it, and belongs to one hub."""

from __future__ import annotations

import os
import stat
import sys

import keyring
import pytest
from keyring.backend import KeyringBackend

from slmstudio.core import paths
from slmstudio.core.errors import UserError
from slmstudio.core.model.hub import place, token
from slmstudio.core.settings import Settings

SECRET, OTHER = "hf_ATokenThatNobodyElseMaySee", "hf_AnotherOneOfSomebody"
HUB, MIRROR = "https://hub.example", "https://mirror.example:8443/hub"


class Ring(KeyringBackend):
    """A keyring in memory."""

    priority = 5

    def __init__(self):
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service, username):
        if self.locked:
            raise RuntimeError("locked")
        return self.held.get((service, username))

    def set_password(self, service, username, password):
        if self.locked:
            raise RuntimeError("locked")
        self.held[service, username] = password

    def delete_password(self, service, username):
        del self.held[service, username]


@pytest.fixture(autouse=True)
def own_places(studio_home, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(paths, "hub_tokens_file", lambda: tmp_path / "config" / "slmstudio" / "hub_tokens.json")


@pytest.fixture
def ring():
    before = keyring.get_keyring()
    keyring.set_keyring(found := Ring())
    yield found
    keyring.set_keyring(before)


def test_the_keyring_keeps_it(ring):
    assert token.find(HUB) is None
    assert token.save(HUB, f" {SECRET}\n") == token.KEYRING
    found = token.find(HUB + "/")
    assert found == token.Token(SECRET, token.KEYRING) and SECRET not in repr(found)
    assert not paths.hub_tokens_file().exists()
    assert token.remove(HUB) and token.find(HUB) is None and not token.remove(HUB)


def test_without_a_keyring_a_file_that_its_owner_alone_can_read_keeps_it(monkeypatch):
    before = os.umask(0)
    try:
        assert token.save(HUB, SECRET) == token.FILE
    finally:
        os.umask(before)
    assert token.find(HUB) == token.Token(SECRET, token.FILE)
    if sys.platform != "win32":
        assert stat.S_IMODE(paths.hub_tokens_file().stat().st_mode) == 0o600
    assert token.save(MIRROR, OTHER) == token.FILE and token.find(HUB).value == SECRET
    assert token.remove(HUB) and token.find(HUB) is None and token.find(MIRROR).value == OTHER
    assert token.remove(MIRROR) and not paths.hub_tokens_file().exists() and not token.remove(MIRROR)


def test_a_keyring_that_is_locked_is_passed_over_and_one_that_opens_takes_over(ring):
    ring.locked = True
    assert token.save(HUB, OTHER) == token.FILE and token.find(HUB).where == token.FILE
    ring.locked = False
    assert token.save(HUB, SECRET) == token.KEYRING
    assert not paths.hub_tokens_file().exists(), "no second copy"


def test_it_belongs_to_one_hub():
    token.save(HUB, SECRET)
    for other in (MIRROR, "https://hub.example:8443", "http://hub.example", "https://hub.example.org"):
        assert token.find(other) is None, other
    assert token.find("https://HUB.example:443/path").value == SECRET


def test_what_the_person_has_already_is_used_for_the_hub_it_is_of(tmp_path, monkeypatch):
    usual = place.usual()
    (tmp_path / "token").write_text(OTHER + "\n")
    assert token.find(usual) == token.Token(OTHER, token.HUB_FILE) and token.find(HUB) is None
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert token.find(usual) == token.Token(SECRET, token.VARIABLE) and token.find(HUB) is None
    monkeypatch.setenv("HF_ENDPOINT", HUB)
    assert token.find(HUB) == token.Token(SECRET, token.VARIABLE)
    assert token.find(usual) == token.Token(OTHER, token.HUB_FILE)
    assert set(token.PLACES) == {token.KEYRING, token.FILE, token.VARIABLE, token.HUB_FILE}


@pytest.mark.parametrize("text", ["", "short", "two words that are long", "hf_line\nbreak: injected", "हिन्दी-टोकन-यहाँ"])
def test_what_is_no_token_is_not_kept(text):
    with pytest.raises(UserError, match="isn't a token"):
        token.save(HUB, text)
    assert token.find(HUB) is None


def test_a_file_that_is_damaged_holds_none():
    paths.hub_tokens_file().parent.mkdir(parents=True)
    for content in ("[]", "{", '{"tokens": 3}', '{"tokens": {"https://hub.example:443": 7}}'):
        paths.hub_tokens_file().write_text(content)
        assert token.find(HUB) is None
    assert token.save(HUB, SECRET) == token.FILE and token.find(HUB).value == SECRET


def test_the_hub_that_is_set_is_used(monkeypatch):
    assert place.current() == place.usual() != HUB
    monkeypatch.setenv("HF_ENDPOINT", MIRROR + "/")
    assert place.current() == MIRROR
    Settings(hub_endpoint=HUB).save()
    assert place.current() == HUB and place.current("http://127.0.0.1:9") == "http://127.0.0.1:9"


@pytest.mark.parametrize("text", ["hub.example", "ftp://hub.example", "https://", "https://hub.example:99999",
                                  "https://hub.example/?x=1", "file:///etc"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(UserError, match="can't be used as the address of a hub"):
        place.current(text)


def test_a_password_in_an_address_is_not_repeated():
    with pytest.raises(UserError) as caught:
        place.current("https://me:geheim@hub.example")
    assert "geheim" not in str(caught.value)
