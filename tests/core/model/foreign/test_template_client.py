"""Templates and tokenizers in a child: the same answers, and what asks for too much ends the child alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import crafted_models, spoken, starter
from support.model_files import CHATML

from slmstudio.core.errors import UserError
from slmstudio.core.model import named_templates, tokens
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.foreign import template_client, where
from slmstudio.core.model.vetting import samples

CHAT = [{"role": "user", "content": "नमस्ते <b>"}, {"role": "assistant", "content": "Hello, 😀."}]
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(where, "_in_child", True)
    yield
    if template_client._child is not None:
        template_client._child.process.kill()
        template_client._child.process.communicate()
        template_client._child = None


def test_the_same_tokens_and_texts(child: None, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = starter.model()
    template = ChatTemplate.from_folder(folder)
    tokenizer = tokens.load_tokenizer(folder)
    assert isinstance(tokenizer, template_client.Tokenizer)
    there = (tokens.encode(CHAT, tokenizer, template), tokens.encode(CHAT, tokenizer, template, False, 5),
             template.render(CHAT[:1], True), tokenizer.encode("a ß"), tokenizer.decode([1, 2, 300]),
             tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("no token"), tokens.added_tokens(tokenizer),
             tokens.end_of_turn(template, tokenizer), named_templates.fitting(folder), template.takes_tools())
    monkeypatch.setattr(where, "_in_child", False)
    tokenizer = tokens.load_tokenizer(folder)
    encoding = tokenizer.encode("a ß")
    assert there == (
        tokens.encode(CHAT, tokenizer, template), tokens.encode(CHAT, tokenizer, template, False, 5),
        template.render(CHAT[:1], True), (encoding.ids, encoding.offsets), tokenizer.decode([1, 2, 300]),
        tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("no token"), tokens.added_tokens(tokenizer),
        tokens.end_of_turn(template, tokenizer), named_templates.fitting(folder), template.takes_tools())


def test_what_is_wrong_comes_back_in_words(child: None, tmp_path: Path) -> None:
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


def test_it_speaks_the_language_that_is_chosen_while_it_runs(child: None) -> None:
    for _ in range(2):
        with pytest.raises(UserError, match="refuses this conversation: no"):
            ChatTemplate("{{ raise_exception('no') }}").render(CHAT)
        first = template_client._child
        with spoken.brackets(), pytest.raises(UserError) as caught:
            ChatTemplate("{{ raise_exception('no') }}").render(CHAT)
        assert spoken.is_translated(caught.value.what) and spoken.is_translated(caught.value.remedy)
        assert template_client._child is first is not None


@linux
def test_six_replacements_inside_each_other(child: None, tmp_path: Path) -> None:
    """A hundred characters become 12 GB."""
    crafted_models.tokenizer(tmp_path / "model", normalizer={"type": "Sequence", "normalizers": [
        {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 22}] * 6})
    tokenizer = tokens.load_tokenizer(tmp_path / "model")
    with pytest.raises(UserError, match=r"The tokenizer of model was stopped\. It asked for more memory than any"):
        tokenizer.encode("a" * 100, add_special_tokens=False)
    assert ChatTemplate(CHATML).render(CHAT).count("<|im_start|>") == 2, "the next child answers"


@linux
@pytest.mark.full
def test_a_regular_expression_without_end(child: None, tmp_path: Path) -> None:
    crafted_models.split(tmp_path / "model", r"a*a*(?:\d\d|ß)")
    tokenizer = tokens.load_tokenizer(tmp_path / "model")
    with pytest.raises(UserError, match="asked for more time than any model needs"):
        for text in samples.LONG:
            tokenizer.encode(text, add_special_tokens=False)


def test_a_child_that_is_gone_is_replaced(child: None) -> None:
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
            "from slmstudio.core.model.foreign import template_client\n"
            "from slmstudio.core.model.vetting import tokenizer\n"
            "ctypes.CDLL(None).prctl(24, 24)\n"  # PR_CAPBSET_DROP, CAP_SYS_RESOURCE: where root runs this
            "resource.setrlimit(resource.RLIMIT_CPU, (600, 600))\ntemplate_client.check('{{ messages }}')\n"
            "print(tokenizer.measure(Path(sys.argv[1]), None, {'eos_token': []}).get('error'))")
    ended = subprocess.run([sys.executable, "-c", code, str(starter.model())], check=False, capture_output=True,
                           encoding="utf-8")
    assert ended.stdout.strip() == "None", ended.stderr


@pytest.mark.parametrize("begun", ["window", "terminal"])
def test_window_and_terminal_turn_it_on(begun: str) -> None:
    """As they begin; the check itself stops them before they do anything."""
    code = ("import sys\nfrom slmstudio.core.model.foreign import where\n"
            "where.use_child = lambda: sys.exit(77)\nfrom slmstudio.__main__ import main\n"
            f"sys.argv[1:] = {['models', 'list'] if begun == 'terminal' else []}\nmain()")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 77


def test_workers_use_both_directly() -> None:
    code = "import slmstudio.worker.__main__\nfrom slmstudio.core.model.foreign import where\nprint(where.in_child())"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8")
    assert ended.stdout.strip() == "False"
