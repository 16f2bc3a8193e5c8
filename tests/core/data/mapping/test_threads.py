"""Files with a message a row, and exports of chats, as conversations."""

from __future__ import annotations

import csv

import pytest
from support.chat_rows import read, says, user

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
    assert dataset.notes[-1] == "What the assistant says before the first question is left out (1 row)."


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
    assert dataset.notes == ("This WhatsApp chat is read as one conversation per day. “Asha” asks, and “Help Desk” "
                             "answers; the model learns these answers.",)


def test_a_group_is_text(tmp_path):
    (tmp_path / "chat.txt").write_text(ANDROID + "13/03/24, 8:04 am - Ravi: Hello\n", encoding="utf-8")
    dataset = read_dataset(tmp_path / "chat.txt")
    assert dataset.layout == "text" and "of 3 people is read as text" in dataset.notes[0]


def spoken(*said):
    return [(who, text, day) for who, text, day in said]


CHAT = spoken(("Asha", Q, 12), ("Desk", A, 12), ("Asha", MORE, 13), ("Desk", "Thiruvananthapuram.", 13))
EXPORTS = {
    "telegram.json": {"name": "Desk", "type": "personal_chat", "id": 1, "messages": [
        {"id": 0, "type": "service", "date": "2024-03-12T09:00:00", "actor": "Asha", "action": "call", "text": ""},
        *({"id": 1, "type": "message", "date": f"2024-03-{day}T09:42:10", "from": who,
           "text": [text[:5], {"type": "bold", "text": text[5:]}]} for who, text, day in CHAT)]},
    "discord.json": {"guild": {"id": "1"}, "channel": {"id": "1"}, "messages": [
        {"type": "Default", "timestamp": f"2024-03-{day}T09:42:10", "content": text, "author": {"name": who}}
        for who, text, day in CHAT]},
    "slack.json": [{"type": "message", "user": who, "text": text, "ts": f"{day * 86400}.1"} for who, text, day in CHAT],
}


EXPORTS["facebook.json"] = {"participants": [{"name": "Asha"}, {"name": "Desk"}], "title": "Desk", "messages": [
    {"sender_name": who, "timestamp_ms": day * 86_400_000 + at, "content": text}
    for at, (who, text, day) in enumerate(CHAT)]}
EXPORTS["facebook.json"]["messages"].reverse()
EXPORTS["all chats.json"] = {"about": "All your data.", "chats": {"about": "", "list": [EXPORTS["telegram.json"]]}}


@pytest.mark.parametrize("name", EXPORTS)
def test_the_export_of_a_chat_of_two_is_a_conversation_a_day(tmp_path, name):
    dataset = read(tmp_path, EXPORTS[name], name)
    assert conversations(dataset) == [[ASK, GOOD], [user(MORE), says("Thiruvananthapuram.")]]
    assert "“Asha” asks, and “Desk” answers" in dataset.notes[0]


def test_a_chat_of_many_is_refused_in_a_sentence(tmp_path):
    rows = [{"type": "message", "user": f"U{at % 3}", "text": Q, "ts": "1.0"} for at in range(6)]
    with pytest.raises(NoUsableRow, match=r"This chat has 3 people in it\. In a conversation, one person asks and "
                                          "another answers"):
        read(tmp_path, rows, "slack.json")


def test_facebooks_texts_are_mended(tmp_path):
    """Its exports write each byte of UTF-8 as a letter."""
    def written(text):
        return text.encode().decode("latin-1")

    messages = [{"sender_name": written(who), "timestamp_ms": at, "content": text} for at, (who, text) in enumerate([
        ("आशा", written("नमस्ते, कैसे हैं?")), ("Desk", "Café, 5 € – अच्छा"), ("आशा", written("Où?")), ("Desk", "Là")])]
    dataset = read(tmp_path, {"participants": [], "title": written("आशा"), "messages": messages}, "message_1.json")
    assert conversations(dataset) == [[user("नमस्ते, कैसे हैं?"), says("Café, 5 € – अच्छा"), user("Où?"), says("Là")]]
    assert "“आशा” is read as one conversation per day. “आशा” asks" in dataset.notes[0]
