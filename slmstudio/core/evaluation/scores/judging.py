"""What a judge model said about two models' answers, and whether it can be believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from slmstudio.core.evaluation.scores.statistics import NORMAL_QUANTILE, wilson
from slmstudio.core.evaluation.scores.verdicts import holm, p_text
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.votes.store import BEST, Vote
from slmstudio.core.votes.tally import LEVEL, by_chance

TIE = "tie"
THINKING = "thinking"
"""Why an answer of the judge was cut."""
WINNERS = ("a", "b", TIE)
_OTHER = {"a": "b", "b": "a", TIE: TIE}


@dataclass
class _Pair:
    """What was said about two models: rows by their id, for each order who won, in the pair's own a and b.

    Attributes:
        too_long: rows that the judge wasn't asked about, in one order at least.
        thinking: rows about which it was still thinking when its tokens were used up, in one order at least.
    """

    a: str
    b: str
    rows: dict[Any, dict[str, str | None]]
    answers: int = 0
    unreadable: int = 0
    first_shown: int = 0
    decided: int = 0
    too_long: set[Any] = field(default_factory=set)
    thinking: set[Any] = field(default_factory=set)

    def add(self, line: Mapping[str, Any]) -> None:
        winner, order = line.get("winner"), str(line.get("order"))
        winner = winner if winner in WINNERS else None
        if line.get("skipped"):
            self.too_long.add(line.get("id"))
            return
        self.answers += 1
        if line.get("cut") == THINKING:
            self.thinking.add(line.get("id"))
        self.unreadable += winner is None
        if winner in ("a", "b"):
            self.decided += 1
            self.first_shown += order[:1] == winner
        if winner and line.get("a") == self.b:
            winner, order = _OTHER[winner], order[::-1]
        self.rows.setdefault(line.get("id"), {})[order] = winner

    def winners(self) -> dict[Any, str]:
        """Who won each row that was read in both orders: a tie where the two don't agree."""
        return {key: str(row["ab"]) if row["ab"] == row["ba"] else TIE
                for key, row in self.rows.items() if row.get("ab") and row.get("ba")}

    def without_verdict(self) -> int:
        """Rows that the judge was asked about, to no avail."""
        return len(self.rows.keys() - self.winners().keys() - self.too_long)

    def changed(self) -> int:
        return sum(None not in (one, other) and one != other
                   for one, other in ((row.get("ab"), row.get("ba")) for row in self.rows.values()))


def judge_summary(lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Wins of each pair of models. Only what a judge says in both orders counts; where they differ, the row is a tie.

    Args:
        lines: of judge.jsonl: {"id", "order": "ab" | "ba" (who was shown first), "a": name, "b": name,
            "winner": "a" | "b" (that name's, whatever the order) | "tie" | None (couldn't be read), "skipped": why
            the judge wasn't asked, "cut": "thinking" where it came to no verdict for that}.

    Returns:
        {"pairs": [{"a", "b", "rows", "wins_a", "wins_b", "ties", "changed_with_order", "answers", "unreadable",
        "without_verdict" (rows), "thinking" (of those, rows about which it was still thinking when its tokens were
        used up), "too_long" (rows for the judge's context, which it wasn't asked about),
        "first_shown" (percent of decided answers that went to the one shown first), "p", "sentence"}],
        "sentence": all of them}. p is that of the exact sign test, corrected where there are several pairs.
    """
    pairs: dict[frozenset[str], _Pair] = {}
    for line in lines:
        a, b = str(line.get("a")), str(line.get("b"))
        pairs.setdefault(frozenset((a, b)), _Pair(a, b, {})).add(line)
    found = [_counted(pair) for pair in pairs.values()]
    corrected = holm([each["p"] for each in found])
    return with_sentences([{**each, "p": p} for each, p in zip(found, corrected, strict=True)])


def with_sentences(pairs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What `judge_summary` returns of pairs that have no sentences yet, or sentences in another language."""
    found = [{**pair, "sentence": _sentence(pair)} for pair in pairs]
    return {"pairs": found, "sentence": " ".join(each["sentence"] for each in found)}


def _counted(pair: _Pair) -> dict[str, Any]:
    won = Counter(pair.winners().values())
    return {"a": pair.a, "b": pair.b, "rows": won.total(), "without_verdict": pair.without_verdict(),
            "thinking": len(pair.thinking - pair.too_long), "too_long": len(pair.too_long),
            "wins_a": won["a"], "wins_b": won["b"], "ties": won[TIE], "changed_with_order": pair.changed(),
            "answers": pair.answers, "unreadable": pair.unreadable,
            "first_shown": round(100 * pair.first_shown / pair.decided, 1) if pair.decided else None,
            "p": by_chance(won["a"], won["b"])}


def _sentence(pair: Mapping[str, Any]) -> str:
    rows, without = pair["rows"], pair["without_verdict"]
    asked = rows + without
    said = []
    if without:
        said.append(_unusable(without, asked, without <= rows, pair["thinking"]))
    if pair["too_long"]:
        said.append(tr("The judge wasn't asked about {too_long:,} of {rows:,} rows: with both answers they are longer "
                       "than its context. Choose a judge with a longer one, or let the models answer in fewer tokens.",
                       too_long=pair["too_long"], rows=asked + pair["too_long"]))
    if rows and pair["p"] < LEVEL:
        better, worse = ("a", "b") if pair["wins_a"] > pair["wins_b"] else ("b", "a")
        said.append(tr("The judge prefers {better} in {wins:,} of {rows:,} rows and {worse} in {losses:,}; {ties:,} "
                       "are ties, {p}.", better=pair[better], wins=pair[f"wins_{better}"], rows=rows,
                       worse=pair[worse], losses=pair[f"wins_{worse}"], ties=pair["ties"], p=p_text(pair["p"])))
    elif rows:
        said.append(ntr("For the judge, {n:,} row isn't enough to show a difference: {first} {wins:,}, {second} "
                        "{losses:,}, ties {ties:,}, {p}.",
                        "For the judge, {n:,} rows aren't enough to show a difference: {first} {wins:,}, {second} "
                        "{losses:,}, ties {ties:,}, {p}.", rows, first=pair["a"], wins=pair["wins_a"], second=pair["b"],
                        losses=pair["wins_b"], ties=pair["ties"], p=p_text(pair["p"])))
    if pair["changed_with_order"]:
        said.append(ntr("In {n:,} row, it changed its mind when the answers swapped places; it counts as a tie.",
                        "In {n:,} rows, it changed its mind when the answers swapped places; they count as ties.",
                        pair["changed_with_order"]))
    return " ".join(said)


def _unusable(without: int, asked: int, is_usable: bool, thinking: int) -> str:
    """How often the judge gave no verdict, and what to do where that is more often than not."""
    if is_usable:
        return tr("The judge gave no usable verdict for {without:,} of {rows:,} rows; they aren't counted.",
                  without=without, rows=asked)
    begin = tr("The judge gave no usable verdict for {without:,} of {rows:,} rows; don't rely on it.", without=without,
               rows=asked)
    if 2 * thinking >= without:
        remedy = ntr("In {n:,} row it was still thinking when its tokens were used up: choose a model that answers "
                     "without thinking first.",
                     "In {n:,} rows it was still thinking when its tokens were used up: choose a model that answers "
                     "without thinking first.", thinking)
    else:
        remedy = tr("Choose a larger model, which says A, B or tie when asked to.")
    return f"{begin} {remedy}"


# -- against the user's own votes ----------------------------------------------------------------------------


@dataclass(frozen=True)
class VotedPair:
    """Two answers that the user has judged blind, for the judge to judge too.

    Attributes:
        id: the number of the vote and of the two answers in it, such as "12.0.1".
        messages: the conversation that both answer.
        winner: what the user said: "a", "b" or "tie".
    """

    id: str
    messages: tuple[dict[str, str], ...]
    a: str
    b: str
    winner: str


def voted_pairs(votes: Sequence[Vote]) -> list[VotedPair]:
    """The pairs of different answers to the same conversation that were voted on without knowing the models' names."""
    found = []
    for number, vote in enumerate(votes):
        if not vote.blind:
            continue
        for one, other in combinations(range(len(vote.answers)), 2):
            a, b = vote.answers[one], vote.answers[other]
            if a.messages != b.messages or a.text == b.text:
                continue
            if vote.verdict == BEST and vote.best not in (one, other):
                continue
            winner = TIE if vote.verdict != BEST else "a" if vote.best == one else "b"
            found.append(VotedPair(f"{number}.{one}.{other}", a.messages, a.text, b.text, winner))
    return found


def agreement(pairs: Sequence[VotedPair], lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """How often the judge says what the user said.

    Args:
        lines: the judge's, as of judge.jsonl, with the pairs' ids; "a" and "b" may be any two names.

    Returns:
        {"votes": judged in both orders, "agreed", "share", "low", "high" (percent, 95%), "by_chance" (percent that
        would agree if the judge said as much by guessing), "kappa" (Cohen 1960; None if it has no meaning),
        "sentence"}.
    """
    found = _agreement_figures(pairs, lines)
    return {**found, "sentence": agreement_sentence(found)}


def _agreement_figures(pairs: Sequence[VotedPair], lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    judged = _Pair("a", "b", {})
    for line in lines:
        judged.add({**line, "a": "a", "b": "b"})
    said = judged.winners()
    both = [(pair.winner, said[pair.id]) for pair in pairs if pair.id in said]
    if not both:
        return {"votes": 0, "agreed": 0, "share": None, "low": None, "high": None, "by_chance": None, "kappa": None}
    rows, agreed = len(both), sum(user == judge for user, judge in both)
    low, high = wilson(agreed / rows, rows, NORMAL_QUANTILE)
    users, judges = Counter(user for user, _ in both), Counter(judge for _, judge in both)
    chance = sum(users[each] * judges[each] for each in WINNERS) / rows**2
    return {"votes": rows, "agreed": agreed, "share": round(100 * agreed / rows, 6), "low": round(100 * low, 6),
            "high": round(100 * high, 6), "by_chance": round(100 * chance, 6),
            "kappa": round((agreed / rows - chance) / (1 - chance), 6) if chance < 1 else None}


def agreement_sentence(found: Mapping[str, Any]) -> str:
    """What `agreement` found, in a sentence or two."""
    if not found["votes"]:
        return tr("The judge hasn't judged any of your blind votes.")
    share, low, high, chance = (found[key] / 100 for key in ("share", "low", "high", "by_chance"))
    said = tr("The judge agreed with {agreed:,} of your {rows:,} blind votes ({share:.0%}, {low:.0%} to {high:.0%}); "
              "guessing would agree with {chance:.0%}.", agreed=found["agreed"], rows=found["votes"], share=share,
              low=low, high=high, chance=chance)
    return said if low > chance else " ".join((said, tr("So don't rely on it.")))
