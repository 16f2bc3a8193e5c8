"""Passages end where a document's structure does, and a held-out section is held out whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slmstudio.core.documents.passages import Block, cut, held_out, token_count

LONG = "Every officer who has served for a year applies for leave in writing to the head of the office. "


def test_a_passage_has_one_section_and_fits_the_budget():
    blocks = [Block(LONG, ("Leave",), 1), Block(LONG * 9, ("Leave",), 2), Block(LONG, ("Leave", "Sick"), 3),
              Block("12", ("Leave", "Sick"), 3), Block(LONG, ("Leave",), 4)]
    found = list(cut("a.pdf", 3, blocks, 100))
    assert [each.id for each in found] == [f"3-{number}" for number in range(1, len(found) + 1)]
    assert all(token_count(each.text) <= 100 for each in found)
    assert found[0].page == 1 and found[-1].page == 4
    assert len({each.section for each in found}) == 3, "the same heading later is a section of its own"
    assert {each.section for each in found} == {each.section for each in cut("a.pdf", 1, blocks, 60)}
    assert sum(each.text.count("Every officer") for each in found) == 12


def test_sentences_in_devanagari_end_a_piece_and_cost_more_tokens():
    sentence = "अर्जित अवकाश के लिए आवेदन कार्यालय प्रमुख को लिखित रूप में दिया जाएगा। "
    found = list(cut("a.pdf", 1, [Block(sentence * 6)], 120))
    assert len(found) > 1 and all(each.text.rstrip().endswith("।") for each in found)


def test_without_headings_each_page_is_a_section():
    assert len({each.section for each in cut("a.pdf", 1, [Block(LONG, (), page) for page in (1, 1, 2)], 500)}) == 2


def test_a_word_longer_than_the_budget_is_passed_on_whole():
    assert [each.text for each in cut("a.txt", 1, [Block("x" * 900)], 10)] == ["x" * 900]


@given(st.lists(st.sampled_from("abcdefgh"), max_size=40), st.floats(0, 1), st.integers(0, 5))
def test_about_the_share_is_held_out_and_something_is_left_to_learn_from(sections, share, seed):
    chosen = held_out(sections, share, seed)
    assert chosen == held_out(reversed(sections), share, seed)
    assert chosen < set(sections) or not sections
    assert bool(chosen) == (share > 0 and len(set(sections)) > 1)
    assert len(chosen) < 2 or sum(each in chosen for each in sections) <= max(
        share * len(sections), max(map(sections.count, chosen)))
