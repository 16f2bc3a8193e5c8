"""The doctor: what on this machine gets in the way of training, why, and how to fix it.

`facts` names everything that is looked at, and the modules beside it find it out: `gather`, `cards` (graphics),
`packages`, `storage`, `system`. `checks_*` judge facts and touch nothing, so that a fault can be tried by writing it
down. `share` takes personal data out of a report. What only torch can say comes from a child process, which
`core.checkup` starts.
"""
