"""What the program says, in the language of who reads it: GNU gettext for window, terminal and workers alike.

`tr("{rows:,} rows are empty.", rows=rows)` translates a whole sentence and puts its values in. English is the source:
a message without a translation is shown as it is written in the code. The catalogues are
`resources/translations/LANGUAGE.po`; `packaging/translations.py` keeps them in step with the code.

Here lives what chooses, loads and applies a catalogue. What is said lives where it is said.
"""

from slmstudio.core.i18n.later import again, spoken, together, with_path
from slmstudio.core.i18n.messages import date_text, nnoop, noop, ntr, number_text, ptr, tr
from slmstudio.core.i18n.said import KEY, bare, kept, recalled
from slmstudio.core.i18n.speaking import (
    PSEUDO,
    VARIABLE,
    available,
    is_known,
    is_right_to_left,
    language,
    system_language,
    use,
)

__all__ = ["KEY", "PSEUDO", "VARIABLE", "again", "available", "bare", "date_text", "is_known", "is_right_to_left",
           "kept", "language", "nnoop", "noop", "ntr", "number_text", "ptr", "recalled", "spoken", "system_language",
           "together", "tr", "use", "with_path"]
