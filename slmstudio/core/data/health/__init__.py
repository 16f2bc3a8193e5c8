"""The health of a dataset: faults in its rows, rows that repeat or contradict each other, and personal data.

`survey.check` finds them, `survey.fix` fixes what can be fixed; `finding.KINDS` says what each kind is, and the tables
of `survey` how it is found.
"""
