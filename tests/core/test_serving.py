"""The server's key, and the hosts at which it may listen."""

from __future__ import annotations

import os

import pytest

from slmstudio.core import serving
from slmstudio.core.errors import UserError


@pytest.fixture(autouse=True)
def no_keyring(monkeypatch, studio_home):
    import keyring
    from keyring.backends import fail

    before = keyring.get_keyring()
    keyring.set_keyring(fail.Keyring())
    yield
    keyring.set_keyring(before)


def test_the_key_is_made_once_and_only_its_owner_reads_it(studio_home) -> None:
    key = serving.server_key()
    assert len(key) > 40 and serving.server_key() == key
    assert os.name == "nt" or (studio_home / "server.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in studio_home.iterdir()] == ["server.key"]


def test_a_new_key_replaces_it() -> None:
    first = serving.server_key()
    second = serving.server_key(new=True)
    assert first != second == serving.server_key()


def test_a_keyring_comes_first(studio_home) -> None:
    import keyring
    from keyring.backend import KeyringBackend

    class Memory(KeyringBackend):
        priority = 1
        kept: dict[tuple[str, str], str] = {}  # noqa: RUF012

        def get_password(self, service: str, username: str) -> str | None:
            return self.kept.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.kept[service, username] = password

    keyring.set_keyring(Memory())
    key = serving.server_key()
    assert list(Memory.kept.values()) == [key] and serving.server_key() == key
    assert not (studio_home / "server.key").exists()


def test_a_folder_that_cannot_be_written_is_said(studio_home) -> None:
    studio_home.write_text("a file")
    with pytest.raises(UserError, match="save the server's key"):
        serving.server_key()


@pytest.mark.parametrize(("host", "fine"), [
    ("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.1.2.3", True), ("0.0.0.0", False), ("::", False),
    ("192.168.1.4", False), ("pc", False)])
def test_nothing_listens_beyond_loopback_unasked(host, fine) -> None:
    serving.check_host(host, allow_network=True)
    if fine:
        serving.check_host(host, allow_network=False)
    else:
        with pytest.raises(UserError, match="other machines"):
            serving.check_host(host, allow_network=False)
