"""How sure it is what the columns of a table hold, and what else they may be."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from slmstudio.core.data.reader import Dataset, NoUsableRow, read_as, read_dataset

TITLE, BODY = "The tank of ward {}", "Water is stored here for {} houses, and it is cleaned every month."
ASK, REPLY, NUMBER, PLACE = "When is ward office {} open?", "It is open from {} in the morning.", "{}", ("Pune", "Goa")
SURE = {
    "plain names": ({"Question": ASK, "Answer": REPLY}, "instruction=Question,output=Answer"),
    "plain names of the same rows again and again": (
        {"instruction": ("Is it open?", "Is it free?"), "output": ("Yes, daily.", "No, it costs 10 rupees.")},
        "instruction=instruction,output=output"),
    "Tamil names": ({"கேள்வி": ASK, "பதில்": REPLY, "எண்": NUMBER}, "instruction=கேள்வி,output=பதில்"),
    "longer names": ({"No": NUMBER, "Query of the customer": ASK, "Our reply": REPLY},
                     "instruction=Query of the customer,output=Our reply"),
    "one name, and one other text": ({"question": ASK, "vidai": REPLY}, "instruction=question,output=vidai"),
    "a word and its meaning": ({"shabd": TITLE, "meaning": BODY}, "instruction=shabd,output=meaning"),
    "a class": ({"text": BODY, "label": PLACE}, "instruction=text,output=label"),
    "a class of a text under another name": ({"id": NUMBER, "lekh": BODY, "sentiment": PLACE},
                                             "instruction=lekh,output=sentiment"),
    "a remark that is answered": ({"comment": ASK, "reply": REPLY}, "instruction=comment,output=reply"),
    "text, and where it is from": ({"text": BODY, "url": "https://a.in/{}", "author": "Asha Joshi {}"}, "text=text"),
    "a thing, what it is, and its picture": ({"name": TITLE, "description": BODY, "image_url": "https://a.in/{}.png"},
                                             "instruction=name,output=description"),
    "a link to a picture": ({"question": ASK, "answer": REPLY, "image": "https://a.in/{}.png"},
                            "instruction=question,output=answer"),
    "long texts that ask here and there": ({"text": f"Is it clean? {BODY} It is."}, "text=text"),
    "the only words": ({"lekh": BODY, "pages": NUMBER}, "text=lekh"),
    "questions among their tags and codes": (
        {"question id": "Q-{}-1", "question_tag": ("fees, dates, rules of the office", "timings of the ward office"),
         "core_question": ASK, "core_answer": REPLY}, "instruction=core_question,output=core_answer"),
    "what was written, and what was replied": (
        {"Subject": "Tank {}", "Customer wrote": ASK, "We replied": REPLY, "Status": ("open", "closed")},
        "instruction=Customer wrote,output=We replied"),
    "an answer beside the same": ({"shabd": TITLE, "definition": BODY, "answer": BODY},
                                  "instruction=shabd,output=answer"),
    "reports with a label": ({"asunto": TITLE, "cliente": ("Asha", "Ravi"), "descripcion": BODY, "label": PLACE},
                             "instruction=asunto,input=descripcion,output=label"),
    "an answer beside who gave it": ({"Agent": ("jd", "kp"), "Requester": "User {}", "Subject": TITLE, "Body": BODY,
                                      "Resolution": REPLY}, "instruction=Subject,input=Body,output=Resolution"),
}
ASKED = {
    "a title beside a text": ({"title": TITLE, "text": BODY, "id": NUMBER}, [
        "text=text", "instruction=title,output=text", "text=title + text"]),
    "a remark beside a text": ({"content": BODY, "remarks": REPLY}, [
        "text=content", "instruction=remarks,output=content", "text=remarks + content"]),
    "two unknown names": ({"prashna lekh": ASK, "vidai": REPLY}, ["instruction=prashna lekh,output=vidai"]),
    "an answer before its question": ({"vidai": REPLY, "kb": ASK}, ["instruction=kb,output=vidai"]),
    "three texts": ({"a1": ASK, "kb": REPLY, "zz": BODY, "n": NUMBER}, [
        "instruction=a1,output=kb", "instruction=a1,output=zz", "instruction=kb,output=zz"]),
    "lines, and who says them": ({"text": BODY, "speaker": PLACE}, ["text=text", "instruction=text,output=speaker"]),
    "a name and what it is": ({"product_name": TITLE, "description": BODY, "brand": PLACE, "price": NUMBER}, [
        "instruction=product_name,output=description"]),
    "a name, classes, and what it is": (
        {"name": TITLE, "ministry": ("Ministry of Water and Land", "Ministry of Home Affairs"), "code": "A-{}",
         "facts": BODY}, ["instruction=name,output=facts"]),
    "two texts of a numbered class": ({"one": ("1", "2"), "two": TITLE, "three": BODY}, [
        "instruction=two,output=three"]),
    "names in two languages": ({"id": NUMBER, "name_da": TITLE, "name_en": "Tank {} of ward", "desc_da": BODY,
                                "desc_en": "Here {} houses get their water, it is cleaned each month."}, [
        "instruction=name_da,output=desc_da"]),
    "a report, its title, and who wrote it": (
        {"title": TITLE, "description": BODY, "customer": ("Asha Joshi", "John Smith"), "priority": ("High", "Low"),
         "status": ("Open", "New")}, ["instruction=title,input=description,output=priority"]),
    "what is expected": ({"input": ASK, "expected_risk": ("low", "high")}, ["instruction=input,output=expected_risk"]),
    "what is expected of a ticket": ({"subject": TITLE, "body": BODY, "expected_action": REPLY}, [
        "instruction=subject,input=body,output=expected_action"]),
    "a complaint, where it was sent, and how urgent it is": (
        {"complaint_id": NUMBER, "complaint_text": BODY, "department": PLACE, "priority": ("Low", "High")}, [
            "instruction=complaint_text,output=department", "instruction=complaint_text,output=priority",
            "text=complaint_text"]),
    "verses in two columns and what they mean": (
        {"Line 1": TITLE, "Line 2": "which shines on {}", "English Translation": BODY}, [
            "instruction=Line 1,output=English Translation"]),
    "questions without answers": ({"text": ASK}, ["text=text"]),
    "a number that may be a class": ({"question": ASK, "answer": REPLY, "label": ("0", "1")}, [
        "label=label,prompt=question,completion=answer", "instruction=question,output=answer"]),
    "two languages, and a sentence in both": (
        {"tamil": "veedu {}", "english": "house {}", "example": REPLY, "example_translation": BODY}, [
            "instruction=example,output=example_translation", "instruction=tamil,output=english"]),
    "what a question and its answer are like": (
        {"query": ASK, "question_style": ("short", "natural"), "expected_answer_behavior": ("direct", "refuse")}, []),
    "a sentence beside names that are only similar": (
        {"reason": BODY, "test_question": ASK, "expected_answer_points": REPLY},
        ["instruction=test_question,output=expected_answer_points"]),
    "what was changed, and why": ({"id": NUMBER, "reason": BODY, "new_answer": REPLY},
                                  ["instruction=reason,output=new_answer"]),
    "codes and what they stand for": ({"code": "A39.{}", "desc": BODY}, ["instruction=code,output=desc", "text=desc"]),
    "a single column of remarks": ({"message": BODY}, ["text=message"]),
    "what people said in several chats": ({"text": BODY, "chat_id": ("1", "2"), "place": PLACE}, ["text=text"]),
    "a text, its words' tags and what it feels like": (
        {"text": BODY, "token_tags": "EN EN HI HI EN EN", "true_sentiment": PLACE},
        ["instruction=text,output=true_sentiment"]),
    "a question among other columns": (
        {"id": NUMBER, "Question": ASK, "score": "0.{}", "page": NUMBER, "source_pdf": "a{}.pdf", "found": BODY},
        ["instruction=Question,output=found"]),
    "a complaint, its picture and its class": (
        {"complaint_text": BODY, "image_description": REPLY, "category_hint": PLACE},
        ["instruction=complaint_text,output=image_description"]),
    "choices that the answer doesn't name": (
        {"question": ASK, "option1": "Pune {}", "option2": "Goa {}", "option3": "Delhi {}", "answer": REPLY},
        ["instruction=question,output=answer"]),
    "questions with answers in a cell": (
        {"id": NUMBER, "document": "Soalan: Bila pejabat {} dibuka?\nJawapan: Pada pukul sembilan pagi."},
        ["cell=document", "text=document"]),
    "words and their tags": ({"text": "shabd{}", "labels": ("person", "none")}, ["instruction=text,output=labels"]),
    "a text and its topic": ({"lekh": BODY, "category": PLACE}, ["instruction=lekh,output=category", "text=lekh"]),
    "a text and its code": ({"description": BODY, "hs_code": ("4", "61")}, [
        "instruction=description,output=hs_code", "text=description"]),
    "a report and what it is about": ({"id": NUMBER, "urgency": ("Low", "High"), "impact": ("Low", "High"),
                                        "category": PLACE, "lekh": BODY}, [
        "instruction=lekh,output=category", "instruction=lekh,output=urgency"]),
    "two answers": ({"question": ASK, "response_a": REPLY, "response_b": BODY}, [
        "instruction=question,output=response_a"]),
    "a glossary": ({"kb": "q{}", "shabd": TITLE, "zz": ("Goa and its rivers", "Pune and its hills"), "artha": BODY}, [
        "instruction=shabd,output=artha"]),
    "a review and a mark": ({"review": BODY, "constructive": ("0", "1")}, [
        "instruction=review,output=constructive"]),
    "a comment and a mark": ({"comment_text": REPLY, "toxic": ("0", "1")}, [
        "instruction=comment_text,output=toxic"]),
    "two languages, and an example": (
        {"id": NUMBER, "category": PLACE, "assamese": "ghar {}", "english": "house {}", "example": REPLY}, [
            "instruction=assamese,output=english"]),
    "two languages by their names in Chinese": (
        {"英文": "house {}", "領域": PLACE, "完整繁中名稱": "房屋{}", "補充說明": BODY}, [
            "instruction=英文,output=完整繁中名稱"]),
    "two languages by their names in Hindi": ({"अंग्रेज़ी": TITLE, "हिन्दी": "वार्ड {} की टंकी", "टीका": BODY}, [
        "instruction=अंग्रेज़ी,output=हिन्दी"]),
    "mistakes": ({"wrong": "I has {} house.", "right": "I have {} house.", "why": BODY, "why_bg": REPLY}, [
        "instruction=wrong,output=right"]),
    "drafts that were corrected": (
        {"Consumer enquiry": ASK, "Draft by trainee": "No, that is not open on {}.",
         "Corrected by senior officer": REPLY},
        ["prompt=Consumer enquiry,chosen=Corrected by senior officer,rejected=Draft by trainee",
         "instruction=Consumer enquiry,output=Corrected by senior officer"]),
    "words that sort a remark before codes": ({"marga": ("201R", "500D"), "abhipraya": BODY, "vidha": PLACE}, [
        "instruction=abhipraya,output=vidha", "instruction=abhipraya,output=marga"]),
    "where each row is from, beside how it was translated": (
        {"title": TITLE, "text": BODY, "source": "a.in", "translation_method": ("by hand", "none")},
        ["text=text", "instruction=title,output=text"]),
    "a letter without its choices": ({"Question": ASK, "Answer": ("A", "B")}, ["instruction=Question,output=Answer"]),
    "numbers called question": ({"question": NUMBER, "a1": ASK, "b1": PLACE, "answer": NUMBER}, [
        "instruction=a1,output=b1"]),
    "a class by its look": ({"v1": PLACE, "v2": BODY}, ["instruction=v2,output=v1"]),
}
REFUSED = {
    "numbers called text": {"text": NUMBER, "year": "20{}"},
    "numbers called description": {"description": NUMBER},
    "coordinates": {"village": PLACE, "latitude": "18.{}", "longitude": "73.{}"},
    "counts": {"ward": NUMBER, "month": "2025-04-1{}", "complaints": NUMBER},
}


def read(folder: Path, columns: dict[str, str | tuple[str, ...]], ending: str = "csv") -> Dataset:
    rows = [{name: said[at % 2] if isinstance(said, tuple) else said.format(at) for name, said in columns.items()}
            for at in range(8)]
    path = folder / f"rows.{ending}"
    if ending == "csv":
        with path.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, list(columns))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(
            {name: int(text) if text.isdecimal() else text for name, text in row.items()}) + "\n" for row in rows))
    return read_dataset(path)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("name", SURE)
def test_what_is_clear_is_read_without_a_question(tmp_path, name, ending):
    columns, line = SURE[name]
    found = read(tmp_path, columns, ending)
    assert (found.is_sure, found.candidates[0].line, found.count) == (True, line, 8)


@pytest.mark.parametrize(("ending", "line"), [("csv", "text_by=question"), ("jsonl", "text=text")])
def test_questions_and_answers_in_one_column_are_asked_about(tmp_path, ending, line):
    """A table of one column may be read as the text that it is."""
    found = read(tmp_path, {"text": (ASK, REPLY)}, ending)
    assert not found.is_sure and found.candidates[0].line == line and found.candidates[0].evidence


def test_it_is_asked_which_of_two_people_answers(tmp_path):
    path = tmp_path / "chats.json"
    said = [{"sender": who, "content": "Is the ward open?"} for who in ("Asha", "Ravi")]
    path.write_text(json.dumps([{"messages": said}] * 4))
    found = read_dataset(path)
    assert not found.is_sure
    assert found.candidates[0].evidence == (("speakers", {"user": "Asha", "assistant": "Ravi"}),)


def test_an_answer_names_its_choice_by_letter_and_text(tmp_path):
    path = tmp_path / "quiz.csv"
    path.write_text("question,answer,a,b,c\n" + "Where is ward 1?,B: Goa,Pune,Goa,Delhi\n" * 3)
    found = read_dataset(path)
    assert found.is_sure and found.records[0].messages[1]["content"] == "B. Goa"


def test_a_chatbots_questions_with_one_answer_beside_their_intent(tmp_path):
    path = tmp_path / "bot.json"
    path.write_text(json.dumps([{"intent": f"hours_{at}", "questions": [f"When is ward {at} open?", "Which hours?"],
                                 "answer": f"From {at} on."} for at in range(4)]))
    found = read_dataset(path)
    assert found.is_sure and [each.messages[1]["content"] for each in found.records[:3]] == [
        "From 0 on.", "From 0 on.", "From 1 on."]


def test_the_classes_of_a_text_may_be_a_list(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"text": ASK.format(at), "intents": ["open", "time"][:1 + at % 2]} for at in range(8)]))
    assert read_dataset(path).records[1].messages[1]["content"] == "open\ntime"


def test_a_table_whose_rows_have_too_many_cells_is_asked_about(tmp_path):
    """Commas that nobody quoted move cells; where a row lacks another cell, it looks whole."""
    path = tmp_path / "rows.csv"
    rows = [f"Is ward {at} open?,Yes{', daily' * (at % 4 == 0)},office\n" for at in range(40)]
    path.write_text("".join(["question,answer,place\n", *rows]))
    found = read_dataset(path)
    assert not found.is_sure and found.candidates[0].line == "instruction=question,output=answer"
    assert found.candidates[0].evidence[-1] == ("misfits", {"n": 10, "rows": 40})
    path.write_text("".join(["question,answer,place\n", *rows[:8], *(each for each in rows if "daily" not in each)]))
    assert read_dataset(path).is_sure


def test_single_words_called_text_are_asked_about(tmp_path):
    assert not read(tmp_path, {"text": ("north", "south")}, "jsonl").is_sure


def test_texts_within_objects_are_found(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"id": at, "title": {"en": TITLE.format(at), "hi": f"वार्ड {at} की टंकी"},
                                 "detail": {"en": BODY.format(at), "hi": f"यहाँ {at} घरों का पानी है।"}}
                                for at in range(8)]), "utf-8")
    found = read_dataset(path)
    assert not found.is_sure and found.candidates[0].line == "instruction=title.en,output=detail.en"
    assert [each["content"] for each in found.records[0].messages] == [TITLE.format(0), BODY.format(0)]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("name", ASKED)
def test_what_is_unclear_is_asked_about_with_the_likeliest_first(tmp_path, name, ending):
    columns, lines = ASKED[name]
    found = read(tmp_path, columns, ending)
    assert not found.is_sure and [each.line for each in found.candidates[:len(lines)]] == lines
    assert found.candidates[0].evidence


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("name", REFUSED)
def test_where_nothing_can_be_learned_nothing_is_asked(tmp_path, name, ending):
    with pytest.raises(NoUsableRow):
        read(tmp_path, REFUSED[name], ending)


def test_a_function_and_its_arguments_are_one_answer(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"input": ASK.format(at), "expected_tool": ("open", "close")[at % 2],
                                        "expected_params": {"ward": at}, "remark": REPLY if at % 3 else None}) + "\n"
                            for at in range(8)))
    found = read_dataset(path)
    assert not found.is_sure and read_as(path, found.candidates[0].line).records == found.records
    assert json.loads(found.records[1].messages[1]["content"]) == {"expected_tool": "close",
                                                                   "expected_params": {"ward": 1}}
    assert found.unused == ("remark",)


def test_a_text_beside_objects_about_it_is_asked_about(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"original_sentence": BODY.format(at), "annotation": [{"text": "Water"}]}) + "\n"
                            for at in range(4)))
    found = read_dataset(path)
    assert (found.is_sure, found.candidates[0].line) == (False, "text=original_sentence")


def test_words_that_are_dropped_are_named(tmp_path):
    found = read(tmp_path, {"title": TITLE, "text": BODY})
    assert ("words_dropped", {"column": "title"}) in found.candidates[0].evidence
    assert found.unused == ("title",)


def test_a_poem_whose_lines_are_a_list_is_a_text(tmp_path):
    rows = [{"title": TITLE.format(at), "body": [f"Over river {at} the night", "", "and the ferry waits"],
             "tags": ["a", "b"]} for at in range(4)]
    (tmp_path / "poems.json").write_text(json.dumps(rows))
    found = read_dataset(tmp_path / "poems.json")
    assert found.records[1].text == "Over river 1 the night\n\nand the ferry waits" and found.count == 4
    assert not found.is_sure and [each.line for each in found.candidates] == ["text=body", "text=title + body"]


def written(path: Path, rows: list[dict[str, object]]) -> Dataset:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_dataset(path)


@pytest.mark.parametrize(("others", "is_sure"), [(2, True), (12, False)])
def test_columns_of_a_minority_are_not_taken_for_the_files(tmp_path, others, is_sure):
    """Rows packed into one file: a pair that only a few of them have doesn't decide without a question."""
    rows = [{"question": ASK.format(at), "answer": REPLY.format(at)} for at in range(6)]
    found = written(tmp_path / "rows.jsonl", [*rows, *({"zz": BODY.format(at)} for at in range(others))])
    assert found.is_sure == is_sure


def test_the_texts_of_an_answer_are_offered_joined_and_as_the_first(tmp_path):
    found = written(tmp_path / "rows.jsonl", [
        {"question": ASK.format(at), "answer": [f"Ward {at}", "Water tank"]} for at in range(6)])
    assert not found.is_sure and found.records[1].messages[1]["content"] == "Ward 1, Water tank"
    assert found.candidates[1].line == "instruction=question,output=answer"


@pytest.mark.parametrize(("open_ones", "left_out"), [(3, 0), (2, 2)])
def test_last_questions_are_dropped_only_where_most_conversations_end_so(tmp_path, open_ones, left_out):
    """As they were cut; a single one is a mistake."""
    rows = [{"messages": [{"role": role, "content": f"{at} {text}"} for role, text in (
        ("user", ASK), ("assistant", REPLY), ("user", "Thanks"), ("assistant", "Bye"))][:3 if at < open_ones else 4]}
            for at in range(5)]
    found = written(tmp_path / "rows.jsonl", rows)
    assert (found.count, found.rows_left_out) == (5 - left_out, left_out)


def test_an_object_is_answered_as_json(tmp_path):
    found = written(tmp_path / "rows.jsonl", [
        {"question": ASK.format(at), "answer": {"opens": f"{at}:00", "note": "नोट"}} for at in range(6)])
    assert found.records[1].messages[1]["content"] == '{"opens": "1:00", "note": "नोट"}'


def test_a_number_that_is_no_class_by_name_neither_answers_nor_hides_a_pair(tmp_path):
    rows = [{"term": f"Ward {at} office", "definition": BODY.format(at), "depth": at % 3 + 1} for at in range(9)]
    found = written(tmp_path / "terms.jsonl", rows)
    assert found.candidates[0].line == "instruction=term,output=definition"
    pages = written(tmp_path / "pages.jsonl", [{"ref": 19 + at // 2, "text": BODY.format(at)} for at in range(60)])
    assert pages.candidates[0].line == "text=text"


def test_a_list_of_objects_is_no_question(tmp_path):
    rows = [{"title": TITLE.format(at), "body": BODY.format(at), "references": ["Register", "Gazette"],
             "questions": [{"type": "who", "asked": ASK.format(at)}]} for at in range(4)]
    found = written(tmp_path / "texts.jsonl", rows)
    assert not found.is_sure and all("instruction=questions" not in each.line for each in found.candidates)


def test_objects_under_their_words_are_rows_even_where_few_have_all_columns(tmp_path):
    words = {f"{word}ம்": {"gloss": f"Town {at}", **({"seen": at, f"note {at}": "b"} if at % 2 else {}),
                          **({"deck": "a"} if at % 3 else {})} for at, word in enumerate("கசடதபறயர")}
    (tmp_path / "words.json").write_text(json.dumps(words))
    found = read_dataset(tmp_path / "words.json")
    assert found.records[1].messages[0]["content"] == "சம்" and found.records[1].messages[1]["content"] == "Town 1"


def test_texts_under_codes_are_texts(tmp_path):
    (tmp_path / "notes.json").write_text(json.dumps({f"p{at:06}": BODY.format(at) for at in range(30)}))
    found = read_dataset(tmp_path / "notes.json")
    assert (found.layout, found.records[1].text) == ("text", BODY.format(1))


@pytest.mark.parametrize("head", ['{"rows": [', '{"about": "offices",', '{"about": {"by": "ward"},'])
def test_an_object_over_several_lines_may_begin_on_its_first_one(tmp_path, head):
    rows = ",\n".join(json.dumps({"question": ASK.format(at), "answer": REPLY.format(at)}) for at in range(4))
    (tmp_path / "rows.json").write_text(head + ("" if head.endswith("[") else '\n"rows": [') + f"\n{rows}\n]}}\n")
    assert read_dataset(tmp_path / "rows.json").count == 4


def test_the_language_of_turns_that_are_in_two_is_asked_for(tmp_path):
    talk = [{"speaker": who, "en": f"{who} says {{}}", "te": f"{who} అంటారు {{}}"} for who in ("user", "bot")]
    found = written(tmp_path / "talks.jsonl", [
        {"id": f"talk {at}", "conversation": [{key: text.format(at) for key, text in each.items()} for each in talk]}
        for at in range(4)])
    assert not found.is_sure and found.records[1].messages[1]["content"] == "bot says 1"
    assert "content: te" in found.candidates[1].line


def test_a_word_in_a_language_is_asked_about_with_its_meaning(tmp_path):
    rows = [{"tamil": f"சொல் {at}", "gloss": f"Word {at} of it", "cluster": "abc"[at % 3] * 5} for at in range(9)]
    assert written(tmp_path / "words.jsonl", rows).candidates[0].line == "instruction=tamil,output=gloss"


def test_a_column_that_is_nearly_empty_is_no_answer(tmp_path):
    rows = [{"phrase": BODY.format(at), "kinds": "noun verb" if at % 2 else "noun", "grade": "x" if at == 7 else ""}
            for at in range(60)]
    assert "grade" not in written(tmp_path / "rows.jsonl", rows).candidates[0].line
