"""Rows for the tests of a dataset's health: sound ones in six scripts, and sentences with and without identifiers."""

from __future__ import annotations

import random
import unicodedata
from dataclasses import replace

from slmstudio.core.data.health.finding import KINDS
from slmstudio.core.data.record import Record

WORDS_OF = {
    "Latin": """
        river mountain garden teacher village market season harvest bridge letter window kitchen doctor singer
        painter forest island morning evening winter summer music story journey colour number family friend
        water people school travel answer question village history picture machine engine factory
    """,
    "Devanagari": """
        नदी पहाड़ बगीचा शिक्षक गाँव बाज़ार मौसम फसल पुल चिट्ठी खिड़की रसोई चिकित्सक गायक चित्रकार जंगल द्वीप
        सुबह शाम सर्दी गर्मी संगीत कहानी यात्रा रंग संख्या परिवार मित्र पानी लोग विद्यालय सड़क उत्तर प्रश्न
        इतिहास चित्र यंत्र कर्‍ता
    """,
    "Bengali": """
        নদী পাহাড় বাগান শিক্ষক গ্রাম বাজার মৌসুম ফসল সেতু চিঠি জানালা রান্নাঘর চিকিৎসক গায়ক চিত্রকর বন দ্বীপ
        সকাল সন্ধ্যা শীত গ্রীষ্ম সঙ্গীত গল্প যাত্রা রং সংখ্যা পরিবার বন্ধু জল মানুষ বিদ্যালয় পথ উত্তর প্রশ্ন
        ইতিহাস ছবি যন্ত্র র‍্যাম
    """,
    "Tamil": """
        நதி மலை தோட்டம் ஆசிரியர் கிராமம் சந்தை பருவம் அறுவடை பாலம் கடிதம் ஜன்னல் சமையலறை மருத்துவர் பாடகர்
        ஓவியர் காடு தீவு காலை மாலை குளிர் கோடை இசை கதை பயணம் நிறம் எண் குடும்பம் நண்பர் தண்ணீர் மக்கள் பள்ளி
        சாலை பதில் கேள்வி வரலாறு படம்
    """,
    "Telugu": """
        నది కొండ తోట ఉపాధ్యాయుడు గ్రామం మార్కెట్ కాలం పంట వంతెన ఉత్తరం కిటికీ వంటగది వైద్యుడు గాయకుడు
        చిత్రకారుడు అడవి ద్వీపం ఉదయం సాయంత్రం చలికాలం వేసవి సంగీతం కథ ప్రయాణం రంగు సంఖ్య కుటుంబం స్నేహితుడు నీరు
        ప్రజలు పాఠశాల దారి సమాధానం ప్రశ్న చరిత్ర
    """,
    "Arabic": """
        نهر جبل حديقة معلم قرية سوق موسم حصاد جسر رسالة نافذة مطبخ طبيب مغني رسام غابة جزيرة صباح مساء شتاء صيف
        موسيقى قصة رحلة لون رقم عائلة صديق ماء ناس مدرسة طريق جواب سؤال تاريخ صورة آلة محرك مصنع کتاب‌ها می‌رود
    """,
}
STOPS = {"Devanagari": "।", "Bengali": "।"}
WORDS = {script: unicodedata.normalize("NFC", words).split() for script, words in WORDS_OF.items()}


def fixes(*kinds: str) -> dict[str, str]:
    """For each kind that has one, the first choice that changes rows."""
    return {kind: choice for kind in kinds if (choice := KINDS[kind].fix) is not None}


def sentence(chance: random.Random, script: str, words: int) -> str:
    """Words of one script in any order."""
    return " ".join(chance.choices(WORDS[script], k=words)) + STOPS.get(script, ".")


def chat(question: str, answer: str, line: int = 1) -> Record:
    """One question with its answer."""
    return Record(({"role": "user", "content": question}, {"role": "assistant", "content": answer}), line)


def clean_rows(count: int, seed: int = 0) -> list[Record]:
    """Sound rows, of which none is like another."""
    chance = random.Random(seed)
    scripts = list(WORDS)
    rows = []
    for line in range(1, count + 1):
        script = scripts[line % len(scripts)]
        question = sentence(chance, script, chance.randint(8, 14))[:-1] + "?"
        answer = " ".join(sentence(chance, script, chance.randint(6, 12)) for _ in range(chance.randint(1, 3)))
        rows.append(chat(question, answer, line))
    return rows


def with_answer(row: Record, answer: str) -> Record:
    """The row with another last answer."""
    return replace(row, messages=(*row.messages[:-1], {"role": "assistant", "content": answer}))


def with_in_answer(row: Record, piece: str) -> Record:
    """The row with something put after the first word of its answer."""
    first, _, rest = row.messages[-1]["content"].partition(" ")
    return with_answer(row, f"{first} {piece} {rest}")


def digits(chance: random.Random, count: int) -> str:
    """So many digits, the first of which isn't 0."""
    return chance.choice("123456789") + "".join(chance.choices("0123456789", k=count - 1))
