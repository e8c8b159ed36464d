"""What a part of the bench hands back: a table to read, and the same as data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


class Report(NamedTuple):
    """The result of one part."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    data: Any = None
    """The figures as measured, for ``--json``."""

    def text(self) -> str:
        """Title, table (first column to the left, figures to the right) and notes, in Markdown."""
        widths = [max(3, *map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = [_line(row, widths) for row in (self.columns, rules, *self.rows)]
        return "\n".join([self.title, "", *lines, *([""] if self.notes else []), *self.notes])


def _line(cells: Iterable[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return f"| {' | '.join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)])} |"
