"""What is said about rows that were read in a special way, for one such row and for several."""

from __future__ import annotations

from slmstudio.core.i18n import nnoop

OF_TREE = nnoop("Of the replies in a tree, the best-ranked ones are read as one conversation ({n:,} row).",
                "Of the replies in a tree, the best-ranked ones are read as one conversation ({n:,} rows).")
GREETED = nnoop("What the assistant says before the first question is left out ({n:,} row).",
                "What the assistant says before the first question is left out ({n:,} rows).")
TEMPLATED = nnoop("Text that a chat template wrote is read as a conversation; the chosen model's template writes it "
                  "again ({n:,} row).",
                  "Texts that a chat template wrote are read as conversations; the chosen model's template writes them "
                  "again ({n:,} rows).")
OF_PEOPLE = nnoop("In a conversation of two people, the first one asks and the other one answers ({n:,} row).",
                  "In a conversation of two people, the first one asks and the other one answers ({n:,} rows).")
UNANSWERED = nnoop("A last message without an answer is left out ({n:,} row).",
                   "Last messages without an answer are left out ({n:,} rows).")
IN_LANGUAGES = nnoop('A row in several languages is read as one row for each language ({n:,} row). To read only one '
                     'language, choose its column as "messages".',
                     'A row in several languages is read as one row for each language ({n:,} rows). To read only one '
                     'language, choose its column as "messages".')
