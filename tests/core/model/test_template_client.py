"""Templates and tokenizers in the limited process: the same answers, and what asks for too much ends it alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support import crafted_models, spoken, starter
from support.model_files import CHATML

from slmstudio.core.errors import UserError
from slmstudio.core.model import template_client, tokens
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.vetting.tokenizer import LONG

CHAT = [{"role": "user", "content": "नमस्ते <b>"}, {"role": "assistant", "content": "Hello, 😀."}]
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")


def test_the_same_tokens_and_texts() -> None:
    folder = starter.model()
    template = ChatTemplate.from_folder(folder)
    there, here = tokens.load_tokenizer(folder), tokens.local_tokenizer(folder)
    assert isinstance(there, template_client.Tokenizer)
    assert tokens.encode(CHAT, there, template) == tokens.encode(CHAT, here, template)
    assert tokens.encode(CHAT, there, template, False, 5) == tokens.encode(CHAT, here, template, False, 5)
    encoding = here.encode("a ß")
    assert there.encode("a ß") == (encoding.ids, encoding.offsets)
    assert there.decode([1, 2, 300]) == here.decode([1, 2, 300])
    assert [there.token_to_id(text) for text in ("<|im_end|>", "no token")] == [here.token_to_id("<|im_end|>"), None]
    assert tokens.added_tokens(there) == tokens.added_tokens(here)
    assert tokens.end_of_turn(template, there) == tokens.end_of_turn(template, here)


def test_rows_rendered_ahead_are_those_of_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "ROWS_RENDERED", 64)
    tokenizer, template = tokens.local_tokenizer(starter.model()), ChatTemplate.from_folder(starter.model())
    chats = [[*CHAT[:1], {"role": "assistant", "content": f"<|im_end|> {number}"}] for number in range(150)]
    given: list[int] = []
    found = tokens.encode_rows((given.append(number) or number for number in range(150)),
                               lambda number: [(chats[number], ())] * (number % 3), tokenizer, template)
    number, encoded = next(found)
    assert (number, encoded, len(given)) == (0, [], 2 * 64), "one request is ahead"
    for number, encoded in found:
        assert encoded == [tokens.encode(chats[number], tokenizer, template)] * (number % 3)
    assert number == 149


def test_long_rows_are_rendered_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "CHARACTERS_RENDERED", 10)
    given: list[str] = []
    template, tokenizer = ChatTemplate("{{ messages[0].content }}"), tokens.local_tokenizer(starter.model())
    found = tokens.encode_rows((given.append(text) or text for text in ["abcd"] * 9),
                               lambda text: [([{"role": "user", "content": text}], ())], tokenizer, template, False)
    assert next(found)[1][0].text == "abcd" and len(given) == 2 * 3


def test_a_row_that_is_refused_is_so_when_it_is_its_turn() -> None:
    tokenizer = tokens.local_tokenizer(starter.model())
    template = ChatTemplate("{{ messages[0].content + 'no' if messages[0].content != 5 else raise_exception('no') }}")
    found = tokens.encode_rows(["a", 5, "b"], lambda text: [([{"role": "user", "content": text}], ())], tokenizer,
                               template, False)
    assert next(found)[1][0].text == "ano"
    with pytest.raises(UserError, match="refuses this conversation"):
        next(found)


def test_what_is_wrong_comes_back_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="broken at line 1"):
        ChatTemplate("{% for %}").check()
    with pytest.raises(UserError, match="refuses this conversation: no"):
        ChatTemplate("{{ raise_exception('no') }}").render(CHAT)
    with pytest.raises(UserError, match=r"has no tokenizer\.json"):
        tokens.load_tokenizer(tmp_path)
    tokenizer = tokens.load_tokenizer(starter.model())
    with pytest.raises(UserError, match="half a character"):
        tokenizer.encode("\ud83d", add_special_tokens=False)
    assert ChatTemplate("{{ messages[0].content }}").render([{"role": "user", "content": "\ud83d"}]) == "\ud83d"


def test_it_speaks_the_language_that_is_chosen_while_it_runs() -> None:
    for _ in range(2):
        with pytest.raises(UserError, match="refuses this conversation: no"):
            ChatTemplate("{{ raise_exception('no') }}").render(CHAT)
        first = template_client._child
        with spoken.brackets(), pytest.raises(UserError) as caught:
            ChatTemplate("{{ raise_exception('no') }}").render(CHAT)
        assert spoken.is_translated(caught.value.what) and spoken.is_translated(caught.value.remedy)
        assert template_client._child is first is not None


@linux
def test_six_replacements_inside_each_other(tmp_path: Path) -> None:
    """A hundred characters become 12 GB."""
    crafted_models.tokenizer(tmp_path / "model", normalizer={"type": "Sequence", "normalizers": [
        {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 22}] * 6})
    tokenizer = tokens.load_tokenizer(tmp_path / "model")
    with pytest.raises(UserError, match=r"The tokenizer of model was stopped\. It asked for more memory than any"):
        tokenizer.encode("a" * 100, add_special_tokens=False)
    assert ChatTemplate(CHATML).render(CHAT).count("<|im_start|>") == 2, "the next child answers"


@linux
@pytest.mark.full
def test_a_regular_expression_without_end(tmp_path: Path) -> None:
    crafted_models.split(tmp_path / "model", r"a*a*(?:\d\d|ß)")
    tokenizer = tokens.load_tokenizer(tmp_path / "model")
    with pytest.raises(UserError, match="asked for more time than any model needs"):
        for text in LONG:
            tokenizer.encode(text, add_special_tokens=False)


def test_a_child_that_is_gone_is_replaced() -> None:
    tokenizer = tokens.load_tokenizer(starter.model())
    assert template_client._child is not None
    first = template_client._child.process
    first.kill()
    first.wait()
    assert tokenizer.encode("a").ids
    assert template_client._child.process.pid != first.pid


@linux
def test_hard_limits_of_the_system_stay_as_they_are() -> None:
    """A shared machine may have set some, which nobody but root can raise."""
    code = ("import ctypes, resource, sys\nfrom pathlib import Path\n"
            "from slmstudio.core.model import template_client\n"
            "from slmstudio.core.model.vetting import tokenizer\n"
            "ctypes.CDLL(None).prctl(24, 24)\n"  # PR_CAPBSET_DROP, CAP_SYS_RESOURCE: where root runs this
            "resource.setrlimit(resource.RLIMIT_CPU, (600, 600))\ntemplate_client.check('{{ messages }}')\n"
            "print(tokenizer.measure(Path(sys.argv[1]), None, {'eos_token': []}).get('error'))")
    ended = subprocess.run([sys.executable, "-c", code, str(starter.model())], check=False, capture_output=True,
                           encoding="utf-8")
    assert ended.stdout.strip() == "None", ended.stderr


def test_memory_where_the_system_does_not_limit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows: this side looks at the process while it waits."""
    monkeypatch.setattr(sys, "platform", "win32")
    template_client.close()
    template_client.check("{{ 1 }}")
    monkeypatch.setattr(template_client, "MEMORY", 1)
    monkeypatch.setattr(template_client, "PER_BYTE_OF_REQUEST", 0)
    with pytest.raises(UserError, match="asked for more memory than any model needs"):
        ChatTemplate("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}").render(CHAT)
    monkeypatch.undo()
    assert ChatTemplate("{{ 1 }}").render(CHAT) == "1"


@linux
def test_it_has_no_network() -> None:
    code = ("import errno, socket\nfrom slmstudio.core.lock import foreign_child\nforeign_child._close_network()\n"
            "try:\n    socket.socket()\nexcept OSError as error:\n    print(errno.errorcode[error.errno])")
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8")
    assert ended.stdout.strip() == "EACCES"
