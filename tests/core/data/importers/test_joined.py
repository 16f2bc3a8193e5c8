"""Files with a message a row, and exports of chats, as conversations."""

from __future__ import annotations

import csv
import json

import pytest
from support.chat_rows import read, says, user

from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.reader import NoUsableRow, read_dataset

Q, A, B, MORE = "What is the capital of Goa?", "It is Panaji.", "No idea.", "And of Kerala?"
ASK, GOOD = {"role": "user", "content": Q}, {"role": "assistant", "content": A}


def conversations(dataset):
    return [list(record.messages) for record in dataset.records]


def of_oasst(name, parent, text, role, rank=None, deleted=False):
    return {"message_id": name, "parent_id": parent, "text": text, "role": role, "lang": "en", "rank": rank,
            "deleted": deleted, "message_tree_id": name[:1], "labels": {"name": ["spam"], "value": [0.0]}}


OASST = [
    of_oasst("a", None, Q, "prompter"), of_oasst("a1", "a", B, "assistant", 1), of_oasst("a2", "a", A, "assistant", 0),
    of_oasst("b", None, "Never answered?", "prompter"),
    of_oasst("a21", "a2", MORE, "prompter"), of_oasst("a211", "a21", "Gone.", "assistant", 0, deleted=True),
    of_oasst("a212", "a21", "Kochi.", "assistant", 2), of_oasst("a213", "a21", "Thiruvananthapuram.", "assistant", 1)]


def test_the_best_way_through_each_tree_is_a_conversation(tmp_path):
    dataset = read(tmp_path, OASST)
    assert conversations(dataset) == [[ASK, GOOD, user(MORE), says("Thiruvananthapuram.")]]
    assert [str(each) for each in dataset.problems] == [
        "line 4: there is no assistant message, so there is nothing to learn."]
    assert "lang" in dataset.unused_words and "best-ranked path" in dataset.notes[0]
    assert (dataset.layout, dataset.mapping, dataset.records[0].line) == ("messages", {"messages": "messages"}, 1)


def test_a_table_of_messages_is_joined_by_its_conversations(tmp_path):
    path = tmp_path / "tickets.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([
            ("conversation_id", "turn", "sender", "message"), (1, 1, "customer", Q), (2, 1, "customer", MORE),
            (1, 3, "customer", "Thanks"), (2, 2, "agent", "Thiruvananthapuram."), (1, 2, "agent", A)])
    dataset = read_dataset(path)
    assert conversations(dataset) == [[ASK, GOOD], [user(MORE), says("Thiruvananthapuram.")]]
    assert dataset.notes == (
        'Each row is one message. Those with the same "conversation_id" are read as one conversation.',)


@pytest.mark.parametrize(("link", "place"), [("dialogueID", "date"), ("thread_id", "created_at")])
def test_people_in_a_table_with_dates_take_turns(tmp_path, link, place):
    """As in the table of Ubuntu's dialogues."""
    rows = [{link: f"{at // 2}.tsv", place: f"2008-04-23T14:{59 - at}:00Z", "from": f"p{at % 2}", "text": text}
            for at, text in enumerate([A, Q] * 3)]
    assert conversations(read(tmp_path, rows)) == [[ASK, GOOD]] * 3


def test_messages_of_openais_assistants(tmp_path):
    rows = [{"id": f"m{at}", "object": "thread.message", "created_at": 9 - at, "thread_id": "t", "role": each["role"],
             "content": [{"type": "text", "text": {"value": each["content"], "annotations": []}}]}
            for at, each in enumerate([GOOD, ASK])]
    assert conversations(read(tmp_path, rows)) == [[ASK, GOOD]]


def test_a_chat_of_sillytavern(tmp_path):
    said = [("Mira", "Welcome!"), ("You", Q), ("Mira", A)]
    rows = [{"user_name": "You", "character_name": "Mira"}, *(
        {"name": who, "is_user": who == "You", "send_date": "x", "mes": text} for who, text in said)]
    dataset = read(tmp_path, rows)
    assert conversations(dataset) == [[ASK, GOOD]]
    assert dataset.notes[-1] == (
        "1 message was left out: it is before a first question, or nobody answers it.")


ANDROID = """12/03/24, 9:41\u202fam - Messages and calls are end-to-end encrypted. Tap to learn more.
12/03/24, 9:42\u202fam - Asha: What is the
capital of Goa?
12/03/24, 9:43\u202fam - Help Desk: It is Panaji.
12/03/24, 9:44\u202fam - Asha: <Media omitted>
13/03/24, 8:00\u202fam - Asha: And of Kerala?
13/03/24, 8:01\u202fam - Help Desk: Thiruvananthapuram.
13/03/24, 8:02\u202fam - Help Desk: See you.
13/03/24, 8:03\u202fam - Asha: Thanks
"""
IPHONE = """[12.03.2024, 09:42:10] Asha: What is the
capital of Goa?
[12.03.2024, 09:43:10] Help Desk: It is Panaji.
\u200e[12.03.2024, 09:44:10] Asha: \u200eimage omitted
[13.03.2024, 08:00:10] Asha: And of Kerala?
[13.03.2024, 08:01:10] Help Desk: Thiruvananthapuram.
[13.03.2024, 08:02:10] Help Desk: See you.
"""
TOLD = [[user("What is the\ncapital of Goa?"), GOOD], [user(MORE), says("Thiruvananthapuram.\nSee you.")]]


@pytest.mark.parametrize("text", [ANDROID, IPHONE])
def test_a_whatsapp_chat_of_two_is_a_conversation_a_day(tmp_path, text):
    (tmp_path / "chat.txt").write_text(text, encoding="utf-8")
    dataset = read_dataset(tmp_path / "chat.txt")
    assert (conversations(dataset), dataset.problems) == (TOLD, [])
    assert dataset.is_sure and dataset.candidates[0].options.user == "Asha"


def test_of_a_group_two_people_are_proposed(tmp_path):
    (tmp_path / "chat.txt").write_text(ANDROID + "13/03/24, 8:04 am - Ravi: Hello\n", encoding="utf-8")
    dataset = read_dataset(tmp_path / "chat.txt")
    assert (conversations(dataset), dataset.is_sure) == (TOLD, False)
    assert [each.line for each in dataset.candidates[1:]] == [
        "text_by=dialogue,user=Asha + Ravi,assistant=Help Desk", "text_by=paragraph",
        "text_by=dialogue,user=Help Desk,assistant=Asha"]


def test_the_two_of_a_chat_may_be_swapped(tmp_path):
    said = [("Asha", Q), ("Desk", A), ("Asha", "Thanks")]
    rows = [{"type": "message", "user": who, "text": text, "ts": "86400.1"} for who, text in said]
    dataset = read(tmp_path, rows, "slack.json")
    assert conversations(dataset) == [[ASK, GOOD]] and dataset.is_sure
    swapped = dataset.candidates[1]
    assert swapped.line == "user=Desk,assistant=Asha"
    assert conversations(read_dataset(dataset.path, options=swapped.options)) == [[user(A), says("Thanks")]]


def test_a_table_in_which_some_conversations_have_three_people_is_asked_about(tmp_path):
    rows = [{"ticket_id": at // 2, "created_at": at, "author": f"p{at % 2}", "message": text}
            for at, text in enumerate((Q, A) * 2)]
    dataset = read(tmp_path, [*rows, {"ticket_id": 1, "created_at": 9, "author": "p3", "message": "Hm."}])
    assert (conversations(dataset), dataset.is_sure) == ([[ASK, GOOD]], False)
    assert read(tmp_path, rows).is_sure


def test_of_several_in_a_table_a_person_says_who_asks(tmp_path):
    rows = [{"ticket_id": at // 3, "created_at": at, "author": ("Asha", "Ravi", "Desk")[at % 3], "message": text}
            for at, text in enumerate((Q, MORE, A) * 2)]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    options = ReadOptions(user="Asha + Ravi", assistant="Desk")
    assert conversations(read_dataset(path, options=options)) == [[user(f"{Q}\n{MORE}"), GOOD]] * 2


def test_speakers_of_the_conversations_in_rows_may_be_named(tmp_path):
    said = [("Asha", Q), ("Mira", "Hm."), ("Ravi", A), ("Asha", MORE)]
    rows = [{"id": at, "dialogue": [{"speaker": who, "text": text} for who, text in said]} for at in range(2)]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    dataset = read_dataset(path, options=ReadOptions(user="Asha", assistant="Ravi"))
    assert (conversations(dataset), dataset.unused) == ([[ASK, GOOD]] * 2, ("id",))


def test_the_chats_of_an_export_are_found_in_it(tmp_path):
    chat = {"name": "Desk", "type": "personal_chat", "id": 1, "messages": [
        {"type": "message", "date": "2024-03-12T09:42:10", "from": who, "text": text}
        for who, text in (("Asha", Q), ("Desk", A))]}
    contacts = {"about": "", "list": [{"first_name": "Asha", "phone_number": str(at)} for at in range(3)]}
    everything = {"about": "All.", "contacts": contacts, "chats": {"about": "", "list": [chat]}}
    dataset = read(tmp_path, everything, "all.json")
    assert (conversations(dataset), dataset.is_sure) == ([[ASK, GOOD]], True)
    assert "“Asha” asks and “Desk” answers" in dataset.notes[-1]
    other = read_dataset(dataset.path, options=ReadOptions(user="Ravi"))  # as in another of the chats
    assert (conversations(other), other.notes[-3]) == ([[ASK, GOOD]], "Nobody in “Desk” is called Ravi.")


@pytest.mark.parametrize(("people", "options"), [(1, {}), (3, {"user": "U1", "assistant": "nobody"})])
def test_a_chat_in_which_nobody_asks_or_answers_is_refused(tmp_path, people, options):
    rows = [{"type": "message", "user": f"U{at % people}", "text": Q, "ts": "1.0"} for at in range(6)]
    read_rows = tmp_path / "slack.json"
    read_rows.write_text(json.dumps(rows))
    with pytest.raises(NoUsableRow, match="one person asks and another answers"):
        read_dataset(read_rows, options=ReadOptions(**options))


def test_facebooks_texts_are_mended(tmp_path):
    """Its exports write each byte of UTF-8 as a letter."""
    def written(text):
        return text.encode().decode("latin-1")

    messages = [{"sender_name": written(who), "timestamp_ms": at, "content": text} for at, (who, text) in enumerate([
        ("आशा", written("नमस्ते, कैसे हैं?")), ("Desk", "Café, 5 € – अच्छा"), ("आशा", written("Où?")), ("Desk", "Là")])]
    dataset = read(tmp_path, {"participants": [], "title": written("आशा"), "messages": messages}, "message_1.json")
    assert conversations(dataset) == [[user("नमस्ते, कैसे हैं?"), says("Café, 5 € – अच्छा"), user("Où?"), says("Là")]]
    assert "“आशा” is read as one conversation per day" in dataset.notes[0]
