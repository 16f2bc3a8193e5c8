"""Texts, tables and sheets that may be read in several ways: what is proposed first, and whether a user is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.workbooks import write_xlsx

from slmstudio.core.data import read_options
from slmstudio.core.data.candidates import why
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.reader import Dataset, read_dataset

CLINIC = """Dialogue 1
Patient: I have had a headache since Monday.
Doctor: Do you sleep well?
Patient: Hardly, the child has a cold.
Doctor: Then rest for two days, and drink enough.

Dialogue 2
Patient: May I take the tablets before breakfast?
Doctor: Better after it.
They are easier on the stomach then.
Nurse: Next, please.
"""
CLINIC_HINDI = """रोगी: डॉक्टर साहब, दो दिन से बुखार है।
डॉक्टर: क्या खाँसी भी है?
रोगी: हाँ, रात में ज़्यादा होती है।
डॉक्टर: गरम पानी पीजिए और कल फिर आइए।

रोगी: क्या मैं दही खा सकती हूँ?
डॉक्टर: हाँ, दोपहर में खाइए।
"""
TAMIL = """விவசாயி: நெல் இலைகள் மஞ்சளாகின்றன.

அலுவலர்: எப்போதிலிருந்து?

விவசாயி: ஒரு வாரமாக.

அலுவலர்: துத்தநாக சல்பேட் இடுங்கள்.
"""
INTERVIEW = """Interview of 3 March
Meera: How did the library begin?
Ravi Kulkarni: With forty books in my father's shop.
Meera: And who read them?
Ravi Kulkarni: Children, mostly. They came after school.
Meera: What do you need today?
Ravi Kulkarni: A roof that doesn't leak.
"""
GROUP = """Asha: When does the tanker come?
Ravi: At seven, I think.
Meena: No, it came at six.
Asha: And tomorrow?
Ravi: The same.
Asha: Who opens the gate?
Meena: I can.
Ravi: Thank you.
Asha: Until when does it stay?
Ravi: Until eight.
"""
MINUTES = """[00:01] Speaker 1: Which counter gives the form?
[00:04] Speaker 2: Counter four.
[00:09] Speaker 1: Is there a fee?
[00:12] Speaker 2: Ten rupees.
"""
KNOWLEDGE = "".join(f"""Title: Meter {n}
Question: How do I read meter {n}?
Answer: Press button {n}.
Wait a moment.
Category: Electricity

""" for n in range(5))
QUIZ = "".join(f"""### {n}. Which river passes city {n}?

- [ ] Tapi {n}
- [x] Godavari {n}
- [ ] Kaveri {n}

""" for n in range(1, 5))
STARS = "".join(f"{n}. Which city lies in state {n}?\na) Pune\n*b) Panaji\nc) Kochi\n\n" for n in range(1, 5))
AFTER = "".join(f"""प्रश्न {n}: राज्य {n} की राजधानी?
A) पुणे
B) पणजी ✓
C) कोच्चि
उत्तर: राज्य {n} में यही है।
""" for n in range(1, 5))
MAIL = """From: Asha Joshi <asha@example.org>
To: office@example.org
Subject: =?utf-8?B?4KSq4KS+4KSo4KWA?=
Date: Mon, 3 Mar 2025 10:00:00 +0530
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="b"

--b
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: quoted-printable

The tap in lane four has been dry since Monday=2E

--b
Content-Type: text/html; charset="utf-8"

<p>The tap</p>
--b--
"""
HANDBOOK = "".join(f"""## Leave of kind {n}

Leave of kind {n} is granted by the head of the office.

""" for n in range(4))
README = """# Pump

[![build](https://example.org/b.svg)](https://example.org/b) ![size](https://example.org/s.svg)

A small program that reads the meters of a water pump and draws how much it has moved in a day.

## Install

```bash
# as root
pip install pump
```

## Options

- **port**: where the meter is; the first one by default.
- **unit**: litres or gallons, as [the manual](https://example.org/m) has it.

| Option | Default |
| --- | --- |
| port | 0 |

## Licence

It may be copied and changed by everybody, as the file LICENSE says in full.
"""
VERSES = ("Over the river the night comes slow\nthe ferry waits at the stair\n\nNo bell has rung from the house below\n"
          "nor is there a lantern there\n\nWho calls the boatman across so late\nwith a voice like rain on the sand\n")
CHAT_OF_MARKDOWN = "".join(f"""## 🧑 User

How do I draw day {n}?

## 🤖 Assistant

Like this:

### The code

```python
# draw
draw({n})
```

That is all.

""" for n in range(3))
DEPOSITION = "".join(f"""Page {n}, Line 1
ATTORNEY SMITH: Where were you on day {n}?

Page {n}, Line 5
WITNESS DOE: At home, on day {n}.

""" for n in range(1, 4))
CARDS = "BEGIN:VCARD\nVERSION:3.0\nFN:Asha Joshi\nTEL;TYPE=CELL:+91 98220 00000\nEND:VCARD\n" * 4
CONFIG = "[server]\nport = 80\nhost = 127.0.0.1\n# comment\npath=/var/www\n" * 3
GLOSSARY = "Abate: become less\nAbide – follow a rule\nAbolish: put an end to\nAdmit: let in\nAdopt: take over\n"
PLAY = """HAMLET: To be, or not to be, that is the question.
OPHELIA: Good my lord, how does your honour?
HAMLET: I humbly thank you; well.
OPHELIA: My lord, I have remembrances of yours.
POLONIUS: Give thy thoughts no tongue.
HAMLET: No, not I.
OPHELIA: My honoured lord.
"""
ALONE = "Interviewer\nHow did you start?\n\nFarmer\nWith two acres.\n\nInterviewer\nAnd now?\n\nFarmer\nTen acres.\n"
WHATSAPP = """12/03/24, 9:42 am - Asha: When is it open?
12/03/24, 9:43 am - Desk: At nine.
12/03/24, 9:44 am - Ravi: Thanks!
13/03/24, 8:00 am - Asha: And today?
13/03/24, 8:01 am - Desk: At ten.
"""
AIKEN = "".join(f"""Which river passes city {n}?
A. Tapi
B. Godavari
ANSWER: B

""" for n in range(4))
LOG = "".join(f"2024-03-0{n} 10:00:12,345 INFO server: Request {n} took {n} ms\n" for n in range(1, 8))
TODO = "# Today\n\n- [x] Buy paper\n- [ ] Call the plumber\n- [x] Send the letter\n- [x] Order water\n"
RECIPES = "".join(f"Recipe: Dal {n}\nNeeds: lentils, salt\nMethod: Boil for {n} minutes.\n\n" for n in range(4))
GRIEVANCES = "".join(f"समस्या: गली {n} में पानी नहीं\nसमाधान: पाइप {n} बदला गया।\nविभाग: जल\n\n" for n in range(4))
PROSE = "The tanker comes at seven. Note: bring two cans.\n\nIt leaves when all have water.\n\nThen it is quiet.\n" * 3
ASIDE = "".join(f"Bring {n} cans to the gate, and wait there.\n\n" for n in range(20)) + "Note: it is early.\n" * 2

PAIRS = "Will it rain?|Hardly!\nI like to cook.|So do I.\nGood morning!|Good morning.\nTell me a joke.|Not now.\n"
MESSAGES = "".join(f'#: page.py:{n}\nmsgid "Day {n}"\nmsgstr "दिन {n}"\n\n' for n in range(5))
WRAPPED = ("The old mill stands where the river\nbends to the north, and a road\ncrosses it on a bridge of stone.\n\n"
           "Nobody has worked there\nsince the flood, though in spring\nthe wheel still turns.\n")

TIMED = "".join(f"Speaker {'BA'[n % 2]} [{n}.00 - {n}.90]:\n    Well {n} was dug by hand, and we drink from it.\n\n"
                for n in range(1, 9))
JOINED = "General questions\n" + "".join(
    f"What is kept in tank {n}?\nA. Oil\nB. Rain water\nC. Milk\nAnswer: B\n" for n in range(4))
RULES = "# Care\n\n" + "".join(
    f"## {n}. Visits\n\n**Trigger:** Somebody is late.\n**Script:** No worries, {n}.\n\nThe office opens at nine, "
    "and closes at five.\n\nNobody is turned away then.\n\n- Bring a card.\n\n- Bring a pen.\n\n" for n in range(4))
CONTENTS = ("| No | Question |\n| --- | --- |\n" + "".join(
    f"| {n} | [Is well {n} deep?](#is-well-{n}-deep){' ' * 160}|\n" for n in range(350)) + "".join(
        f"\n{n}. ### Is well {n} deep?\n\n   Yes, well {n} is.\n" for n in range(500)))

CROWD = "".join(f"1/2/24, {9 + n // 6}:1{n % 6} AM - {'ABCDEFG'[n * 3 % 7]}una: We saw {n} of them here.\n"
                for n in range(1, 40))
ENTRIES = "".join(f'"entry {n}": {{\n  "recommendation": "Drink water in the morning, and rest after that {n}"\n}}\n'
                  for n in range(9))
PAIRED = "".join(f"Physician: How is day {n}?\nPatient: It is better, and I sleep.\n\n" for n in range(6))

TEXTS = {
    "patient and doctor": ("a.txt", CLINIC, True, "text_by=dialogue,user=Patient,assistant=Doctor"),
    "in Hindi": ("a.txt", CLINIC_HINDI, True, "text_by=dialogue,user=रोगी,assistant=डॉक्टर"),
    "in Tamil, a blank line after each": ("a.txt", TAMIL, True, "text_by=dialogue,user=விவசாயி,assistant=அலுவலர்"),
    "in bold": ("a.md", CLINIC_HINDI.replace("रोगी:", "**रोगी:**").replace("डॉक्टर:", "**डॉक्टर:**"), True,
                "text_by=dialogue,user=रोगी,assistant=डॉक्टर"),
    "an interview": ("a.txt", INTERVIEW, False, "text_by=dialogue,user=Meera,assistant=Ravi Kulkarni"),
    "a group": ("a.txt", GROUP, False, "text_by=dialogue,user=Asha,assistant=Ravi"),
    "with times": ("a.txt", MINUTES, False, "text_by=dialogue,user=Speaker 1,assistant=Speaker 2"),
    "a knowledge base": ("a.txt", KNOWLEDGE, True, "text_by=question"),
    "a quiz": ("a.md", QUIZ, True, "text_by=question"),
    "a quiz with stars": ("a.txt", STARS, True, "text_by=question"),
    "ticks behind choices": ("a.txt", AFTER, True, "text_by=question"),
    "an e-mail": ("a.eml", MAIL, False, "text_by=paragraph"),
    "a handbook": ("a.md", HANDBOOK, True, "text_by=paragraph"),
    "a description of a program": ("README.md", README, True, "text_by=paragraph"),
    "verses": ("a.txt", VERSES, True, "text_by=paragraph"),
    "a chat with code and headings": ("a.md", CHAT_OF_MARKDOWN, True,
                                      "text_by=dialogue,user=User,assistant=Assistant"),
    "a deposition": ("a.txt", DEPOSITION, False, "text_by=dialogue,user=ATTORNEY SMITH,assistant=WITNESS DOE"),
    "vCards": ("a.vcf", CARDS, False, "text_by=paragraph"),
    "a configuration": ("a.conf", CONFIG, False, "text_by=paragraph"),
    "single letters": ("a.txt", "A: Is this the library?\nB: It is.\nA: Is it open?\nB: Yes.\n", False,
                       "text_by=dialogue,user=A,assistant=B"),
    "behind brackets": ("a.txt", "[Customer] It is blocked.\n[Agent] Since when?\n[Customer] Today.\n[Agent] Done.\n",
                        True, "text_by=dialogue,user=Customer,assistant=Agent"),
    "nicknames": ("a.txt", "[10:02] <asha> does the pump work?\n[10:03] <ravi> yes\n[10:04] <asha> and the valve?\n"
                  "[10:05] <ravi> not yet\n", False, "text_by=dialogue,user=asha,assistant=ravi"),
    "on one line": ("a.txt", "".join(f"Q{n}: Is form {n} free? A: Yes, {n} is.\n" for n in range(4)), True,
                    "text_by=question"),
    "on one line, numbers": ("a.txt", "".join(f"{n}. क्या फ़ॉर्म {n} मुफ़्त है? उत्तर: हाँ।\n" for n in range(4)), True,
                             "text_by=question"),
    "lines that ask": ("a.txt", "".join(f"Is form {n} free?\nYes, it is.\n\n" for n in range(4)), False,
                       "text_by=question"),
    "what people say": ("a.txt", "The old man sat by the river.\n\n“Where does it go?”\n\nNobody knew.\n\n" * 5, True,
                        "text_by=paragraph"),
    "a glossary": ("a.txt", GLOSSARY, False, "text_by=question"),
    "a play": ("a.txt", PLAY, False, "text_by=dialogue,user=HAMLET,assistant=OPHELIA"),
    "speakers on lines of their own": ("a.txt", ALONE, False, "text_by=dialogue,user=Interviewer,assistant=Farmer"),
    "WhatsApp, three people": ("a.txt", WHATSAPP, False, "text_by=dialogue,user=Asha,assistant=Desk"),
    "Aiken": ("a.txt", AIKEN, True, "text_by=question"),
    "pairs behind a dash": ("a.txt", PAIRS.replace("|", " — "), False, "text_by=question"),
    "pairs behind an arrow": ("a.txt", PAIRS.replace("|", " -> "), False, "text_by=question"),
    "messages of a program": ("a.txt", MESSAGES, False, "text_by=paragraph"),
    "a page with line ends anywhere": ("a.txt", WRAPPED, True, "text_by=paragraph"),
    "a log": ("a.log", LOG, False, "text_by=paragraph"),
    "a to-do list": ("a.md", TODO, False, "text_by=paragraph"),
    "recipes": ("a.txt", RECIPES, False, "text_by=paragraph"),
    "problems and remedies": ("a.txt", GRIEVANCES, True, "text_by=question"),
    "many people": ("a.txt", CROWD, False,
                    "text_by=dialogue,user=Duna + Cuna + Funa + Buna + Euna + Auna,assistant=Guna"),
    "entries of JSON": ("a.txt", ENTRIES, False, "text_by=paragraph"),
    "who answers begins": ("a.txt", PAIRED, False, "text_by=dialogue,user=Patient,assistant=Physician"),
    "times behind who speaks": ("a.txt", TIMED, False, "text_by=dialogue,user=Speaker A,assistant=Speaker B"),
    "a quiz without blank lines": ("a.md", JOINED, True, "text_by=question"),
    "remarks below headings": ("a.md", RULES, False, "text_by=question"),
    "headings in a list, below a table of them": ("a.md", CONTENTS, False, "text_by=question"),
    "prose": ("a.txt", PROSE, True, "text_by=paragraph"),
    "prose with remarks": ("a.txt", ASIDE, True, "text_by=paragraph"),
}
"""Name, text, whether it is sure, and what is proposed first."""


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Dataset]:
    def of(name: str, text: str, **options: Any) -> Dataset:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return read_dataset(tmp_path / name, options=ReadOptions(**options))

    return of


def chats(dataset: Dataset) -> list[list[str]]:
    return [[str(message["content"]) for message in record.messages] for record in dataset.records]


@pytest.mark.parametrize("name", TEXTS)
def test_what_a_text_is_proposed_as(read, name):
    file, text, is_sure, line = TEXTS[name]
    found = read(file, text)
    first = found.candidates[0]
    assert read_options.written({}, first.options) == line
    assert found.is_sure == is_sure
    assert not found.problems and found.options == ReadOptions()
    assert bool(why(first)) == bool(first.evidence)
    chosen = read(file, text, **{key: value for key, value in vars(first.options).items() if value})
    assert chosen.is_sure and [record.messages for record in chosen.records] == [
        record.messages for record in found.records]


def test_conversations_are_divided_and_joined(read):
    found = read("a.txt", CLINIC)
    assert chats(found)[1] == ["May I take the tablets before breakfast?",
                               "Better after it.\nThey are easier on the stomach then.\nNurse: Next, please."]
    assert [record.line for record in found.records] == [2, 8]
    assert [len(chat) for chat in chats(read("a.txt", CLINIC_HINDI))] == [4, 2]
    assert [len(chat) for chat in chats(read("a.txt", TAMIL))] == [4]
    ruled = CLINIC.replace("\n\nDialogue 2", "\n\n---\n\nDialogue 2")
    assert [len(chat) for chat in chats(read("a.txt", ruled))] == [4, 2]


def test_deeper_headings_and_code_belong_to_a_message(read):
    found = chats(read("a.md", CHAT_OF_MARKDOWN))
    assert len(found) == 1 and found[0][1] == (
        "Like this:\n\nThe code\n\n```python\n# draw\ndraw(0)\n```\n\nThat is all.")


def test_who_speaks_is_chosen_by_hand(read):
    found = read("a.txt", GROUP, user="Asha", assistant="Meena")
    assert chats(found) == [["When does the tanker come?", "No, it came at six.", "And tomorrow?\nWho opens the gate?",
                             "I can."]]
    assert "“Ravi”" in found.notes[1] and "1 message" in found.notes[2]
    several = read("a.txt", GROUP, text_by="dialogue", user="Asha + Ravi", assistant="Meena")
    assert chats(several)[0][0] == "When does the tanker come?\nAt seven, I think."
    assert chats(read("a.txt", INTERVIEW, assistant="Meera"))[0][0] == "With forty books in my father's shop."


def test_the_answer_of_a_quiz_is_what_is_ticked(read):
    assert chats(read("a.md", QUIZ))[0] == ["Which river passes city 1?\n\n- Tapi 1\n- Godavari 1\n- Kaveri 1",
                                            "Godavari 1"]
    assert chats(read("a.txt", STARS))[0] == [
        "Which city lies in state 1?\na) Pune\nb) Panaji\nc) Kochi", "b) Panaji"]
    assert chats(read("a.txt", AFTER))[0][1] == "B) पणजी\n\nराज्य 1 में यही है।"
    two = chats(read("a.md", QUIZ.replace("[ ] Tapi", "[X] Tapi")))
    assert two[0][1] == "Tapi 1\nGodavari 1"


def test_fields_of_a_record_are_columns(read):
    found = read("a.txt", KNOWLEDGE)
    assert chats(found)[1] == ["How do I read meter 1?", "Press button 1.\nWait a moment."]
    assert found.unused == ("Category", "Title") and found.count == 5


def test_a_table_of_markdown(read):
    rows = "".join(f"| {n} | Is form {n} free? | Yes, {n} is. |\n" for n in range(4))
    found = read("a.md", f"# Forms\n\n| No | Question | Answer |\n|---|:--|---|\n{rows}")
    assert chats(found)[0] == ["Is form 0 free?", "Yes, 0 is."] and found.count == 4 and not found.problems


def test_an_answer_on_the_line_of_its_question(read):
    for name in ("on one line", "on one line, numbers"):
        assert chats(read(*TEXTS[name][:2]))[1] in (
            ["Is form 1 free?", "Yes, 1 is."], ["क्या फ़ॉर्म 1 मुफ़्त है?", "हाँ।"])


def test_a_conversation_in_a_word_document(tmp_path):
    import docx

    document = docx.Document()
    document.add_heading("Calls of Monday")
    for line in CLINIC_HINDI.replace("रोगी:", "Customer:").replace("डॉक्टर:", "Agent:").splitlines():
        document.add_paragraph(line)
    document.save(tmp_path / "a.docx")
    found = read_dataset(tmp_path / "a.docx")
    assert found.is_sure and (found.text_by, [len(chat) for chat in chats(found)]) == ("dialogue", [4, 2])
    assert found.candidates[0].line == "text_by=dialogue,user=Customer,assistant=Agent"


@pytest.mark.parametrize("line", ["a" + " " * 20_000 + "b", "*" * 20_000 + "a", "-" * 20_000, "[" * 20_000,
                                  "# a" + " " * 20_000 + "b", " " * 20_000 + "b", "?" * 20_000 + "a"])
def test_long_runs_of_one_sign_take_no_time(read, line):
    """A pattern that begins again at each of them takes minutes."""
    assert read("a.txt", f"{line}\n" * 3).layout == read("a.md", f"{line}\n\n" * 3).layout == "text"


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_questions_and_answers_that_alternate_in_a_column(tmp_path, kind):
    rows = [[text] for n in range(5) for text in (f"Where is form {n}?", f"At counter {n}, on the left.")]
    path = tmp_path / f"a.{kind}"
    if kind == "xlsx":
        write_xlsx(path, {"S": rows})
    else:
        path.write_text("".join(f'"{row[0]}"\n' for row in rows))
    found = read_dataset(path)
    assert not found.is_sure and found.candidates[0].options.text_by == "question"
    assert chats(found)[1] == ["Where is form 1?", "At counter 1, on the left."] and found.count == 5


def test_headings_by_hand_are_questions(read):
    assert chats(read("a.md", HANDBOOK, text_by="question"))[0] == [
        "Leave of kind 0", "Leave of kind 0 is granted by the head of the office."]


PLACES = ("Kothrud", "Aundh", "Baner", "Warje", "Hadapsar", "Camp")
BODY = [[place, str(at + 1), f"When does the water come to {place} today?",
         f"It comes to {place} at {at + 5} in the morning."] for at, place in enumerate(PLACES)]
HEADERS = {
    "spanning": ([["Office", "", "Citizen", ""], ["Ward", "Sl", "Text", "Comment"]], "1-2"),
    "units": ([["Ward", "No", "Question", "Answer"], ["name", "count", "text", "text"]], "1-2"),
    "in two languages": ([["Ward", "No", "Question", "Answer"], ["वार्ड", "क्र", "प्रश्न", "उत्तर"]], "2"),
    "codes": ([["Place", "Seq", "Col", "Cor"], ["Ward", "Number", "Query of citizen", "Reply of office"]], "2"),
    "one row": ([["Ward", "No", "Question", "Answer"]], None),
    "a title": ([["Register of queries", "", "", ""], ["Ward", "No", "Question", "Answer"]], None),
}


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
@pytest.mark.parametrize("name", HEADERS)
def test_which_rows_hold_the_names(tmp_path, name, kind):
    head, expected = HEADERS[name]
    path = tmp_path / f"rows.{kind}"
    if kind == "xlsx":
        write_xlsx(path, {"S": [*head, *BODY]})
    else:
        path.write_text("".join(",".join(row) + "\n" for row in [*head, *BODY]), encoding="utf-8")
    found = read_dataset(path, columns={"instruction": "Citizen Text", "output": "Citizen Comment"}
                         if name == "spanning" else None)
    assert found.count == 6 and not found.problems
    if name != "spanning":
        assert found.is_sure == (expected is None)
        assert found.candidates[0].options.header == expected
        assert {each.options.header for each in found.candidates} == ({"1-2", "1", "2"} if expected else {None})


@pytest.mark.parametrize(("rows", "lines"), [
    ("question,answer\nHello,Hi there\n{}", ["instruction=question,output=answer"]),
    ("Rain,Barsaat\nWater,पानी\nHouse,घर\nBook,किताब\nRoad,सड़क\n", None),
])
def test_a_short_first_row(tmp_path, rows, lines):
    path = tmp_path / "rows.csv"
    path.write_text(rows.format("".join(f"{row[2]},{row[3]}\n" for row in BODY)), encoding="utf-8")
    found = read_dataset(path)
    if lines is None:
        assert not found.is_sure and found.candidates[0].line == "instruction=column 1,output=column 2,header=none"
    else:
        assert [each.line for each in found.candidates] == lines and found.is_sure


@pytest.mark.parametrize(("header", "columns", "rows"), [
    ("1", ("Ward", "No", "Question", "Answer"), 7), ("2", ("name", "count", "text", "text 2"), 6),
    ("1-2", ("Ward name", "No count", "Question text", "Answer text"), 6),
    ("none", ("column 1", "column 2", "column 3", "column 4"), 8)])
def test_the_header_by_hand(tmp_path, header, columns, rows):
    path = tmp_path / "rows.csv"
    path.write_text("".join(",".join(row) + "\n" for row in [*HEADERS["units"][0], *BODY]))
    found = read_dataset(path, columns={"instruction": columns[2], "output": columns[3]},
                         options=ReadOptions(header=header))
    assert (found.columns, found.count, found.is_sure) == (columns, rows, True)


def test_a_header_that_is_not_there(tmp_path, refusal_of):
    (tmp_path / "rows.csv").write_text("question,answer\na?,b\n")
    assert "row 9" in refusal_of(lambda: read_dataset(tmp_path / "rows.csv", options=ReadOptions(header="9"))).what


def test_sheets_of_one_kind_are_asked_about(tmp_path):
    rows = [["Ward", "No", "Question", "Answer"], *BODY]
    about = [["Contact"], ["The water office"]]
    found = read_dataset(write_xlsx(tmp_path / "a.xlsx", {"2023": rows, "2024": rows[:4], "About": about}))
    assert not found.is_sure and found.candidates[0].options.sheet == "2023"
    assert [each.line for each in found.candidates[1:]] == ["sheet=2024", "sheet=About"]
    assert found.candidates[1].evidence[0].values == {"sheet": "2024", "n": 3}
    sure = read_dataset(write_xlsx(tmp_path / "b.xlsx", {"2023": rows, "About": about}))
    assert sure.is_sure and sure.candidates[1].line == "sheet=About"


def test_files_of_a_folder_are_chosen_by_a_pattern(tmp_path, refusal_of):
    for name in ("train-0.csv", "train-1.csv", "test.csv", "sub/dev.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"question,answer\nWhat is {name}?,A file.\n")
    found = read_dataset(tmp_path)
    assert found.count == 2 and found.is_sure
    assert [each.line for each in found.candidates[1:]] == ["files=dev*", "files=test*"]
    assert read_dataset(tmp_path, options=ReadOptions(files="test*")).count == 1
    assert read_dataset(tmp_path, options=ReadOptions(files="sub/*")).count == 1
    assert "no file x*" in refusal_of(lambda: read_dataset(tmp_path, options=ReadOptions(files="x*"))).what


@pytest.mark.parametrize(("ask", "is_sure"), [("Is form {} free?", True), ("form {} of the office", False)])
def test_two_columns_without_names_are_sure_only_where_the_first_one_asks(tmp_path, ask, is_sure):
    (tmp_path / "a.csv").write_text("".join(f"{ask.format(n)},it was free in {n}\n" for n in range(8)))
    found = read_dataset(tmp_path / "a.csv", options=ReadOptions(header="none"))
    assert found.mapping["output"] == ("answer" if is_sure else "column 2")
    (tmp_path / "b.csv").write_text("".join(f"{ask.format(n)},{ask.format(n)[::-1]}\n" for n in range(8)))
    assert read_dataset(tmp_path / "b.csv").is_sure == is_sure
