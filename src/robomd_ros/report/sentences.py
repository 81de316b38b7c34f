"""The answer in three plain sentences, and what is missing for a better one."""

from __future__ import annotations

import math

from robomd_ros.core.variations import NOMINAL
from robomd_ros.report.data import Condition, Rate, ReportData, Verdict
from robomd_ros.report.words import listing

NAMED = 3
DASH = "–"


def percent(value: float) -> str:
    """Like "83 %", with a space that does not break; "unknown" for NaN."""
    return f"{100 * value:.0f}\N{NO-BREAK SPACE}%" if math.isfinite(value) else "unknown"


def of(rate: Rate) -> str:
    """Like "22 of 24", kept on one line."""
    return f"{rate.failures}\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}{rate.n}"


def span(low: float, high: float) -> str:
    """Like "40–60 %", kept on one line; "–" for NaN."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return DASH
    return f"{100 * low:.0f}\N{WORD JOINER}{DASH}\N{WORD JOINER}{percent(high)}"


def answer(data: ReportData) -> tuple[str, ...]:
    """Where it fails, how sure that is, what to do next."""
    if not data.tally.evidence.n:
        return (
            "Nothing can be said yet: no rollout of the policy has been labelled success or failure.",
            "A report needs labelled rollouts; unlabelled, invalid and stopped ones are not evidence.",
            "Run or label rollouts, then build the report again.",
        )
    return (where(data), how_sure(data), what_next(data))


def where(data: ReportData) -> str:
    """The worst confirmed conditions beside the unchanged scene."""
    nominal = data.nominal
    if _useless(data):
        return f"The policy fails already with nothing changed ({of(nominal)}): that is no question of variations."
    base = f"; with nothing changed it failed {of(nominal)}" if nominal.n else ""
    named = [f"{c.title} ({of(c.rate)})" for c in data.confirmed[:NAMED]]
    if named:
        more = len(data.confirmed) - len(named)
        rest = f" and under {more} more {_plural('condition', more)}" if more else ""
        return f"The policy fails more often than not under {listing(named)}{rest}{base}."
    risky = [c for c in data.ranking if c.trusted and c.p_low > 0.5 and c.id != NOMINAL]
    if risky:
        named = [f"{c.title} ({percent(c.p)})" for c in risky[:NAMED]]
        return (
            f"No condition is confirmed to fail yet; the most likely to are {listing(named)}{base}."
        )
    total = data.tally.evidence
    return f"No condition is confirmed to fail; over everything tried the policy failed {of(total)} rollouts{base}."


def how_sure(data: ReportData) -> str:
    """What the verdicts rest on, and how well failures are told from successes."""
    tally, quality = data.tally, data.quality
    open_ones = sum(c.verdict in (Verdict.OPEN, Verdict.UNTESTED) for c in data.ranking)
    start = f"This rests on {tally.evidence.n} labelled {_plural('rollout', tally.evidence.n)}"
    undecided = (
        f", {open_ones} of {len(data.ranking)} ranked conditions are still undecided"
        if open_ones
        else ""
    )
    if not data.trained:
        return f"{start}{undecided}; no model is trained, so nothing is said about conditions that were not run."
    if not math.isfinite(quality.auc):
        return f"{start}{undecided}; the model's predictions have not been checked on held-out rollouts, so take them as hints."
    return (
        f"{start}{undecided}; on {quality.rollouts} held-out ones the model gave the failure the higher risk in "
        f"{percent(quality.auc)} of pairs [{span(quality.auc_low, quality.auc_high)}], {against_table(data)}."
    )


def against_table(data: ReportData) -> str:
    """The comparison with the plain success table, said as it is: better only where the table lies below the interval."""
    quality, table = data.quality, data.quality.auc_success_table
    low, high = quality.auc_low, quality.auc_high
    if not math.isfinite(table):
        return "and the plain success table was not measured beside it"
    if table < low:
        return f"better than the plain success table ({percent(table)})"
    if table > high:
        return f"which is worse than the plain success table ({percent(table)}): where a condition has been run, trust its raw rate"
    return f"which is not shown to beat the plain success table ({percent(table)}): the model's use is in conditions without a row there"


def what_next(data: ReportData) -> str:
    """The first thing to collect, and the first thing to try."""
    if _useless(data):
        return "Run the preflight on the policy first: wrong image, action space or version explain a failure without variations more often than the policy does."
    collect = ""
    if data.demands:
        total = sum(d.demonstrations for d in data.demands)
        first = data.demands[0]
        many = len(data.demands)
        spread = (
            f"under {first.condition.title}"
            if many == 1
            else f"under {many} conditions, {first.demonstrations} of them under {first.condition.title}"
        )
        unsure = " once repeats have confirmed it" if first.confirm_first else ""
        collect = f"collect {total} demonstrations {spread}{unsure}"
    try_next = ""
    if data.next_tries:
        first_try = data.next_tries[0]
        few = first_try.changes <= 2
        named = (
            first_try.title
            if few
            else f"the first combination of {first_try.changes} changes below"
        )
        try_next = f"try {named} next"
    if not collect and not try_next:
        if data.trained:
            return "Nothing stands out to mend: try composed and continuous variations next."
        return "Train the models on this study to get suggestions for conditions that were not run."
    text = ", and ".join(t for t in (collect, try_next) if t)
    return f"{text[0].upper()}{text[1:]}; after any fine-tuning, test everything again."


def missing(data: ReportData) -> tuple[str, ...]:
    """What the report could not show, and what to do about it."""
    out = []
    tally = data.tally
    if not data.trained:
        out.append(
            "No model is trained: probabilities, the embedding map and suggestions are left out. Train them, then build the report again."
        )
    elif not any(math.isfinite(c.density_ratio) for c in data.ranking):
        out.append("No search policy is trained: densities and its proposals are left out.")
    if tally.evidence.n and not data.nominal.n:
        out.append(
            "The unchanged scene was never run: nothing says what the policy does without variations."
        )
    if tally.evidence.n and not tally.controls:
        out.append(
            "No negative control: a rollout without any motion would show that the success check does not fire by itself."
        )
    if tally.controls_succeeded:
        out.append(
            f"{tally.controls_succeeded} of {tally.controls} negative controls SUCCEEDED without any motion: the success "
            "check cannot be trusted, nor can anything on this page."
        )
    if len(data.identity.policies) > 1:
        out.append(
            "More than one policy ran in this study: its figures mix them. Keep one study a policy."
        )
    if tally.without_frame:
        out.append(
            f"{tally.without_frame} {_plural('rollout', tally.without_frame)} without a camera image before the policy moved."
        )
    return tuple(out)


def _useless(data: ReportData) -> bool:
    return any(c.id == NOMINAL and c.verdict is Verdict.FAILS for c in data.ranking)


def _plural(word: str, n: int) -> str:
    return word if n == 1 else f"{word}s"


def verdict_words(condition: Condition) -> str:
    """The verdict as a person would say it."""
    return {
        Verdict.FAILS: "fails",
        Verdict.WORSE: "worse",
        Verdict.WORKS: "works",
        Verdict.OPEN: "undecided",
        Verdict.UNTESTED: "never run",
    }[condition.verdict]
