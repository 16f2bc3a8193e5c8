"""The health of a dataset: faults in its rows, rows that repeat or contradict each other, and personal data.

`survey.check` finds them, `survey.fix` does what was decided about them; `finding.KINDS` says what each kind is and
what can be decided, and the tables of `survey` how it is found.
"""
