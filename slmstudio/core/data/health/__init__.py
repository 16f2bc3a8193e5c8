"""The health of a dataset: faults in its rows, rows that repeat or contradict each other, and personal data.

`checking.check` finds them, `fixing.fix` fixes what can be fixed; `kinds.KINDS` says what each kind is. `survey` goes
through the rows; what it looks for is in `text_checks` (single texts), `answers`, `repeats` and `near`.
"""
