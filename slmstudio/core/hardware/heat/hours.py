"""The hours in which the machine may work, such as "22:00-06:00", by its own clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

_FORM = re.compile(r"(\d{1,2})(?::(\d\d))?\s*[-–]\s*(\d{1,2})(?::(\d\d))?")
EXAMPLE = "22:00-06:00"


@dataclass(frozen=True, slots=True)
class Hours:
    """From one time of the day to another, which may be of the next day.

    Moments are local times without a zone, as `datetime.now()` gives them: what a clock on the wall shows decides, also
    on the days on which it is put forward or back.
    """

    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> Hours:
        """Raises ValueError: it isn't two different times of the day with a hyphen between them."""
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise ValueError(text)
        start, end = (time() if (hour, minute or "00") == ("24", "00") else time(int(hour), int(minute or 0))
                      for hour, minute in ((found[1], found[2]), (found[3], found[4])))
        if start == end:
            raise ValueError(text)
        return cls(start, end)

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"

    def include(self, moment: datetime) -> bool:
        """Whether the machine may work then. The end isn't included."""
        now = moment.time()
        if self.start < self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end

    def next_start(self, moment: datetime) -> datetime:
        """When they begin after `moment`."""
        start = datetime.combine(moment.date(), self.start)
        return start if start > moment else start + timedelta(days=1)

    def seconds_until_done(self, moment: datetime, work_seconds: float) -> float:
        """How long this much work takes from `moment` on, when only these hours are worked in.

        A day is taken as 24 hours long, which an estimate may do.
        """
        start = moment if self.include(moment) else self.next_start(moment)
        end = datetime.combine(start.date(), self.end)
        first = ((end if end > start else end + timedelta(days=1)) - start).total_seconds()
        if work_seconds <= first:
            return (start - moment).total_seconds() + work_seconds
        length = (end - datetime.combine(start.date(), self.start)) % timedelta(days=1)
        nights, rest = divmod(work_seconds - first, length.total_seconds())
        if not rest:  # it ends as the hours do, and waits for no further night
            nights, rest = nights - 1, length.total_seconds()
        last = self.next_start(start) + timedelta(days=nights)
        return (last - moment).total_seconds() + rest
