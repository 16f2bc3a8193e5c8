"""Answers in which an assistant refuses, or speaks of itself as an AI, in the languages of India and some others."""

from __future__ import annotations

import re

APART = r"(?<![\w])"
_AS_AN_AI = (
    r"as an? (?:ai|artificial intelligence)(?:[ -](?:powered )?(?:language )?(?:model|assistant|chatbot|system)|,)",
    r"as a (?:large )?language model\b", r"i(?:'|’)?(?: a)?m (?:just |only )?an? (?:ai"
                                         r"|artificial intelligence)(?: language| model| assistant"
    r"| chatbot| system| program|[,.;!]| and\b| so\b| without| created| developed| trained|$)",
    r"my (?:knowledge|training)(?: data)? (?:cut-?off|only goes)",
    r"as of my (?:last|latest|most recent) (?:knowledge )?update",
    r"मैं (?:केवल |सिर्फ़? |बस )?एक (?:एआई|ए\.?आई\.?|ai\b|कृत्रिम बुद्धि|भाषा मॉडल)",
    r"(?:एआई|ai) (?:भाषा )?मॉडल के (?:रूप में|तौर पर|नाते)",
    r"(?:एआई|ai) (?:सहायक|असिस्टेंट) के (?:रूप में|तौर पर|नाते)", r"मी एक (?:एआई|ai\b)",
    r"(?:एआई|ai) (?:भाषा )?मॉडेल म्हणून",
    r"(?:এআই|ai) (?:ভাষা )?মডেল হিস[াে]বে", r"আমি একটি (?:এআই|ai\b|কৃত্রিম বুদ্ধিমত্তা)", r"(?:ஏஐ|ai) மொழி மாதிரி",
    r"நான் ஒரு (?:ஏஐ|ai\b|செயற்கை நுண்ணறிவு)", r"(?:ఏఐ|ai) (?:భాషా )?(?:నమూనా|మోడల్)", r"હું એક (?:એઆઈ|ai\b)",
    r"ನಾನು ಒಂದು (?:ಎಐ|ai\b)", r"ഞാൻ ഒരു (?:എഐ|ai\b)", r"ਮੈਂ ਇੱਕ (?:ਏਆਈ|ai\b)",
    r"(?:اے آئی|ai) (?:لینگویج )?ماڈل کے طور پر",
    r"como (?:un |uma? )?modelo de (?:lenguaje|linguagem)", r"como (?:una |uma )?(?:ia|inteligencia artificial"
                                                            r"|inteligência artificial),",
    r"en tant qu(?:e modèle de langage|['’]ia\b|['’]intelligence artificielle)",
    r"als (?:ki|ai|großes)[ -]?(?:sprachmodell|taalmodel)",
    r"als ki\b,?", r"как (?:языковая модель|ии\b|искусственный интеллект)",
    r"作为(?:一个|一名)?(?:人工智能|ai|语言模型)",
    r"كنموذج لغ(?:ة|وي)", r"sebagai (?:model bahasa|ai\b|kecerdasan buatan)",
)
_CANNOT = (
    r"(?:i(?:'|’)?(?: a)?m (?:very |really |so )?sorry|sorry|i apologi[sz]e|my apologies"
    r"|unfortunately),?(?: but)?,? (?:as an ai,? )?i"
    r"(?: can(?:not|(?:'|’)?t| not)| am (?:unable|not able)|(?:'|’)m (?:unable|not able)| won(?:'|’)t be able"
    r"| do not have|"
    r" don(?:'|’)t have)",
    r"i (?:can(?:not|(?:'|’)t)|am unable to|am not able to|won(?:'|’)t) (?:assist|help (?:you )?with|comply|fulfil"
    r"|provide (?:you )?"
    r"(?:with )?(?:that|this|information on how)|generate|engage|participate|support|promote)",
    r"(?:क्षमा करें|क्षमा कीजिए|माफ़? करें|माफ़? कीजिए|मुझे खेद है|मुझे अफ़?सोस है),? ?(?:लेकिन|परंतु|परन्तु|पर|कि"
    r"|किंतु)?,? ?मैं [^।\n]{0,120}नहीं",
    r"माफ करा,? ?(?:पण|परंतु)?,? ?मी [^.\n]{0,120}(?:नाही|शकत)",
    r"দুঃখিত,? ?(?:কিন্তু|তবে)?,? ?আমি [^।\n]{0,120}(?:না|পারি না|পারছি না)",
    r"மன்னிக்கவும்[^.\n]{0,120}(?:முடியாது|இயலாது)", r"క్షమించండి[^.\n]{0,120}(?:లేను|చేయలేను)",
    r"માફ કરશો[^.\n]{0,120}શકતો? નથી",
    r"ಕ್ಷಮಿಸಿ[^.\n]{0,120}(?:ಸಾಧ್ಯವಿಲ್ಲ|ಆಗುವುದಿಲ್ಲ)", r"ക്ഷമിക്കണം[^.\n]{0,120}(?:കഴിയില്ല|സാധിക്കില്ല)",
    r"معذرت[^۔\n]{0,120}نہیں", r"عذرًا،? ?(?:لكن )?(?:لا|لن) (?:أستطيع|يمكنني)", r"lo siento,?(?: pero)? no puedo",
    r"(?:désolée?|je suis désolée?),?(?: mais)? je ne (?:peux|suis)", r"(?:es )?tut mir leid,?(?: aber)? ich kann",
    r"(?:desculpe|sinto muito),?(?: mas)?(?: eu)? não posso", r"(?:извините|простите|к сожалению),?(?: но)? я не могу",
    r"(?:抱歉|对不起|很抱歉)[，,]?(?:但)?我(?:无法|不能)", r"maaf,?(?: tetapi| tapi)? saya tidak (?:bisa|dapat)",
)
_SPEAKS_OF_ITSELF = re.compile(APART + "(?:" + "|".join(_AS_AN_AI) + ")", re.IGNORECASE)
_REFUSES = re.compile(r"\W{0,3}(?:" + "|".join(_CANNOT) + ")", re.IGNORECASE)
"""At the beginning of an answer alone: people in stories say these things too."""
_AI_WORDS = ("an ai", "an artificial", "language model", "ai language", "my knowledge", "my training", "as of my",
             "एक ai", "एक a.i", "ai म",
             "ai भ", "ai स", "ai अ", "एआई", "ए.आई", "भाषा मॉडल", "एक कृत्रिम", "এআই", "একটি ai", "ai ভ", "ai হ",
             "ai ম", "একটি কৃত্রিম", "ஏஐ",
             "ai மொ", "ஒரு ai", "செயற்கை", "ఏఐ", "ai భ", "ai న", "ai మ", "એઆઈ", "એક ai", "ಎಐ", "ಒಂದು ai", "എഐ",
             "ഒരു ai", "ਏਆਈ", "ਇੱਕ ai",
             "اے آئی", "ai ماڈل", "ai لینگ", "modelo de", "como uma i", "como una i", "como ia", "como intel",
             "modèle de", "’ia", "'ia",
             "tant qu", "sprachmodell", "taalmodel", "als ki", "языковая", "как ии", "искусственный", "作为", "كنموذج",
             "model bahasa",
             "sebagai ai", "kecerdasan")
"""One of these is in every text that `_SPEAKS_OF_ITSELF` finds; looking for them is much quicker."""


_ASCII_AI_WORDS = tuple(filter(str.isascii, _AI_WORDS))


def refusal(answer: str) -> str | None:
    """What an assistant says about itself, or how it refuses, in English, fifteen languages of India and elsewhere."""
    found = _REFUSES.match(answer)
    if found is None and any(map(answer.casefold().__contains__, _ASCII_AI_WORDS if answer.isascii() else _AI_WORDS)):
        found = _SPEAKS_OF_ITSELF.search(answer)
    return None if found is None else found[0].strip()[:80]
