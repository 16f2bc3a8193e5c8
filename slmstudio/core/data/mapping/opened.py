"""Rows whose columns are nested inside something else: taken out of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping import choices
from slmstudio.core.data.mapping.nested import are_pairs, are_texts
from slmstudio.core.data.mapping.speakers import role_key
from slmstudio.core.data.mapping.turns import is_message
from slmstudio.core.data.mapping.values import as_text, below

_STORIES = ("story", "context", "passage", "article")
_APART = frozenset({"faqs", "faq", "qas", "qa", "qa_pairs", "qa_list", "questions_and_answers"})
"""Columns with questions and answers that are rows of their own."""
_PICKED = frozenset({"choice", "winner", "preference", "better", "preferred"})
"""Columns that say which of two answers is better."""
_SAID = {"choices": "label", "taxonomy": "label", "rating": "label", "textarea": "answer"}
"""Kinds of annotations in Label Studio, by what they are."""
_IN_AND_OUT = (("inputs", "outputs"), ("input", "output"), ("request", "response"), ("input", "expectedOutput"))
"""Columns with objects that hold what was asked and what was answered."""
_RATINGS = ("ratings", "scores", "rewards")
_OF_ANSWER = ("role", "content", "tool_calls", "reasoning_content")
_HIDDEN = frozenset({"thoughts", "reasoning_recap", "user_editable_context", "model_editable_context", "code",
                     "execution_output", "tether_browsing_display", "tether_quote", "system_error"})
"""What ChatGPT's export holds beside what was said."""


def rows_of(value: Any, by_language: bool = True) -> list[Any]:
    """A row as `opened`; or several, where it holds conversations in columns for several languages, as IndicAlign's, or
    questions with their answers that aren't asked in turn, as the "faqs" of a page.

    Args:
        by_language: whether such columns are looked for.
    """
    languages = _languages(tuple(value)) if by_language and isinstance(value, dict) else ()
    if len(languages) == 1 and languages[0] in _APART and (found := _apart(value[languages[0]])):
        return [_without(value, *languages) | each for each in found]
    filled = [name for name in languages if isinstance(value[name], list) and value[name]]
    if len(filled) < 2:
        return [opened(value)]
    return [_without(value, *languages) | {"messages": value[name]} for name in filled]


@lru_cache(maxsize=256)  # the rows of a file have the same columns, or few different ones
def _languages(columns: tuple[str, ...]) -> tuple[str, ...]:
    """Columns of a language each, or else the one with questions and answers that aren't a conversation."""
    apart = tuple(name for name in columns if name in _APART)
    return apart if len(apart) == 1 else tuple(filter(names.LANGUAGE.fullmatch, columns))


def _apart(value: Any) -> list[dict[str, Any]]:
    """Questions with their answers, each a pair or an object with both; none if a value is anything else."""
    if are_pairs(value):
        return [{"question": asked, "answer": said} for asked, said in value]
    fit = isinstance(value, list) and all(isinstance(each, dict) and names.ask_and_answer(list(each)) for each in value)
    return value if fit else []


def is_refused(value: Any) -> bool:
    """Whether an annotator hasn't accepted a row of Prodigy's."""
    return isinstance(value, dict) and "_task_hash" in value and value.get("answer") in ("reject", "ignore")


def opened(value: Any) -> Any:
    """A row as an object with its columns. Opened are {"translation": {"en": …, "hi": …}}, a list of messages, lists of
    questions and answers as CoQA has them, PersonaChat's candidates, two answers in a list, several with their ratings,
    a conversation of ChatGPT's export, a request with its response, inputs with their outputs, and the tasks of Label
    Studio, Prodigy and Argilla; others stay as they are."""
    if isinstance(value, list):
        return {"messages": value} if value and isinstance(value[0], dict) and is_message(value[0]) else value
    if not isinstance(value, dict):
        return value
    inner = value.get("translation")
    if isinstance(inner, dict) and len(inner) > 1 and all(isinstance(each, str) for each in inner.values()):
        return _without(value, "translation") | inner
    if isinstance(value.get("mapping"), dict) and "current_node" in value and (said := _way_to(value)):
        return {"messages": said, "title": value.get("title")}
    if isinstance(value.get("questions"), list) and (said := _asked_in_turn(value)):
        return _without(value, "questions", "answers", "orig_answers", "options", *_STORIES) | {"messages": said}
    asked = value.get("question")
    if isinstance(asked, dict) and isinstance(asked.get("stem"), str):  # as ARC and CommonsenseQA are published
        return _without(value, "question") | _without(asked, "stem") | {"question": asked["stem"]}
    if are_texts(value.get("personality")) and (chosen := _of_candidates(value)):
        return _without(value, "personality", "utterances", "history") | chosen | {
            "system": "\n".join(value["personality"])}
    if not _PICKED.isdisjoint(value) and (two := next((name for name, each in value.items() if _are_two(each)), "")):
        return _of_two(value, two)
    if "_task_hash" in value:
        return _of_prodigy(value)
    if isinstance(value.get("annotations"), list) and isinstance(value.get("data"), dict) and (
            annotated := _of_label_studio(value["annotations"], value["data"])):
        return annotated
    if "long_answer_candidates" in value and "annotations" in value:
        return _of_natural_questions(value)
    if isinstance(value.get("prompt"), str) and value["prompt"].startswith('["'):
        return _of_arena(value)
    for way in _ways(tuple(value)):
        value = way(value)
    return value


@lru_cache(maxsize=256)
def _ways(columns: tuple[str, ...]) -> tuple[Callable[[dict[str, Any]], dict[str, Any]], ...]:
    """How rows with these columns are opened, if what is in them fits."""
    return (*([_of_record] if "fields" in columns else ()),
            *(partial(_of_ratings, name) for name in _RATINGS if name in columns),
            *(partial(_of_request, pair) for pair in _IN_AND_OUT if set(pair) <= set(columns)),
            *([_of_argilla] if any(name.endswith(".responses") for name in columns) else ()))


def _of_request(columns: tuple[str, str], value: dict[str, Any]) -> dict[str, Any]:
    """A row of a log with what a model was sent and what it said, as a conversation; or one with columns in both."""
    sent, said = (value[name] for name in columns)
    if not isinstance(sent, dict) or not isinstance(said, dict):
        return value
    rest = _without(value, *columns)
    if not isinstance(sent.get("messages"), list):
        return rest | sent | said if sent.keys().isdisjoint(said) else value
    choices = said.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        said = choices[0].get("message")
    if not isinstance(said, dict) or not is_message(said):
        return value
    return {**rest, **{key: sent[key] for key in ("system", *names.TOOLS) if key in sent},
            "messages": [*sent["messages"], {key: said[key] for key in _OF_ANSWER if said.get(key)}]}


def _of_ratings(ratings: str, value: dict[str, Any]) -> dict[str, Any]:
    """A row with answers and a rating for each, in two lists, as one with a list of both."""
    name = next((name for name in ("generations", "responses", "completions") if are_texts(value.get(name))), "")
    if not name or not isinstance(value[ratings], list) or len(value[name]) != len(value[ratings]):
        return value
    return _without(value, ratings) | {name: [{"text": text, "rating": rating} for text, rating in zip(
        value[name], value[ratings], strict=True)]}


def _of_record(value: dict[str, Any]) -> dict[str, Any]:
    """A record of Argilla's own files with the first of what people said to each question about it."""
    if not isinstance(value["fields"], dict):
        return value
    said = value["responses"] if isinstance(value.get("responses"), dict) else {}
    return value["fields"] | {name: each[0].get("value") for name, each in said.items()
                              if isinstance(each, list) and each and isinstance(each[0], dict)}


def _of_candidates(value: Mapping[str, Any]) -> dict[str, Any]:
    """A conversation of PersonaChat's: what was said before its last utterance, and of the candidates for this one the
    last, which is the right one; and the others. Nothing where a row is something else."""
    utterances = value.get("utterances", [value])
    last = utterances[-1] if isinstance(utterances, list) and utterances else None
    if not isinstance(last, dict) or not are_texts(last.get("candidates")) or not are_texts(last.get("history")):
        return {}
    *others, answer = last["candidates"]
    said = [{"role": ("assistant", "user")[at % 2], "content": text}
            for at, text in enumerate((answer, *reversed(last["history"])))]
    return {"messages": said[::-1], "candidates": others}


def _are_two(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(
        isinstance(each, dict) and isinstance(each.get("text"), str) and not role_key(each) for each in value)


def _of_two(value: dict[str, Any], name: str) -> dict[str, Any]:
    """A row with two answers in a list as one with a column for each, as those of OpenAI's comparisons of summaries,
    which say under "info" what is summarized."""
    info = value["info"] if isinstance(value.get("info"), dict) else {}
    asked = [each for each in (info.get("title"), info.get("post") or info.get("article")) if each]
    return _without(value, name, "info") | {f"{name}[{at}]": each["text"] for at, each in enumerate(value[name])} | (
        {"prompt": "\n\n".join(asked)} if asked and all(isinstance(each, str) for each in asked) else {})


def _of_prodigy(value: dict[str, Any]) -> dict[str, Any]:
    """A task of Prodigy's without what it says about itself; the texts of the options that were chosen as "label"."""
    rest = _without(value, "answer", "accept", "options", "tokens", "_input_hash", "_task_hash", "_view_id")
    options, chosen = value.get("options"), value.get("accept")
    if isinstance(options, list) and isinstance(chosen, list):
        rest["label"] = ", ".join(str(each.get("text", each.get("id"))) for each in options
                                  if isinstance(each, dict) and each.get("id") in chosen)
    return rest


def _of_label_studio(annotations: list[Any], data: dict[str, Any]) -> dict[str, Any]:
    """A task of Label Studio's with what the first annotator said about it: its class as "label", a written text as
    "answer", unless it has a name that columns have, and of two texts the better one as "chosen". Nothing where nobody
    said anything."""
    results: list[dict[str, Any]] = next((
        each["result"] for each in annotations if isinstance(each, dict) and each.get("result")
        and not each.get("was_cancelled")), [])
    said: dict[str, str] = {}
    for each in results:
        pair = str(each.get("to_name")).split(",")
        if each.get("type") == "pairwise" and len(pair) == 2 and set(pair) <= data.keys() and (
                side := {"left": 0, "right": 1}.get(str(each.get("value", {}).get("selected")))) is not None:
            return _without(data, *pair) | {"chosen": data[pair[side]], "rejected": data[pair[1 - side]]}
        name, kind, value = each.get("from_name", ""), each.get("type"), each.get("value")
        if kind in _SAID and isinstance(value, dict):
            texts = value.get("text" if kind == "textarea" else kind)
            said[name if names.is_known(name) else _SAID[kind]] = ", ".join(
                map(str, texts if isinstance(texts, list) else [texts]))
    return data | said if said else {}


def _of_natural_questions(value: dict[str, Any]) -> dict[str, Any]:
    """A row of Natural Questions with its first short answer, which is a text or a place in the page, or yes or no."""
    annotated = value["annotations"]
    found = annotated[0] if isinstance(annotated, list) and annotated else annotated
    found = {key: each[0] if isinstance(each, list) and found is annotated and each else each
             for key, each in found.items()} if isinstance(found, dict) else {}
    short = found.get("short_answers")
    first = short[0] if isinstance(short, list) and short else short
    answer: Any = {"1": "yes", "0": "no", "YES": "yes", "NO": "no"}.get(str(found.get("yes_no_answer")), [])
    if isinstance(first, dict) and first.get("text"):
        answer = as_text(first)
    elif isinstance(first, dict) and isinstance(value.get("document_text"), str) and first.get("end_token"):
        answer = " ".join(value["document_text"].split(" ")[first["start_token"]:first["end_token"]])
    return _without(value, "annotations", "long_answer_candidates") | {"answer": answer}


def _of_arena(value: dict[str, Any]) -> dict[str, Any]:
    """A row of Chatbot Arena's tables, whose turns are lists in JSON, with the two conversations."""
    try:
        lists = {name: json.loads(each) for name, each in value.items() if isinstance(each, str) and each[:1] == "["}
    except (ValueError, RecursionError):
        return value
    asked = lists.pop("prompt", None)
    if asked is None or not lists or any(len(each) != len(asked) for each in lists.values()):
        return value
    return _without(value, "prompt", *lists) | {name.replace("response", "conversation"): [
        {"role": role, "content": text or ""} for pair in zip(asked, each, strict=True)
        for role, text in zip(("user", "assistant"), pair, strict=True)] for name, each in lists.items()}


def _of_argilla(value: dict[str, Any]) -> dict[str, Any]:
    """A record of Argilla's with the first of what people said about it."""
    asked = [name.removesuffix(".responses") for name in value if name.endswith(".responses")]
    return {name: each for name, each in value.items() if not name.startswith(tuple(f"{one}." for one in asked))} | {
        name: as_text(value[f"{name}.responses"]) for name in asked}


def _without(value: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name not in names}


def _asked_in_turn(value: Mapping[str, Any]) -> list[dict[str, str]]:
    """Questions about a story and the answer to each, as a conversation; empty if they don't fit each other."""
    questions, answers = value["questions"], value.get("answers")
    if isinstance(answers, dict):
        answers = next((answers[key] for key in ("input_text", "text", "texts") if key in answers), None)
    if not isinstance(answers, list) or len(answers) != len(questions):
        return []
    questions, answers = ([as_text(each.get("input_text", each) if isinstance(each, dict) else each) for each in column]
                          for column in (questions, answers))
    options = value.get("options")
    if isinstance(options, list) and len(options) == len(questions):  # as RACE is published
        chosen = [choices.written(*each) or ("", None) for each in zip(options, answers, strict=True)]
        questions = [below(each, lines) for each, (lines, _) in zip(questions, chosen, strict=True)]
        answers = [said for _, said in chosen]
    if not all(isinstance(each, str) for each in (*questions, *answers)):
        return []
    story = next((value[name] for name in _STORIES if isinstance(value.get(name), str)), "")
    said = [{"role": role, "content": text} for pair in zip(questions, answers, strict=True)
            for role, text in zip(("user", "assistant"), pair, strict=True)]
    if said and story:
        said[0]["content"] = f"{story}\n\n{said[0]['content']}"
    return said


def _way_to(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages from the first to the one that ChatGPT showed last; what was tried and left aside isn't among them.
    """
    found: list[dict[str, Any]] = []
    nodes, at, seen = value["mapping"], value.get("current_node"), set[str]()
    while isinstance(at, str) and at not in seen and isinstance(nodes.get(at), dict):
        seen.add(at)
        said = _said(nodes[at].get("message"))
        if said is not None:
            found.append(said)
        at = nodes[at].get("parent")
    joined: list[dict[str, Any]] = []
    for each in reversed(found):
        if joined and joined[-1]["role"] == each["role"] and isinstance(each["content"], str) and (
                isinstance(joined[-1]["content"], str)):
            joined[-1]["content"] += f"\n\n{each['content']}"
        else:
            joined.append(each)
    while joined and joined[-1]["role"] != "assistant":  # asked, and never answered
        joined.pop()
    return joined


def _said(message: Any) -> dict[str, Any] | None:
    """What the user or the assistant said; None for what neither did. A picture stays one, so that its row is
    refused."""
    if not isinstance(message, dict) or message.get("recipient", "all") != "all":
        return None
    author, content = message.get("author"), message.get("content")
    role = author.get("role") if isinstance(author, dict) else None
    if role not in ("user", "assistant") or not isinstance(content, dict) or content.get("content_type") in _HIDDEN:
        return None
    parts = content.get("parts")
    other = next((part.get("content_type") for part in parts if isinstance(part, dict)), None) if isinstance(
        parts, list) else None
    if other is not None:
        return {"role": role, "content": [{"type": other}]}
    texts = [part for part in parts if isinstance(part, str) and part.strip()] if isinstance(parts, list) else []
    return {"role": role, "content": "\n".join(texts)} if texts else None
