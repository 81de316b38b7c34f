"""ReportData to one HTML page. Autoescape is on: study names, policy ids, labels and reasons are text from outside."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from robomd_ros.core.agreement import in_words
from robomd_ros.report import plots
from robomd_ros.report.data import Rate, ReportData
from robomd_ros.report.images import png_data_uri
from robomd_ros.report.sentences import DASH, against_table, percent, span, verdict_words


def render(data: ReportData) -> str:
    """The whole page; it needs no other file and no network."""
    return _environment().get_template("report.html.j2").render(data=data)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    env = Environment(
        loader=PackageLoader("robomd_ros.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "percent": lambda v: percent(v) if math.isfinite(v) else DASH,
        "span": span,
        "of": lambda r: f"{r.failures}/{r.n}" if r.n else DASH,
        "number": _number,
        "day": _day,
        "minute": _minute,
        "heat": _heat,
        "png": png_data_uri,
        "verdict": verdict_words,
        "agreement": in_words,
    }
    env.globals |= {
        "isfinite": math.isfinite,
        "style": _stylesheet,
        "embedding_map": plots.embedding_map,
        "outside": plots.outside,
        "reliability": plots.reliability,
        "auc_bars": plots.auc_bars,
        "against_table": against_table,
    }
    return env


@lru_cache(maxsize=1)
def _stylesheet() -> Markup:
    """The page's own CSS, as it is: it comes with the package, not from a user."""
    loader = PackageLoader("robomd_ros.report", "templates")
    return Markup(loader.get_source(Environment(autoescape=True), "report.css")[0])


def _number(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else DASH


def _day(stamp: float) -> str:
    """ISO date, UTC."""
    return f"{datetime.fromtimestamp(stamp, UTC):%Y-%m-%d}" if math.isfinite(stamp) else "unknown"


def _minute(stamp: float) -> str:
    return (
        f"{datetime.fromtimestamp(stamp, UTC):%Y-%m-%d %H:%M} UTC"
        if math.isfinite(stamp)
        else "unknown"
    )


def _heat(rate: Rate) -> Markup:
    """CSS classes of a heat cell: its step of ten, so that no style rests on data from outside."""
    return Markup("none") if not rate.n else Markup("h{}").format(round(10 * rate.value))
