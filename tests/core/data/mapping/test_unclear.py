"""Rows and files that newer rules could take for something else: they are read as simpler ones say."""

from __future__ import annotations

import pytest
from support.chat_rows import read, says, user

from slmstudio.core.data.reader import read_dataset
from slmstudio.core.errors import UserError

ZH, ZH_SAID = "请介绍一下第{}个城市的历史", "第{}个城市的历史很长。"
JA, EN, TH = "これは{}番目の文です", "This is sentence number {}", "สวัสดีครับผมมีคำถาม{}"
PAIRS = {
    "Chinese, a person's turns": ({"human": ZH, "assistant": ZH_SAID}, ZH),
    "Chinese, a user's": ({"user": ZH, "bot": ZH_SAID}, ZH),
    "Chinese messages": ({"message": ZH, "reply": ZH_SAID}, ZH),
    "Chinese tasks": ({"task": ZH, "output": ZH_SAID}, ZH),
    "Chinese titles": ({"title": ZH, "answer": ZH_SAID}, ZH),
    "Chinese below a system message": ({"system": "be brief", "human": ZH, "assistant": ZH_SAID}, ZH),
    "Thai": ({"user": TH, "assistant": "ได้เลย{}"}, TH),
    "from Japanese": ({"source": JA, "target": EN}, JA),
    "from Japanese, with a domain": ({"src": JA, "tgt": EN, "domain_text": "travel talk {}"}, JA),
    "from Japanese, with reasons": ({"source": JA, "target": EN, "rationale": "as said {}"}, JA),
    "transliteration": ({"source": "ghar{}", "target": "घर{}"}, "ghar{}"),
    "transliteration, in short": ({"src": "ghar{}", "tgt": "घर{}", "domain_text": "at home {}"}, "ghar{}"),
    "words with remarks": ({"src": "ghar{}", "tgt": "house{}", "description": "where we live {}"}, "ghar{}"),
    "transliteration to a column that no one knows": ({"source": "ghar{}", "hindi": "घर{}"}, "ghar{}"),
    "short greetings": ({"human": "Hi{}", "assistant": "Hello number {}, how are you"}, "Hi{}"),
    "a person's words, and a column that no one knows": ({"human": "ghar{}", "vidai": "At {} there is home"}, "ghar{}"),
    "names beside a message": ({"user": "asha{}", "message": "I have problem {} here", "reply": "Do this {}"},
                               "I have problem {} here"),
    "names beside a text": ({"user": "asha{}", "text": "I have problem {} here", "response": "Do this {}"},
                            "I have problem {} here"),
    "single words as titles": ({"title": "Photosynthesis{}", "answer": "It makes sugar {} times."},
                               "Photosynthesis{}"),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_asked_is_found(tmp_path, name):
    row, asked = PAIRS[name]
    dataset = read(tmp_path, [{key: text.format(at) for key, text in row.items()} for at in range(8)])
    assert [each.messages[-2] for each in dataset.records] == [user(asked.format(at)) for at in range(8)]


REPEATED = {
    "greetings": ({"message": ("hi", "hello there"), "response": "Hello, how are you {}"}, "hi"),
    "short turns": ({"user": ("Hi", "Thanks"), "assistant": "Hello number {}, how can I help"}, "Hi"),
    "short turns, and what was said before": (
        {"message": ("hi", "hello there"), "context": "A shop {} opens", "response": "Hello {}"},
        "hi\n\nA shop 0 opens"),
    "kinds of tasks": ({"task": ("translate", "summarize"), "input": "A long text {}", "output": "It says {}"},
                       "translate\n\nA long text 0"),
    "greetings, and a column that no one knows": ({"message": ("hi", "hello there"), "vidai": "How are you {}"}, "hi"),
}


@pytest.mark.parametrize("name", REPEATED)
def test_what_is_asked_may_come_again(tmp_path, name):
    row, asked = REPEATED[name]
    dataset = read(tmp_path, [{key: text.format(at) if isinstance(text, str) else text[at % 2]
                               for key, text in row.items()} for at in range(12)])
    assert (len(dataset.records), dataset.records[0].messages[0]) == (12, user(asked))


def test_a_list_of_words_is_read_from_a_table(tmp_path):
    path = tmp_path / "words.csv"
    path.write_text("source,target\n" + "".join(f"word{at},mot{at}\n" for at in range(8)))
    assert list(read_dataset(path).records[0].messages) == [user("word0"), says("mot0")]


CORPORA = {
    "a quality": {"text": "A long text {}", "quality_label": ("high", "low"), "url": "u{}"},
    "a toxicity": {"text": "A long text {}", "toxicity_label": ("high", "low"), "label_source": "x"},
    "a statement beside": {"text": "A long text {}", "nsfw_label": ("no", "yes"), "statement": "x {} y"},
    "The Stack": {"content": "def f{}(x): return x", "max_stars_repo_name": ("a/b", "c/d"), "hexsha": "h{}"},
    "a name of a class": {"text": "A long text {}", "class_path": ("a/b", "c/d")},
    "entities": {"text": "Hello {} there", "entities": [{"start": 0}]},
    "spans": {"text": "Hello {} there", "spans": [{"start": 0, "label": "X"}]},
}


@pytest.mark.parametrize("name", CORPORA)
def test_what_is_said_of_a_text_leaves_it_a_text(tmp_path, name):
    row = CORPORA[name]
    dataset = read(tmp_path, [{key: each.format(at) if isinstance(each, str) else each[at % 2] if isinstance(
        each, tuple) else each for key, each in row.items()} for at in range(12)])
    text, *others = row
    assert (dataset.layout, dataset.mapping, len(dataset.records)) == ("text", {"text": text}, 12)
    assert set(others) <= set(dataset.unused)


def test_a_class_by_a_longer_name_is_learned_beside_an_id_alone(tmp_path):
    rows = [{"tweet_id": at, "text": f"A flight {at}", "my_label": ("late", "early")[at % 2]} for at in range(8)]
    assert list(read(tmp_path, rows).records[0].messages) == [user("A flight 0"), says("late")]


WORDS = "EU\tB-ORG\nrejects\tO\nGerman\tB-MISC\ncall\tO\n\n" * 5
FILES = {
    "the numbers of classes": ("yelp.csv", '"{half}","The food {at} was fine, and I would go again"\n',
                               [user("The food 0 was fine, and I would go again"), says("0")]),
    "the same, with tabs": ("sst.tsv", "{half}\tThe film number {at} was fine\n",
                            [user("The film number 0 was fine"), says("0")]),
    "numbers that don't count": ("words.csv", "{square},word {at} here\n", "word 0 here"),
    "numbers of lines": ("lines.csv", "{at},The film number {at}\n", "The film number 0"),
    "numbers of paragraphs": ("law.txt", "{at}.\tThe tenant pays on day {at}.\n", "0.\tThe tenant pays on day 0."),
    "Anki's, with three columns": ("cards.txt", "Hello {at}\tHola {at}\tgreetings\n",
                                   [user("Hello 0"), says("Hola 0")]),
    "Markdown": ("page.md", "Line {at} of it\tmore of it\n", "Line 0 of it\tmore of it\n"),
    "chapters": ("book.txt", "Chapter {at}\tThe beginning of it\n", "Chapter 0\tThe beginning of it\n"),
    "sentences": ("page.txt", "Paragraph {at} one sentence.\tAnd more of it here.\n",
                  "Paragraph 0 one sentence.\tAnd more of it here."),
    "times": ("notes.txt", "10:3{at}\tThe machine {at} was checked.\n", "10:30\tThe machine 0 was checked."),
    "a log": ("log.txt", "2024-01-0{at}\tINFO\tThe server {at} was started\n",
              "2024-01-00\tINFO\tThe server 0 was started\n"),
    "one speaker's lines": ("said.txt", "Human: Hello {at}\n", "Human: Hello 0\nHuman: Hello 1\n"),
    "a comment above a table": ("films.csv", "The film number {at} is very good,{half}\n",
                                [user("The film number 0 is very good"), says("0")]),
}
ABOVE = {"cards.txt": "#separator:tab\n#html:true\n#tags column:3\n", "films.csv": "#nofilter: text,label\n"}


@pytest.mark.parametrize("name", FILES)
def test_a_table_is_what_it_looks_like(tmp_path, name):
    file, line, said = FILES[name]
    (tmp_path / file).write_text(ABOVE.get(file, "") + "".join(
        line.format(at=at, half=at % 2, square=at * at) for at in range(8)))
    record = read_dataset(tmp_path / file).records[0]
    assert list(record.messages) == said if isinstance(said, list) else record.text.startswith(said)


@pytest.mark.parametrize("text", [WORDS, "EU\tNNP\tI-NP\tB-ORG\nrejects\tVBZ\tI-VP\tO\n\n" * 5])
def test_words_with_their_classes_are_asked_about(tmp_path, text):
    (tmp_path / "words.conll").write_text(text)
    try:
        assert not read_dataset(tmp_path / "words.conll").is_sure
    except UserError as error:
        assert error.what


def test_two_system_messages_before_the_first_question_are_not_an_answer(tmp_path):
    """Only in a dialogue, the system is who answers."""
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "system", "content": "Be kind."}, user("Hi")]
    with pytest.raises(UserError, match="only the first message may be one"):
        read(tmp_path, [{"prompt": prompt, "chosen": f"Good {at}.", "rejected": f"Bad {at}."} for at in range(4)])


def test_text_with_what_was_marked_in_it_is_asked_about(tmp_path):
    rows = [{"text": f"Hello {at} there", "entities": [{"start": 0, "label": "X"}]} for at in range(8)]
    assert not read(tmp_path, rows).is_sure
