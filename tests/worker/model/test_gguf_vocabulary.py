"""What an export writes about a vocabulary; that the ids are the same is for the tests of export and import."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.worker.model.gguf_vocabulary import Vocabulary

SPACE_FIRST = {"added_tokens": [], "normalizer": None,
               "pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "first"}}


def test_only_words_that_no_text_comes_to_are_written_otherwise(families: Path) -> None:
    import gguf

    vocabulary = Vocabulary.of(families / "qwen2")
    ids = vocabulary.state["model"]["vocab"]
    tokens = sorted(ids, key=ids.__getitem__)
    assert "[âĢ¦]" in tokens, "the word […]"
    values = {f"tokenizer.ggml.{name}": SimpleNamespace(value=value)
              for name, value in (("model", "gpt2"), ("tokens", tokens), ("token_type", [1] * len(tokens)))}
    written = vocabulary.corrections(values, gguf, len(tokens))["tokenizer.ggml.tokens"].value
    assert [pair for pair in zip(tokens, written, strict=True) if len(set(pair)) > 1] == [("</s>", "</s>Ġ")]


def test_a_space_that_the_template_begins_with_is_the_tokenizers() -> None:
    """As in a base model that was imported from an export: one space at the start, not two."""
    words = "{% for m in messages %}{{ m.content }}{% endfor %}"
    leads = [Vocabulary(SPACE_FIRST, ChatTemplate(source), False).lead() for source in (words, "{{ ' ' }}" + words)]
    assert leads == [" ", ""]
