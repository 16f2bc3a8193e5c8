"""A model in this process is held to the form, whatever it would write, and a cached beginning changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import starter

from slmstudio.core.chat.placement import Wish
from slmstudio.core.documents.evidence import Questions
from slmstudio.core.documents.passages import Passage
from slmstudio.core.documents.project import Settings
from slmstudio.core.documents.prompting import ask, forced, grammar, parse, quotable
from slmstudio.worker.documents.make import Maker
from slmstudio.worker.documents.teachers import LocalTeacher, Prompt

TEXTS = ('The clerk "stamps" form 7 on the day. It costs 50 rupees.', "शुल्क पचास रुपये है। आवेदन सोमवार को लें।")
KINDS = ("fact", "how_to")


@pytest.fixture(scope="module")
def teacher() -> Iterator[LocalTeacher]:
    from slmstudio.worker.answering.llama_model import load_gguf

    made = LocalTeacher(load_gguf(starter.gguf(), 2**30, Wish("cpu")))
    yield made
    made.close()


def _prompt(passage: Passage, most: int) -> Prompt:
    return Prompt(ask(passage, KINDS, "en", 2), most, grammar(passage, KINDS, 2), None, forced(passage, KINDS))


PASSAGES = [Passage(f"1-{at}", "a", "s", (), 1, text) for at, text in enumerate(TEXTS)]


def test_a_small_model_keeps_to_the_form_and_quotes_a_sentence(teacher: LocalTeacher):
    """Together with others, behind a beginning that is computed once, and alone. The words may differ: llama.cpp's sums
    depend on where a prompt is cut."""
    together = teacher.complete([_prompt(each, 30) for each in PASSAGES], lambda share: None)
    alone = teacher.complete([_prompt(PASSAGES[0], 30)], lambda share: None)
    for passage, completion in zip([*PASSAGES, PASSAGES[0]], together + alone, strict=True):
        draft, *_ = parse(completion.text, "en", KINDS)
        assert completion.text.startswith('{"pairs":[{"quotation":"') and draft.quotation in quotable(passage.text)


def test_a_prompt_that_doesnt_fit_gives_nothing_and_the_others_are_answered(teacher: LocalTeacher):
    long = Prompt([{"role": "user", "content": "word " * 9000}], 5)
    found = teacher.complete([long, _prompt(PASSAGES[0], 8)], lambda share: None)
    assert (found[0].text, found[0].is_cut) == ("", True) and found[1].text


@pytest.mark.full
def test_no_pair_without_its_quotation_passes(teacher: LocalTeacher):
    """With the weakest teacher that there is."""
    made = Maker(teacher, Settings((), per_passage=1, kinds=KINDS), Questions()).pairs(PASSAGES[:1], lambda share: None)
    [pair] = made["1-0"]
    assert pair["doubts"] or pair["quotation"] in TEXTS[0]
