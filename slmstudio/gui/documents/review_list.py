"""Which pairs are reviewed, in which order, which one is looked at, and how long the rest takes. No Qt."""

from __future__ import annotations

import time
from dataclasses import dataclass

from slmstudio.core.documents.project import ACCEPTED, REJECTED, RESTORED, Pair, Project
from slmstudio.core.time_left import TimeLeft

WAITING, TAKEN, DROPPED, LEFT_OUT, ALL = "waiting", "accepted", "rejected", "left_out", "all"
SCOPES = (WAITING, TAKEN, DROPPED, LEFT_OUT, ALL)
"""As the fields of `Counts` are called."""
LONGEST_SECONDS = 120.0
"""Who looks at a pair for longer has done something else meanwhile: that says nothing about their pace."""
FEWEST = 3
"""Decisions that are needed before a pace is known."""


def state_of(pair: Pair) -> str:
    """One of SCOPES but `ALL`."""
    if pair.is_accepted:
        return TAKEN
    if pair.decision == REJECTED:
        return DROPPED
    return LEFT_OUT if pair.is_left_out else WAITING


@dataclass(frozen=True)
class Filters:
    """Which pairs are shown; "" shows all.

    Attributes:
        scope: one of SCOPES.
        doubt: a code of those that are left out.
        document: its name.
        section: its id.
    """

    scope: str = WAITING
    doubt: str = ""
    document: str = ""
    section: str = ""
    kind: str = ""


class ReviewList:
    """The pairs of a project that the filters show. What is decided stays in its place until they change, so that one
    can go back to it.

    Attributes:
        pairs: all of the project, by id.
        shown: ids of those that the filters show.
        sections: by id, of those that have pairs: the document, and the headings.
    """

    def __init__(self, project: Project):
        self.project, self.filters = project, Filters()
        self.pairs: dict[str, Pair] = {}
        self.shown: list[str] = []
        self.sections: dict[str, tuple[str, str]] = {}
        self.kinds: list[str] = []
        self._at = 0
        self._pace, self._since = TimeLeft(FEWEST), time.monotonic()
        self.take_in()

    # -- what is shown ----------------------------------------------------------------------------------------

    def take_in(self) -> None:
        """Show what the project has now: pairs that are new come at the end."""
        before = self.pairs
        self.pairs = {pair.id: pair for pair in self.project.pairs()}
        new = [pair for pair in self.pairs.values() if pair.id not in before]
        for pair in new:
            section = self.project.section_of(pair)
            if section not in self.sections:
                passage = self.project.passages()[pair.passage]
                self.sections[section] = passage.document, " › ".join(passage.heading)
        self.kinds = list(dict.fromkeys([*self.kinds, *(pair.kind for pair in new)]))
        self.shown += [pair.id for pair in new if self._matches(pair)]

    def _matches(self, pair: Pair) -> bool:
        wanted = self.filters
        return ((wanted.scope in (ALL, state_of(pair))) and (not wanted.doubt or wanted.doubt in pair.doubts)
                and (not wanted.kind or wanted.kind == pair.kind)
                and (not wanted.document or wanted.document == self.project.document_of(pair))
                and (not wanted.section or wanted.section == self.project.section_of(pair)))

    def filter(self, filters: Filters) -> None:
        """Show others, the pair that was looked at first if it is among them."""
        current = self.current
        self.filters = filters
        self.shown = [pair.id for pair in self.pairs.values() if self._matches(pair)]
        self._at = 0
        if current is not None and current.id in self.shown:
            self._at = self.shown.index(current.id)

    @property
    def current(self) -> Pair | None:
        """None where nothing is shown."""
        return self.pairs[self.shown[self._at]] if self.shown else None

    @property
    def place(self) -> int:
        """Of the current pair among those that are shown, from 1."""
        return self._at + 1

    def step(self, by: int) -> bool:
        """Go to the next pair (1) or the one before (-1). False at the end."""
        at = min(max(self._at + by, 0), len(self.shown) - 1)
        moved, self._at = at != self._at and bool(self.shown), max(at, 0)
        if moved:
            self._since = time.monotonic()
        return moved

    def show(self, key: str) -> None:
        """Go to a pair, and show all where the filters don't show it."""
        if key not in self.shown:
            self.filter(Filters(ALL))
        self._at = self.shown.index(key)

    # -- what is decided --------------------------------------------------------------------------------------

    def decide(self, decision: str, **texts: str) -> None:
        """Keep a decision on the current pair, and go to the next one: in the scope of those that wait, to the next one
        that does.

        Args:
            texts: for `EDITED`, those that were changed.

        Raises:
            UserError: it can't be written.
        """
        if (pair := self.current) is not None:
            self._keep([pair.id], decision, **texts)
            if decision != RESTORED:
                self._advance()

    def decide_section(self) -> int:
        """Accept what waits in the current pair's section, and go on. Returns how many those were. As `decide`."""
        if (pair := self.current) is None:
            return 0
        section = self.project.section_of(pair)
        waiting = [each.id for each in self.pairs.values() if each.is_waiting
                   and self.project.section_of(each) == section]
        if waiting:
            self._keep(waiting, ACCEPTED)
            self._advance()
        return len(waiting)

    def undo(self) -> bool:
        """Take the last decision back, and show its pair. False if there is none. Raises as `decide`."""
        key = self.project.undo()
        self.take_in()
        if key is not None and key in self.pairs:
            self.show(key)
        return key is not None

    def _keep(self, keys: list[str], decision: str, **texts: str) -> None:
        self.project.decide(keys, decision, **texts)
        self.take_in()
        now = time.monotonic()
        if decision != RESTORED:
            if now - self._since <= LONGEST_SECONDS:
                self._pace.took("pair", now - self._since, len(keys))
            self._since = now

    def _advance(self) -> None:
        if self.filters.scope != WAITING:
            self.step(1)
            return
        order = [*range(self._at + 1, len(self.shown)), *range(self._at)]
        self._at = next((at for at in order if self.pairs[self.shown[at]].is_waiting), self._at)

    @property
    def waits(self) -> bool:
        """Whether something that is shown is still to be decided."""
        return any(self.pairs[key].is_waiting for key in self.shown)

    # -- figures ----------------------------------------------------------------------------------------------

    def seconds_left(self, waiting: int) -> float | None:
        """How long it takes to decide on so many, at this person's pace; None while that isn't known."""
        return self._pace.left(pair=waiting) if waiting else None

