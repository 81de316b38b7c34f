"""A little inline SVG: a plot area with axes, coloured by the page's CSS variables so that it follows dark and light.

Every argument goes through Markup.format, which escapes it: titles may hold text from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup


@dataclass
class Chart:
    """A plot area on which marks are put in data coordinates; y points up.

    Attributes:
        label: what a screen reader says.
        x_range, y_range: data ranges of the axes.
        width, height: of the whole picture [px].
        left, right, top, bottom: margins around the plot area [px].
    """

    label: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    width: float = 560
    height: float = 420
    left: float = 52
    right: float = 16
    top: float = 14
    bottom: float = 46
    parts: list[Markup] = field(default_factory=list)

    def x(self, value: float) -> float:
        """Pixel column of a data value."""
        low, high = self.x_range
        return round(
            self.left + (value - low) / (high - low) * (self.width - self.left - self.right), 1
        )

    def y(self, value: float) -> float:
        """Pixel row of a data value."""
        low, high = self.y_range
        return round(
            self.height
            - self.bottom
            - (value - low) / (high - low) * (self.height - self.top - self.bottom),
            1,
        )

    def add(self, template: str, **values: object) -> None:
        """Append an element; `{name}` fields are escaped."""
        self.parts.append(Markup(template).format(**values))

    def line(
        self, start: tuple[float, float], end: tuple[float, float], css: str, title: str = ""
    ) -> None:
        """A straight line between two data points."""
        self.add(
            '<line class="{css}" x1="{a}" y1="{b}" x2="{c}" y2="{d}">{t}</line>',
            css=css, a=self.x(start[0]), b=self.y(start[1]), c=self.x(end[0]), d=self.y(end[1]), t=_title(title),
        )  # fmt: skip

    def text(
        self, at: tuple[float, float], text: str, css: str = "", dx: float = 0, dy: float = 0
    ) -> None:
        """Text at a data point, moved by pixels."""
        self.add(
            '<text class="{css}" x="{x}" y="{y}">{t}</text>',
            css=css,
            x=self.x(at[0]) + dx,
            y=self.y(at[1]) + dy,
            t=text,
        )

    def circle(self, at: tuple[float, float], radius: float, css: str, title: str = "") -> None:
        """A disc."""
        self.add(
            '<circle class="{css}" cx="{x}" cy="{y}" r="{r}">{t}</circle>',
            css=css, x=self.x(at[0]), y=self.y(at[1]), r=radius, t=_title(title),
        )  # fmt: skip

    def cross(self, at: tuple[float, float], size: float, css: str, title: str = "") -> None:
        """A diagonal cross: a shape that does not rest on colour alone."""
        x, y = self.x(at[0]), self.y(at[1])
        self.add(
            '<path class="{css}" d="M{a} {b}L{c} {d}M{a} {d}L{c} {b}">{t}</path>',
            css=css, a=round(x - size, 1), b=round(y - size, 1), c=round(x + size, 1), d=round(y + size, 1), t=_title(title),
        )  # fmt: skip

    def axes(
        self,
        x_name: str,
        y_name: str,
        x_ticks: Sequence[float] = (),
        y_ticks: Sequence[float] = (),
        suffix: str = "",
    ) -> None:
        """Grid lines with numbers, and the names of the axes; tick values are printed as percentages when suffix is "%"."""
        for value in x_ticks:
            self.line((value, self.y_range[0]), (value, self.y_range[1]), "grid")
            self.text((value, self.y_range[0]), _tick(value, suffix), "tick mid", dy=16)
        for value in y_ticks:
            self.line((self.x_range[0], value), (self.x_range[1], value), "grid")
            self.text((self.x_range[0], value), _tick(value, suffix), "tick end", dx=-8, dy=4)
        middle_x, middle_y = sum(self.x_range) / 2, sum(self.y_range) / 2
        self.add(
            '<text class="axis mid" x="{x}" y="{y}">{t}</text>',
            x=self.x(middle_x),
            y=self.height - 8,
            t=x_name,
        )
        self.add(
            '<text class="axis mid" transform="translate(14 {y}) rotate(-90)">{t}</text>',
            y=self.y(middle_y),
            t=y_name,
        )

    def svg(self, css: str = "chart") -> Markup:
        """The whole picture."""
        return Markup(
            '<svg class="{c}" viewBox="0 0 {w} {h}" role="img" aria-label="{l}">{p}</svg>'
        ).format(c=css, w=self.width, h=self.height, l=self.label, p=Markup("").join(self.parts))


def _title(text: str) -> Markup:
    return Markup("<title>{}</title>").format(text) if text else Markup("")


def _tick(value: float, suffix: str) -> str:
    return f"{100 * value:.0f}{suffix}" if suffix == "%" else f"{value:g}"
