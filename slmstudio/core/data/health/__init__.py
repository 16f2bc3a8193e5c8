"""The health of a dataset: faults in its rows, rows that repeat or contradict each other, and personal data.

`survey.check` finds them, `fixing.fix` fixes what can be fixed; `kinds.KINDS` says what each kind is. What is looked
for is in `text_checks` (single texts), `answers`, `repeats` and `near`.
"""
