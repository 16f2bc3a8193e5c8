"""Single texts: what scripts, code and mathematics need is no fault; and no text whatever breaks a check or a fix."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiers import examples

from slmstudio.core.data.health import artifacts
from slmstudio.core.data.health.artifacts import Row
from slmstudio.core.data.health.finding import KINDS, Context
from slmstudio.core.data.health.survey import check, fix, is_refusal
from slmstudio.core.data.reader import read_dataset
from slmstudio.core.data.record import Record

from .rows import chat, fixes

NEEDED = {
    "Malayalam, old chillus": "അവന്\u200d വീട്ടില്\u200d പോയി", "Malayalam, no conjunct": "തമിഴ്\u200cനാട്",
    "Bengali, ra with ya-phala": "র\u200d\u09cdযাম", "Bengali, no conjunct": "উদ্\u200cযাপন",
    "Bengali, old khanda ta": "উত্\u200d",
    "Marathi, eyelash ra": "दर्\u200dया सुऱ्\u200dया", "Hindi, half form": "क्\u200dष",
    "Hindi, visible virama": "क्\u200cष",
    "Nepali": "गर्\u200dयो", "Sinhala": "ශ්\u200dරී ලංකා ක්\u200dෂ",
    "Kannada, ra that isn't a repha": "ರ\u200d\u0ccdಯಾಂಕ್",
    "Telugu": "సాఫ్ట్\u200cవేర్", "Tamil": "க்\u200cஷ", "Persian": "می\u200cخواهم کتاب\u200cها",
    "Persian, Latin": "PDF\u200cها",
    "Persian, date": "۱۴۰۰ ه\u200d. ش", "Urdu, marks": "قیمت \u200f(۵۰)\u200f", "family": "👨\u200d👩\u200d👧",
    "farmer": "👩🏽\u200d🌾",
    "rainbow flag": "🏳️\u200d🌈", "Thai": "ภาษา\u200bไทย", "Khmer": "ភាសា\u200bខ្មែរ",
}


@pytest.mark.parametrize("name", NEEDED)
def test_joiners_that_scripts_need_stay(name):
    text = unicodedata.normalize("NFC", NEEDED[name])
    assert artifacts.without_stray_joiners(text) == text
    assert {finding.kind for finding in check([chat("What is written here, please?", text)])} <= {"short_answer"}


@pytest.mark.parametrize(("text", "after"), [
    ("wo\u200drd", "word"), ("क\u200dख", "कख"), ("नमस्ते\u200c दुनिया", "नमस्ते दुनिया"), ("\u200b\u200bकि", "कि"),
    ("می\u200c رود", "می رود"), ("co\u00adoperate", "cooperate"), ("a\u202eb\u202c", "ab"), ("क्\u200d\u200dष",
                                                                                             "क्\u200dष"),
    ("👩\u200dx", "👩x"), ("\u200d", ""),
])
def test_joiners_that_no_script_needs_go(text, after):
    assert artifacts.without_stray_joiners(text) == after


@pytest.mark.parametrize("text", [
    "if a < b and b > c then", "a<b && c>d", "List<int> and Map<String, List<b>>", "<think>Hm.</think> Yes.",
    "x <- 3; y < 4",
    "Use `<br>` for a line break.", "```\n<p>Hello</p>\n```", "AT&T and R&D; Q&A", "<answer>42</answer>", "i<p",
    "<<48/2=24>>24",
    "<tool_call>{}</tool_call>", "2 <= n", "<title>Deeds</title>",
])
def test_no_html(text):
    assert artifacts.without_markup(text) == text


@pytest.mark.parametrize("text", [
    '{"name": "Ravi", "age": 3}', "```python\nf'{name} has {count}'\n```", "print(f\"{name}\")",
    r"\frac{abc}{def} and x^{two}",
    "the set {a}", "[link](https://a.in)", "see [1] and [12]", "[EMAIL] [PHONE] [AADHAAR] [VOTER ID] [UPI]",
    "100% sure", "5%s",
    "a TODO list app", "En TODOS los casos", "data[name] = row[date]", "GET /users/{id}", "title={Attention}",
    "<html>", "<BR>",
    "Press [Enter]", "void f() { return x; }", "`{name}`", "[Date](x)", "const a = {name};", "Use ${name} in the shell",
])
def test_no_placeholder(text):
    assert not artifacts.has_placeholder(Row(chat("Which one?", text)))


@pytest.mark.parametrize("text", [
    "NFLमें बहुत लोग", "APIகளை", "IPLএর", "AIయొక్క", "यह PDF फ़ाइल है।", "Tシャツ", "5Gनेटवर्क", "Δx and µm, 10 kΩ, TGFβ",
    "SMSка",
    "क×ख या कxख", "Москва is Moscow", "IT-отдел", "naïve café", "नमस्ते।", "ગુજરાતી और हिन्दी", "ИИ и AI", "e-मेल",
])
def test_no_mixed_script(text):
    assert artifacts.in_own_script(text) == text


@pytest.mark.parametrize(("text", "after"), [
    ("рaypal", "paypal"), ("Мoсквa", "Москва"), ("аррӏе", "аррӏе"), ("हैI", "है।"), ("डाo", "डा॰"), ("कাम", "काम"),
    ("सrकार", None), ("AͰऀও", "AͰऀও"),
])
def test_mixed_scripts(text, after):
    assert artifacts.in_own_script(text) == after


@pytest.mark.parametrize(("text", "wanted"), [
    ("Aap kaise hain?", True), ("mujhe nahi pata yeh kya hai", True), ("Main ghar ja raha hoon aur phir aaunga", True),
    ("The aap store is nice", False), ("He said that I hope to see the main road", False), ("Je suis sur la route",
                                                                                            False),
    ("Mein Mann hat das Auto", False), ("Saya tidak tahu apa yang harus", False),
    ("Bollywood film Kabhi Khushi was a hit", False),
])
def test_romanised_hindi(text, wanted):
    assert artifacts.is_romanised_hindi(Row(chat("", text))) == wanted


@pytest.mark.parametrize("text", [
    "As an AI language model, I cannot", "I'm sorry, but I can’t assist with that.", "I am an AI assistant created by",
    "Lo siento, pero no puedo",
    "मैं एक एआई भाषा मॉडल हूँ", "माफ़ कीजिए, मैं यह नहीं बता सकता।", "একটি AI ভাষা মডেল হিসেবে",
    "மன்னிக்கவும், என்னால் முடியாது", "很抱歉，我无法回答",
])
def test_refusals(text):
    assert is_refusal(text)


@pytest.mark.parametrize("text", [
    "She is an AI engineer in Pune.", "The model said it can help.", "He cried: I'm sorry, but I can't come.",
    "एआई एक तकनीक है",
    "An AI language model predicts words.", "I can not only sing but also dance.", "मैं एक शिक्षक हूँ", "Mi dispiace",
])
def test_no_refusals(text):
    assert not is_refusal(text)


def test_real_data_has_only_real_findings(data_dir):
    assert check(read_dataset(data_dir / "gsm8k_train.jsonl").records) == []
    found = {finding.kind for finding in check(read_dataset(data_dir / "xquad_hi_instructions.jsonl").records)}
    assert found <= {"not_nfc", "control_characters", "stray_joiners", "duplicate_rows", "near_duplicates",
                     "conflicting_answers"}


PIECES = st.sampled_from(["<br>", "&amp;", "&lt;", "<s>", "<|x|>", "`", "```", "98765 43210", "a@b.co", "ravi@ybl",
                          "2341 2341 2346",
                          "ABCPE1234F", "क", "\u094d", "\u200d", "\u200b", "\u200f", "ক", "р", "a", "क़", "e\u0301",
                          "Ã©", "â€™", "\x93",
                          "\ufeff", "\n", " ", "Sure!", "I hope this helps!", "{name}", ". ", "[", "]",
                          "4111111111111111", "à¤¨", "\x8d"])
TEXTS = st.one_of(st.text(max_size=30), st.lists(PIECES, max_size=12).map("".join),
                  st.text(alphabet=st.characters(), max_size=10))
RECORDS = st.lists(st.one_of(
    st.builds(lambda one, two: chat(one, two), TEXTS, TEXTS),
    st.builds(lambda one, two, three: Record(chat(one, two).messages, 1, rejected=three), TEXTS, TEXTS, TEXTS),
    st.builds(lambda one: Record((), 1, text=one), TEXTS),
), max_size=6)


@settings(max_examples=examples(50))
@given(records=RECORDS, tokens=st.lists(st.text(max_size=5), max_size=2).map(tuple))
def test_any_text_can_be_checked_and_fixed(records, tokens):
    records = [Record(row.messages, line, row.rejected, text=row.text) for line, row in enumerate(records, start=1)]
    context = Context(special_tokens=tokens, others={"test": records[:1]})
    found = [finding.kind for finding in check(records, context)]
    assert fix(records, {}, context).records == records
    clean = [kind for kind in KINDS if kind not in found]
    assert fix(records, fixes(*clean), context).records == records
    for kind in found:
        fixed = fix(records, fixes(kind), context)
        assert kind not in {finding.kind for finding in check(fixed.records, context)}, (kind, records)
    fix(records, fixes(*KINDS), context)


def test_half_a_character_is_no_trouble():
    rows = [chat("What \ud83d is it?", "A \udc00 river.", 1), chat("What \ud83d is it?", "A \udc00 river.", 2)]
    assert [finding.kind for finding in check(rows)] == ["duplicate_rows"]
