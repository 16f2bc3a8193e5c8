"""Numbers as people read them: bytes, durations and counts, each with its unit.

Every size in the program is written by one rule, so that figures can be compared with each other: powers of 1024, with
the units' everyday names. So a 12 GB card reads "12 GB", as its vendor prints it, and a file shows what Windows shows.
"""

from __future__ import annotations

import math
import unicodedata

from slmstudio.core.i18n import noop, ntr, number_text, tr

# -- Digits of every script as the digits 0 to 9.


def plain_digits(text: str) -> str:
    """Digits of every script as 0 to 9, and the Arabic decimal and thousands signs as "." and ",".

    >>> plain_digits("१२,३४,५६७ ٤٫٥ 2")
    '12,34,567 4.5 2'
    """
    return text if text.isascii() else text.translate(_PLAIN)


class _Plain(dict[int, str]):
    """What stands for each code point that was asked for: for a digit the plain one, for any other itself."""

    def __missing__(self, code: int) -> str:
        self[code] = found = str(unicodedata.decimal(chr(code), chr(code)))
        return found


_PLAIN = _Plain({ord("٫"): ".", ord("٬"): ","})


_ROUNDING = ((55, 10), (3600, 60), (5 * 3600, 300), (24 * 3600, 3600), (math.inf, 4 * 3600))
"""Below this many seconds, an estimate is rounded to this many."""
_COUNT_UNITS = ((1e12, noop("{number} T")), (1e9, noop("{number} B")), (1e6, noop("{number} M")),
                (1e3, noop("{number} K")))
_MINUTES_AND_SECONDS = (noop("{number} min"), noop("{number} s"))
_HOURS_AND_MINUTES = (noop("{number} h"), noop("{number} min"))
_DAYS_AND_HOURS = (noop("{number} d"), noop("{number} h"))
_SIZE_UNITS = (noop("{number} KB"), noop("{number} MB"), noop("{number} GB"), noop("{number} TB"))


def format_bytes(size: float) -> str:
    """A size in bytes, in units of 1024: GB and TB with one decimal, MB and KB with one below 10.

    >>> format_bytes(12 * 1024**3), format_bytes(9.1 * 1024**3), format_bytes(98 * 1024**2), format_bytes(0)
    ('12 GB', '9.1 GB', '98 MB', '0 bytes')
    """
    sign, size = ("−" if size < 0 else ""), abs(size)
    if round(size) < 1024:
        return sign + ntr("{n} byte", "{n} bytes", round(size))
    for power, unit in enumerate(_SIZE_UNITS[:-1], start=1):
        value = size / 1024**power
        value = round(value, 1 if value < 10 or (power == 3 and value < 100) else 0)
        if value < 1024:
            return tr(unit, number=f"{sign}{_plain(value)}")
    return tr(_SIZE_UNITS[-1], number=f"{sign}{_plain(round(size / 1024**4, 1))}")


def format_span(low: float, high: float) -> str:
    """A range of sizes, with the unit once where it is the same.

    >>> format_span(7.9 * 1024**3, 8.6 * 1024**3), format_span(900 * 1024**2, 1.2 * 1024**3), format_span(512, 512)
    ('7.9–8.6 GB', '900 MB – 1.2 GB', '512 bytes')
    """
    first, last = format_bytes(low), format_bytes(high)
    if first == last:
        return first
    number, unit = first.split(" ", 1)
    return f"{number}–{last}" if last.endswith(f" {unit}") else f"{first} – {last}"


def format_duration(seconds: float) -> str:
    """A length of time in the two units that matter. Seconds are left out from ten minutes on.

    >>> [format_duration(s) for s in (0.42, 12, 95, 3480, 6540, 7200, 100_000)]
    ['0.4 s', '12 s', '1 min 35 s', '58 min', '1 h 49 min', '2 h', '1 d 4 h']

    Not a number, or without end: "unknown", as for the time left of something that makes no progress.
    """
    if not math.isfinite(seconds):
        return tr("unknown")
    seconds = max(0.0, seconds)
    if round(seconds, 1) < 1:
        return tr("{number} s", number=_plain(round(seconds, 1)))
    if (whole := round(seconds)) < 60:
        return tr("{number} s", number=whole)
    if whole < 600:
        return _two_units(whole, 60, *_MINUTES_AND_SECONDS)
    if (minutes := round(seconds / 60)) < 24 * 60:
        return _two_units(minutes, 60, *_HOURS_AND_MINUTES)
    return _two_units(round(seconds / 3600), 24, *_DAYS_AND_HOURS)


def format_loss(loss: float | None) -> str:
    """A loss with three decimals; a word for one that ran away until it wasn't a number, a dash for none.

    >>> format_loss(1.23456), format_loss(float("nan")), format_loss(None)
    ('1.235', 'diverged', '–')
    """
    if loss is None:
        return "–"
    return f"{loss:.3f}" if math.isfinite(loss) else tr("diverged")


def format_about(seconds: float) -> str:
    """An estimate of a length of time, no more exact than an estimate is: two digits at most, so that it rests.

    >>> [format_about(s) for s in (4, 26, 57, 95, 760, 3480, 5000, 40_000, 200_000)]
    ['a few seconds', 'about 30 s', 'about 1 min', 'about 2 min', 'about 13 min', 'about 58 min', 'about 1 h 25 min', \
'about 11 h', 'about 2 d 8 h']
    """
    if not math.isfinite(seconds):
        return tr("unknown")
    if seconds < 10:
        return tr("a few seconds")
    return tr("about {time}", time=format_duration(rounded(seconds)))


def format_about_range(low: float, high: float) -> str:
    """A length of time of which little is known.

    >>> format_about_range(500, 4500), format_about_range(4, 26), format_about_range(100, 110)
    ('8 min to 1 h 15 min', '4 s to 30 s', 'about 2 min')
    """
    texts = [format_duration(rounded(max(1.0, seconds))) for seconds in (low, high)]
    return format_about(high) if texts[0] == texts[1] else tr("{low} to {high}", low=texts[0], high=texts[1])


def rounded(seconds: float) -> float:
    """No more exact than an estimate is: two digits at most."""
    step = next(step for limit, step in _ROUNDING if seconds < limit) if seconds >= 10 else 1
    return step * round(seconds / step) or seconds


def format_energy(joules: float) -> str:
    """An amount of energy with two digits, for part of it is estimated: watt-hours below a tenth of a kilowatt-hour.

    >>> [format_energy(j) for j in (0, 600, 45_000, 1_120_000, 12_345_678, 4.5e9)]
    ['0 Wh', '0.17 Wh', '12 Wh', '0.31 kWh', '3.4 kWh', '1,200 kWh']
    """
    hours = joules / 3600
    if hours < 100:
        return tr("{number} Wh", number=_two_digits(hours))
    return tr("{number} kWh", number=_two_digits(hours / 1000))


def format_weight(grams: float) -> str:
    """A weight with two digits, in grams below a kilogram.

    >>> format_weight(0.4), format_weight(226.3), format_weight(1234.5)
    ('0.4 g', '230 g', '1.2 kg')
    """
    if grams < 995:
        return tr("{number} g", number=_two_digits(grams))
    return tr("{number} kg", number=_two_digits(grams / 1000))


def format_reading(value: float, unit: str) -> str:
    """What a sensor says, as a whole number with its unit.

    >>> format_reading(78.4, "°C"), format_reading(45, "%")
    ('78 °C', '45%')
    """
    return f"{number_text(value, ',.0f')}{'' if unit == '%' else ' '}{unit}"


def format_count(count: float) -> str:
    """How many: exact below 10,000, else three digits and K, M, B (10⁹) or T.

    >>> [format_count(n) for n in (0, 7473, 151_936, 134_515_008, 1_540_000_000, 8_000_000_000)]
    ['0', '7,473', '152 K', '135 M', '1.54 B', '8 B']
    """
    if abs(count) < 10_000 and round(abs(count)) < 10_000:
        return number_text(round(count)).replace("-", "−")
    value = float(f"{count:.3g}")
    size, unit = next((size, unit) for size, unit in _COUNT_UNITS if abs(value) >= size)
    return tr(unit, number=f"{value / size:.4g}".replace("-", "−"))


def _two_units(count: int, size: int, upper: str, lower: str) -> str:
    """`count` of the lower unit, with `size` of them to one of the upper; a unit that is zero is left out."""
    high, low = divmod(count, size)
    return " ".join(tr(unit, number=number) for number, unit in ((high, upper), (low, lower)) if number)


def _two_digits(value: float) -> str:
    return number_text(float(f"{value:.2g}"), ",.10g")


def _plain(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
