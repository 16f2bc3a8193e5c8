"""What the program says, in the language of who reads it: GNU gettext for window, terminal and workers alike.

`tr("{rows:,} rows are empty.", rows=rows)` translates a whole sentence and puts its values in. English is the source:
a message without a translation is shown as it is written in the code. The catalogues are
`resources/translations/LANGUAGE.po`; `packaging/translations.py` keeps them in step with the code.

Here lives what chooses, loads and applies a catalogue, and what makes the sentences of a file in the language of its
reader. Messages are in the modules that need them.
"""

from slmstudio.core.i18n.messages import (
    KEY,
    PSEUDO,
    VARIABLE,
    TranslatedText,
    available,
    date_text,
    is_known,
    is_right_to_left,
    join_sentences,
    language,
    nnoop,
    noop,
    ntr,
    number_text,
    ptr,
    retranslate,
    system_language,
    tr,
    use,
    with_path,
    with_sources,
    without_sources,
)

__all__ = ["KEY", "PSEUDO", "VARIABLE", "TranslatedText", "available", "date_text", "is_known", "is_right_to_left",
           "join_sentences", "language", "nnoop", "noop", "ntr", "number_text", "ptr", "retranslate",
           "system_language", "tr", "use", "with_path", "with_sources", "without_sources"]
