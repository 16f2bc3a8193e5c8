"""Conversations: branches, files of both formats, and files that are damaged."""

from __future__ import annotations

import json

import pytest

from slmstudio.core.chat.conversation import (
    Conversation,
    Lane,
    Tree,
    delete_chat,
    read_chats,
    rename_chat,
    restore_chat,
    write_chat,
)
from slmstudio.core.errors import UserError


def said(tree: Tree) -> list[str]:
    return [message.content for message in tree.path()]


@pytest.fixture
def tree() -> Tree:
    tree = Tree()
    for role, content in (("user", "Q1"), ("assistant", "A1"), ("user", "Q2"), ("assistant", "A2")):
        tree.add(role, content)
    return tree


def test_an_edited_question_is_a_branch_and_the_old_one_is_kept(tree) -> None:
    old = tree.path()[2]
    tree.rewind(old)
    assert said(tree) == ["Q1", "A1"]
    new = tree.add("user", "Q2 better")
    tree.add("assistant", "A2 better")
    assert tree.siblings(new) == [old, new]
    assert said(tree) == ["Q1", "A1", "Q2 better", "A2 better"]
    tree.show(old)
    assert said(tree) == ["Q1", "A1", "Q2", "A2"]
    tree.show(new)
    assert said(tree)[-1] == "A2 better"


def test_another_answer_is_a_sibling_and_can_be_taken_away(tree) -> None:
    first = tree.path()[1]
    tree.rewind(first)
    second = tree.add("assistant", "A1 again")
    assert said(tree) == ["Q1", "A1 again"] and len(tree.siblings(first)) == 2
    tree.remove(second)
    assert said(tree) == ["Q1", "A1", "Q2", "A2"]
    tree.remove(tree.path()[0])
    assert not tree and said(tree) == []


def test_branches_survive_the_file(tree, tmp_path) -> None:
    tree.rewind(tree.path()[0])
    tree.add("user", "another beginning")
    made = Conversation(12.5, {"system": "सहायक"}, [Lane("m.gguf", tree)], "नाम", {"votes": {"base": 3}})
    path = tmp_path / "c.json"
    write_chat(path, made.to_json())
    read = Conversation.read(path)
    assert read.to_json() == made.to_json()
    assert said(read.lanes[0].tree) == ["another beginning"] and read.title == "नाम" and read.extra == made.extra
    read.lanes[0].tree.show(read.lanes[0].tree.siblings(read.lanes[0].turns[0])[0])
    assert said(read.lanes[0].tree) == ["Q1", "A1", "Q2", "A2"]


MESSAGE = {"id": 1, "parent": None, "role": "user", "content": "x", "figures": {}}


@pytest.mark.parametrize("lane", [
    {"model": 1}, {"messages": [MESSAGE]}, {"messages": [MESSAGE, MESSAGE], "shown": []},
    {"messages": [{**MESSAGE, "parent": 1}], "shown": []}, {"messages": [{**MESSAGE, "parent": 7}], "shown": []},
    {"messages": [MESSAGE], "shown": [2]}, {"messages": [MESSAGE], "shown": [[1]]},
    {"messages": [{**MESSAGE, "role": "system"}], "shown": []}, {"messages": [{**MESSAGE, "content": 3}], "shown": []},
    {"messages": [{**MESSAGE, "id": True}], "shown": []}, {"messages": 5, "shown": []}, 7])
def test_damaged_trees_are_refused(tmp_path, lane) -> None:
    path = tmp_path / "x.json"
    lane = {"model": "m", **lane} if isinstance(lane, dict) else lane
    path.write_text(json.dumps({"created": 1, "settings": {}, "lanes": [lane]}))
    with pytest.raises(UserError, match="isn't a conversation"):
        Conversation.read(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b"\xff\xfe", b'{"created": 1, "settings": {}, "la',
                                     b"[" * 100_000, b'{"created": "x", "settings": {}, "lanes": []}'])
def test_damaged_files_are_listed_with_their_reason(tmp_path, content) -> None:
    (tmp_path / "x.json").write_bytes(content)
    write_chat(tmp_path / "good.json", Conversation(1.0, {}, [Lane("m")]).to_json())
    found, damaged = read_chats(tmp_path)
    assert [path.name for path, _ in found] == ["good.json"]
    assert [path.name for path, _ in damaged] == ["x.json"] and damaged[0][1].why


def test_a_newer_format_is_not_guessed_at(tmp_path) -> None:
    (tmp_path / "x.json").write_text('{"format": 99}')
    with pytest.raises(UserError, match="newer SLM Studio"):
        Conversation.read(tmp_path / "x.json")


def test_it_is_found_by_what_was_said_in_any_branch(tree) -> None:
    tree.rewind(tree.path()[0])
    tree.add("user", "राशन कार्ड")
    conversation = Conversation(0.0, {}, [Lane("m", tree)], "My Name")
    assert [conversation.excerpt(words) for words in ("a2", "राशन", "my name", "", "Q3")] == [
        "A2", "राशन कार्ड", "", "", None]
    tree.add("assistant", "It is behind the market, at the corner where the old post office was.")
    assert conversation.excerpt("CORNER") == "…market, at the corner where the old post office was."


def test_it_is_renamed_thrown_away_and_put_back(tmp_path, tree, monkeypatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = tmp_path / "c.json"
    write_chat(path, Conversation(0.0, {}, [Lane("m", tree)]).to_json())
    rename_chat(path, "  Ration\n card ")
    assert Conversation.read(path).title == "Ration card"
    rename_chat(path, "")
    assert Conversation.read(path).title == "Q1"
    content = delete_chat(path)
    assert not path.exists()
    restore_chat(path, content)
    assert Conversation.read(path).title == "Q1"
    with pytest.raises(UserError, match="trash"):
        delete_chat(tmp_path / "gone.json")


def test_a_full_disk_leaves_the_old_file(tmp_path, tree, monkeypatch) -> None:
    import os

    path = tmp_path / "c.json"
    write_chat(path, "{}")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="save the conversation") as caught:
        write_chat(path, Conversation(0.0, {}, [Lane("m", tree)]).to_json())
    assert caught.value.why == "The disk is full."
    assert path.read_text() == "{}" and [each.name for each in tmp_path.iterdir()] == ["c.json"]


def test_two_answers_stand_below_their_question() -> None:
    lanes = []
    for name, answer in (("one", "A"), ("two", "B")):
        lanes.append(Lane(f"x/{name}.gguf"))
        lanes[-1].tree.add("user", "Q")
        lanes[-1].tree.add("assistant", answer)
    text = Conversation(0.0, {"temperature": 0.3}, lanes).to_markdown()
    assert text.split("## ")[1:] == ["You\n\nQ\n\n", "one\n\nA\n\n", "two\n\nB\n"]
