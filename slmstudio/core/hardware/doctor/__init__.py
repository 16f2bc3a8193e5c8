"""The doctor: what on this machine gets in the way of training, why, and how to fix it.

`facts` names everything that is looked at and what is said about it; `gather` and `system` look. `checks_*` judge facts
and touch nothing, so that a fault can be tried by writing it down. What only torch can say comes from a child process,
which `core.checkup` starts; that also takes personal data out of a report.
"""
