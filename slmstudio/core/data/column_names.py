"""What columns are called: by what they hold, in other spellings, and in other languages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from slmstudio.core.digits import plain_digits

_WORDS = {
    "question": (
        "question_text question_stem que ques "
        "प्रश्न प्रश्नः सवाल প্রশ্ন প্ৰশ্ন கேள்வி வினா ప్రశ్న પ્રશ્ન સવાલ ಪ್ರಶ್ನೆ ചോദ്യം ਪ੍ਰਸ਼ਨ ਸਵਾਲ ପ୍ରଶ୍ନ "
        "سوال سؤال السؤال frage pregunta pergunta domanda vraag pytanie вопрос soru "
        "pertanyaan câu_hỏi 问题 問題 質問 질문"),
    "complaint": (
        "grievance शिकायत समस्या शंका जिज्ञासा पृच्छा तक्रार অভিযোগ সমস্যা জিজ্ঞাসা புகார் ஐயம் సమస్య ఫిర్యాదు సందేహం ફરિયાદ "
        "સમસ્યા ದೂರು ಸಮಸ್ಯೆ പരാതി സംശയം ਸ਼ਿਕਾਇਤ ଅଭିଯୋଗ شکایت مسئلہ"),
    "resolution": (
        "redressal action_taken समाधान निराकरण निवारण निस्तारण परामर्श कार्यवाही कार्रवाई कारवाई সমাধান পরামর্শ தீர்வு పరిష్కారం "
        "ઉકેલ નિરાકરણ ಪರಿಹಾರ പരിഹാരം ਹੱਲ ਨਿਪਟਾਰਾ ସମାଧାନ حل کارروائی"),
    "description": "विवरण ब्यौरा तपशील বিবরণ விவரம் వివరాలు વિગત ವಿವರ വിവരണം ਵੇਰਵਾ ବିବରଣୀ تفصیل beschreibung",
    "meaning": "अर्थ भावार्थ অর্থ பொருள் అర్థం અર્થ ಅರ್ಥ അർത്ഥം ਅਰਥ معنی bedeutung",
    "prompt": "prompt_text user_prompt",
    "instruction": (
        "निर्देश নির্দেশ নির্দেশনা নিৰ্দেশ அறிவுறுத்தல் வழிமுறை సూచన ఆదేశం સૂચના ಸೂಚನೆ നിർദ്ദേശം നിർദേശം ਨਿਰਦੇਸ਼ ਹਦਾਇਤ ନିର୍ଦ୍ଦେଶ ہدایت "
        "anweisung instrucción instrução istruzione инструкция 指令 指示 지시"),
    "input": "इनपुट ইনপুট உள்ளீடு ఇన్పుట్ ઇનપુટ ಇನ್ಪುಟ್ ഇൻപുട്ട് ਇਨਪੁਟ ਇਨਪੁੱਟ ଇନପୁଟ ان_پٹ eingabe 输入 入力 입력",
    "output": "आउटपुट আউটপুট வெளியீடு అవుట్పుట్ ఔట్పుట్ આઉટપુટ ಔಟ್ಪುಟ್ ഔട്ട്പുട്ട് ਆਉਟਪੁਟ ਆਉਟਪੁੱਟ ଆଉଟପୁଟ آؤٹ_پٹ 输出 出力 출력",
    "system": "system_prompt system_message system_instruction systeminstruction meta_instruction",
    "answer": (
        "ans answer_text उत्तर उत्तरः जवाब सही_उत्तर सही_जवाब बरोबर_उत्तर उत्तरे উত্তর সঠিক_উত্তর উত্তৰ பதில் விடை சரியான_விடை "
        "జవాబు సమాధానం సరైన_సమాధానం જવાબ ઉત્તર સાચો_જવાબ ಉತ್ತರ ಸರಿಯಾದ_ಉತ್ತರ ഉത്തരം ശരിയുത്തരം ਜਵਾਬ ਉੱਤਰ ਸਹੀ_ਜਵਾਬ ଉତ୍ତର "
        "ସଠିକ୍_ଉତ୍ତର جواب درست_جواب صحیح_جواب الجواب إجابة الإجابة antwort réponse reponse respuesta resposta risposta "
        "antwoord odpowiedź ответ cevap jawaban câu_trả_lời đáp_án 答案 回答 解答 답변 정답"),
    "reference": "reference_text ground_truth groundtruth gold_answer expected_output expected_response",
    "correct_answer": "right_answer correct_ans",
    "correct_option": (
        "right_option सही_विकल्प बरोबर_पर्याय योग्य_पर्याय সঠিক_বিকল্প சரியான_விருப்பம் సరైన_ఎంపిక સાચો_વિકલ્પ ಸರಿಯಾದ_ಆಯ್ಕೆ "
        "ശരിയായ_ഓപ്ഷൻ ਸਹੀ_ਵਿਕਲਪ ସଠିକ୍_ବିକଳ୍ପ درست_اختیار"),
    "choices": (
        "विकल्प पर्याय বিকল্প விருப்பங்கள் தெரிவுகள் ఎంపికలు વિકલ્પો વિકલ્પ ಆಯ್ಕೆಗಳು ഓപ്ഷനുകൾ ਵਿਕਲਪ ବିକଳ୍ପ اختیارات "
        "اختیار آپشن விருப்பம் ఎంపిక ಆಯ್ಕೆ ഓപ്ഷൻ خيارات antwortmöglichkeiten auswahl "
        "choix opciones opções opzioni варианты 选项 選択肢 선택지"),
    "alternatives": "opt alternative alternatives",
    "category": (
        "श्रेणी वर्ग विषय विभाग শ্রেণী বিভাগ বিষয় வகை பாடம் వర్గం విషయం શ્રેણી વિષય ವರ್ಗ ವಿಷಯ വിഭാഗം വിഷയം ਸ਼੍ਰੇਣੀ ਵਿਸ਼ਾ ଶ୍ରେଣୀ "
        "ବିଷୟ زمرہ موضوع فئة kategorie thema fach catégorie categoría categoria "
        "kategori категория 类别 分类 カテゴリ 분류"),
    "language": "भाषा ভাষা மொழி భాష ભાષા ಭಾಷೆ ഭാഷ ਭਾਸ਼ਾ ଭାଷା زبان لغة sprache langue idioma lingua язык 语言 言語 언어",
    "context": (
        "संदर्भ सन्दर्भ गद्यांश অনুচ্ছেদ பத்தி సందర్భం ફકરો ಸಂದರ್ಭ സന്ദർഭം ਪੈਰਾ ଅନୁଚ୍ଛେଦ سیاق kontext contexte contexto "
        "контекст 上下文 文脈 문맥"),
}
"""For each column, what it is called elsewhere; "_" stands for a space."""

ASKED = ("instruction", "question", "inputs_pretokenized", "prompt", "query", "problem", "task", "request",
         "utterance", "questions", "user", "human", "user_message", "user_input", "customer", "patient", "inputs",
         "input_text", "source", "src", "source_text", "src_text", "src_txt", "goal", "ctx", "startphrase", "ask", "q",
         "faq", "post", "complaint", "ticket", "message", "message_1", "sql_prompt")
"""Columns with the question; the first that is filled counts."""
SOURCES = ("source", "src", "source_text", "src_text", "src_txt")
NAMES = frozenset({"task", "goal", "post", "ticket", "user", "customer", "source", "src"})
"""Those that may name something else instead: the kind of task, or who asked."""
FRAMES = ("definition", "task_definition", "task_description")
"""Columns that say what is to be done with an input, as in Natural Instructions."""
HEADS = ("title", "subject")
"""Columns with the question if there is an answer beside them, in full, or in short with more below."""
ANSWERED = ("output", "answer", "response", "completion", "reply", "solution", "assistant", "assistant_message", "bot",
            "bot_response", "gpt", "model", "model_response", "agent", "doctor", "resolution", "target", "targets",
            "target_text", "tgt", "tgt_text", "tgt_txt", "outputs", "output_text", "targets_pretokenized", "responses",
            "answers", "long_answer", "answers_spans", "canonical_solution", "new_contents", "reference", "references",
            "summary", "highlights", "abstract", "translation", "correct_answer", "best_answer", "final_answer",
            "expected", "ideal", "a", "label_text", "instances", "generated_solution", "message_2", "sql", "sql_query",
            "code", "story", "generation", "generated_text", "bot_message", "agent_message")
"""Columns that hold the answer."""
REPLIES = frozenset({"answer", "answers", "best_answer", "response", "responses", "reply", "resolution"})
"""Columns with the answer to a question, not with another form of a text."""
WORKED = ("solution", "generated_solution", "r1_solution_1")
"""Columns with an answer and the steps that lead to it."""
WEAK_ANSWERS = frozenset({"code", "generation", "story", "model", "agent", "doctor", "a", "bot", "gpt", "assistant",
                          "reference", "references", "expected", "ideal"})
"""Those of them that may be a remark on a text: who wrote it, where it is from."""
BELOW = ("input", "inputs", "context", "contexts", "passage", "paragraph", "premise", "background", "reference_text",
         "document", "article", "story", "flores_passage", "support", "retrieved_contexts", "sql_context", "evidence",
         "selftext", "old_contents", "paragraphs", "passages", "body", "story_text", "passage_text",
         "context_text", "plot")
"""Columns that hold what a question is about; it goes below the question."""
CONVERSATION = ("messages", "conversations", "conversation", "dialog", "dialogue", "dialogues", "turns", "chat",
                "chats", "thread", "interactions", "contents", "data", "trajectory")
DIALOGUE = ("dialog", "dialogue", "dialogues", "turns", "conversation", "conversations", "chat", "log", "utterances")
"""Columns with a conversation even if nothing says who is speaking."""
CHOSEN = ("chosen", "preferred", "preferred_output", "preferred_response", "chosen_response", "chosen_answer",
          "response_chosen", "answer_chosen", "accepted", "accepted_response", "better", "better_response", "winning",
          "positive", "good_response", "good_answer", "response_j", "best", "pos")
REJECTED = ("rejected", "dispreferred", "non_preferred", "non_preferred_output", "nonpreferred", "unpreferred",
            "rejected_messages", "rejected_conversations", "rejected_response", "rejected_answer", "response_rejected",
            "answer_rejected", "declined", "worse", "worse_response", "losing", "negative", "bad_response",
            "bad_answer", "response_k", "worst", "neg")
SURE_LABEL = ("label", "labels", "kto_tag", "kto_label", "is_desirable", "desirable", "thumbs", "thumbs_up", "thumb")
LABEL = (*SURE_LABEL, "is_good", "good", "feedback", "vote", "verdict", "liked", "upvote", "upvoted", "rating",
         "is_correct", "correct", "accepted", "preference", "reaction", "quality", "reward", "score", "is_safe", "safe",
         "is_helpful", "is_acceptable")
"""Columns that may say whether an answer is good; all but the first only where some are bad."""
TEXT = ("text", "content", "document", "article", "body", "raw_text", "raw_content", "passage", "story", "page_content",
        "markdown", "paragraph", "sentence", "code", "full_text", "plain_text", "utt")
SCORES = ("score", "scores", "rating", "votes", "upvotes", "winner", "winner_model")
"""What columns with the score of one answer begin with: WebGPT's "score_0" and "score_1"; or with 1 for the winner."""
RATINGS = frozenset({"helpfulness", "correctness", "quality", "rating", "score", "overall_score", "reward"})
"""Columns that may say how good the answer of their row is."""
TOOLS = ("tools", "functions", "available_tools", "tool_definitions", "function_definitions", "function_description",
         "toolconfig", "function")
HISTORY = ("history", "past", "previous_turns", "chat_history")
WINNER = ("winner", "preference", "better_response_id", "better", "preferred", "better_response", "choice", "chosen",
          "label",
          "labels", "which_is_better", "vote")
STRENGTHS = ("preference_strength", "overall_preference")
"""Columns that say by a number which of two answers is better: below 0 the first, above it the second."""
DETAILS = (*BELOW, *TEXT, "description", "details", "issue")
"""Columns with the question where no other has it."""
MARKS = ("ner_tags", "pos_tags", "bio_tags", "chunk_tags")
"""Columns with a class for each word of a text."""
_BESIDE = """
    id idx index _id uuid guid row row_id sr sno s_no sr_no sl_no क्रम क्रमांक serial serial_no no number url uri
    link source_url date time timestamp created created_at updated updated_at author user_id name file filename
    file_name path page title topic topics category categories subject tag tags type kind class_name level
    difficulty language lang locale split subset license licence dataset domain hash length tokens num_tokens
    token_count word_count n_tokens model_name version status email phone is_impossible answer_start conversation_id
    prompt_id subreddit subreddit_id permalink flair publisher section department district state city country
    split_group source_dataset annotator worker_id worker batch file_upload current_node notes note comment comments
    remarks
"""
BESIDE = frozenset(_BESIDE.split())
"""Columns that say something about a row, but are neither asked nor answered."""
_CHANGES = """
    label labels kto_tag kto_label rejected chosen desirable tools functions tool_calls function_call image images
    picture photo audio audios video videos weight weights loss_weight sample_weight loss_mask mask train train_on
    learn loss split subset language lang history system reward score rating is_good train_on_turn choices options
    choice_a choice_b choice_c choice_d option_a option_b option_c option_d opa opb opc opd a b c d thinking thought
    thoughts inner_thoughts reasoning reasoning_content reasoning_trace thinking_trajectories chain_of_thought cot
    complex_cot helpfulness correctness quality winner preference choice better_response_id rank segments context
    input passage document evidence table code final_decision class sentiment emotion stars is_safe is_helpful
    is_acceptable is_correct correct toxic is_toxic harmful preference_strength overall_preference response_2
    response_b answer_2 answer_b output_2 output_b questions spans entities ner_tags responses generations corrected
    train_detail chat_template_kwargs documents passages knowledge retrieved_docs
"""
CHANGES = frozenset(_CHANGES.split())
"""Columns that change what is learned: people must know when one of them isn't used."""
_THOUGHTS = frozenset({"reasoning", "thinking", "thought", "thoughts", "think", "cot", "rationale", "rationales"})
_JUDGES = frozenset({"feedback", "vote", "verdict", "reaction", "thumbs", "accepted", "helpful", "correct", "right",
                     "useful", "liked", "satisfied", "desirable", "acceptable", "accurate", "सही", "उपयोगी", "अच्छा",
                     "সঠিক", "சரியான", "సరైన", "સાચો", "ಸರಿಯಾದ", "ਸਹੀ", "صحیح"})
"""Words in a longer name of a column that may say whether an answer is good: "Was it helpful?", "सही/गलत"."""
SHORT = 2
"""Letters of words that mean many things, such as "no" does."""
_PICTURES = """
    image images picture pictures photo audio audios video videos image_url image_path
"""
PICTURES = frozenset(_PICTURES.split())
"""Columns of what isn't text."""

LANGUAGE = re.compile(r"(?:.*_)?[a-z]{3}_[A-Z][a-z]{3}")
"""What columns of a language are called in the sets of AI4Bharat and in FLORES: "hin_Deva", "sentence_hin_Deva"."""
_BETWEEN = re.compile(r"[\s\u200b\ufeff_.:：*()\[\]/?!।,-]+")
_OF_CHOICE = re.compile(r"(?P<word>.+?)_?(?P<mark>(?<=_)(?:[a-z]|[^\W\d_a-z])|\d)")
SURE_LENGTH = 5
"""Shorter words in Latin letters mean other things elsewhere, such as "que" does."""
_CHOICE = re.compile(r"(?:choice|option|opt|alternative)_?\w")
_CAMEL = re.compile("(?<=[a-z])(?=[A-Z])")
QUESTIONS = frozenset({"question", "prompt", "query", "complaint", "instruction"})
"""Words that, in the name of a column, say that it holds questions."""
REPLIES_TO = frozenset({"answer", "reply", "response", "resolution", "solution", "output", "completion"})
"""The same for answers."""
_PLAIN_WORDS = QUESTIONS | REPLIES_TO | {"translation"}
_SERIES = {"choices": "choice", "alternatives": "alternative", "answer": "answer"}
"""What the columns of single choices are called, by the word for all of them: "विकल्प A", "Antwort A"."""


@lru_cache(maxsize=4096)  # all rows of a file have the same columns, or few different ones
def column(name: str) -> str:
    """The name by which a column is known: in lower case and English, "_" between its words.

    >>> column(" Reference Answer"), column("प्रश्न"), column("Réponse:"), column("विकल्प (२)")
    ('reference_answer', 'question', 'answer', 'choice_2')
    """
    plain = _plain(name)
    of_choice = _OF_CHOICE.fullmatch(plain)
    if of_choice and (series := _SERIES.get(_known().get(of_choice["word"], ""))):
        return f"{series}_{of_choice['mark']}"
    return _known().get(plain, plain)


def _plain(name: str) -> str:
    text = plain_digits(unicodedata.normalize("NFC", name).casefold())
    text = text.replace("\u200c", "").replace("\u200d", "")  # words are written with joiners and without
    return _BETWEEN.sub("_", text).strip("_") or name.strip()


def is_known(name: str) -> bool:
    """Whether a word is one that columns are called by, in any of the languages; or those of single choices."""
    known = column(name)
    return known in _ALL or name.strip().casefold() in _ALL or _CHOICE.fullmatch(known) is not None


def words_in(name: str) -> set[str]:
    """Plain words for question and answer within a longer name, as in "Question (Hindi)", "Frage des Kunden" or
    "userPrompt".

    >>> sorted(words_in("Question (Hindi)")), words_in("question_id")
    (['question'], set())
    """
    words = {_known().get(word, word) if not word.isascii() or len(word) >= SURE_LENGTH else word
             for word in _plain(_CAMEL.sub("_", name)).split("_")}
    return set() if words & _ABOUT else words & _PLAIN_WORDS


def is_about(name: str) -> bool:
    """Whether a column says something about its row by its name, as a date, a number or who it was: "आवेदक का नाम"."""
    return not _OF_ROW_WORDS.isdisjoint(_plain(name).split("_"))


def ask_and_answer(names: Sequence[str]) -> tuple[int, int] | None:
    """The places of the names of questions and of answers among those of a table; None if one of them is missing.

    >>> ask_and_answer(["Sl. No.", "Query of the customer", "Our reply"]), ask_and_answer(["Date of reply", "Query"])
    ((1, 2), None)
    """
    found = [words_in(name) | {column(name)} for name in names]
    asked, answered = (next((at for at, words in enumerate(found) if words & wanted), None)
                       for wanted in (QUESTIONS | {"questions", "faq"}, REPLIES_TO | {"answers"}))
    return None if asked is None or answered in (None, asked) else (asked, answered)


def rates(name: str) -> bool:
    """Whether a column may say how good the answer of its row is."""
    return column(name) in RATINGS or column(name).endswith("_rating")


def judges(name: str) -> bool:
    """Whether a column may say about an answer that it is good or bad."""
    return not _JUDGES.isdisjoint(_plain(name).split("_"))


def holds_thoughts(name: str) -> bool:
    """Whether a column has what a model thought before it answered, such as "deepseek_reasoning"."""
    words = set(_plain(name).split("_"))
    return bool(words & _THOUGHTS) and not words & _ABOUT


def is_sure(name: str) -> bool:
    """Whether a word is a name of what is asked or answered, and hardly that itself, such as "story" may be."""
    return column(name) in _SURE


@lru_cache(maxsize=1)
def _known() -> dict[str, str]:
    return {_plain(word): known for known, words in _WORDS.items() for word in words.split()}


_OF_ROW = """
    id ids type start end no number count length date time category score tokens level language index name url author by
    labelling labeling template is valid toks sha256 status address mobile संख्या सं क्र क्रमांक क्रम नंबर प्रकार दिनांक तिथि
    तारीख नाम नाव पता पत्ता स्थिति নাম নং তারিখ ঠিকানা எண் பெயர் முகவரி தேதி நிலை పేరు తేదీ సంఖ్య నంబర్ નામ તારીખ ಹೆಸರು ದಿನಾಂಕ ಸಂಖ್ಯೆ
    പേര് തീയതി ਨਾਮ ਮਿਤੀ ନାମ ତାରିଖ نام تاریخ نمبر پتہ link links
"""
_OF_ROW_WORDS = frozenset(map(_plain, _OF_ROW.split()))
_ABOUT = _OF_ROW_WORDS | {"source", "original", "choices", "options", "candidates", "input", "actual", "predicted"}
"""Words that change the meaning of a name: "question_id", "answer_start", "original_question"."""
_SURE = frozenset((*ASKED, *ANSWERED, *CONVERSATION, *CHOSEN, *REJECTED, *TOOLS, *_WORDS)) - {
    "language", "context", "q", "a", "story", "code"}
_ALL = frozenset((*ASKED, *ANSWERED, *BELOW, *CONVERSATION, *CHOSEN, *REJECTED, *LABEL, *TEXT, *TOOLS, *HISTORY,
                  *BESIDE, *_WORDS, "system", "choices", "options", "pattern", "exact", "category", "correct_option"))
