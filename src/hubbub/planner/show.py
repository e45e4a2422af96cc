"""The planner's JSON as rich tables: every figure with its band and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from hubbub.planner.report import figure_of, flat, is_figure, is_percentiles, what_narrows
from hubbub.planner.units import show_bytes

_SKIP = {
    "kv_fill",
    "curve",
    "rows",
    "changes",
    "corrections",
    "scenarios",
    "tried",
    "samples",
    "narrower",
    "provenance",
}


def print_plan(console: Console, title: str, plan: Mapping[str, Any]) -> None:
    """All figures of a plan, one a line, percentiles side by side, then its lists."""
    spread = {key: value for key, value in plan.items() if is_percentiles(value)}
    table = _new_table(title, ("", "expected", "90 % band", "from"), "lrrl")
    for name, value in flat({k: v for k, v in plan.items() if k not in spread and k not in _SKIP}):
        if is_figure(value):
            figure = figure_of(value)
            table.add_row(name, *figure.parts(), figure.provenance.value)
        elif value is not None:
            table.add_row(name, _cell("", value) if isinstance(value, (bool, float)) else str(value))
    console.print(table)
    if spread:
        marks = tuple(dict.fromkeys(mark for group in spread.values() for mark in group))
        times = _new_table("", ("", *marks), "l" + "r" * len(marks))
        for key, group in spread.items():
            cells = [_cell("", group[mark]) if mark in group else "" for mark in marks]
            times.add_row(key.replace("_", " "), *cells)
        console.print(times)
    narrower = what_narrows(plan)
    if narrower:
        console.print(f"[dim]What would narrow the bands: {'; '.join(narrower)}[/dim]")
    for key in ("changes", "rows", "scenarios", "corrections", "tried"):
        if plan.get(key):
            console.print()
            print_rows(console, key, plan[key])


def _new_table(title: str, columns: Sequence[str], sides: str) -> Table:
    """``sides``: l or r, for each column."""
    table = Table(title=title or None, title_justify="left", show_edge=False, pad_edge=False)
    for column, side in zip(columns, sides, strict=True):
        table.add_column(column, justify="right" if side == "r" else "left")
    return table


def print_rows(console: Console, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    hidden = {"order", "quality", "flags", "own"} | ({"fits"} if all(row.get("fits", True) for row in rows) else set())
    keys = [k for k in dict.fromkeys(key for row in rows for key in row) if k not in hidden]
    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for key in keys:
        table.add_column(key.replace("_", " ").replace("pareto", ""), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(key, row.get(key)) for key in keys), style="bold" if row.get("pareto") else None)
    console.print(table)


def _cell(key: str, value: Any) -> str:
    if value is None:
        return ""
    if key == "pareto":
        return "[green]*[/green]" if value else ""
    if key == "ram":
        return show_bytes(float(value))
    if is_figure(value):
        figure = figure_of(value)
        band = figure.show().partition(" (")[2].rstrip(")").removesuffix(f" {figure.unit}")
        return figure.show(band=False) + (f"\n[dim]{band.replace(f' {figure.unit} to', ' to')}[/dim]" if band else "")
    if key == "price_usd":
        return f"${value:,.0f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    if isinstance(value, list):
        return "\n".join(_cell("", item) for item in value)
    if isinstance(value, Mapping):
        return ": ".join(_cell("", item) for item in value.values())
    return str(value)


def print_errors(console: Console, tables: Mapping[str, Any]) -> None:
    """The validation: errors overall, by class, metric, engine on hardware, set; the pure roofline beside them."""
    console.print(f"{tables['rows']} rows, {tables['out_of_scope']} out of scope")
    for reason, count in sorted(tables["out_of_scope_reasons"].items(), key=lambda item: -item[1])[:12]:
        console.print(f"[dim]  {count}: {reason}[/dim]")
    for name in ("all", "by_class", "by_metric", "by_set", "by_engine_hardware", "by_provenance"):
        parts = {"all": tables["all"]} if name == "all" else tables[name]
        table = Table(title=name.replace("_", " "), title_justify="left", show_edge=False, pad_edge=False)
        for column in ("", "rows", "median", "p90", "bias", "in the 90 % band", "roofline median"):
            table.add_column(column, justify="left" if not column else "right")
        for key, value in parts.items():
            if value["rows"]:
                roof = value["roofline_median"]
                table.add_row(
                    key,
                    str(value["rows"]),
                    f"{value['median']:.1%}",
                    f"{value['p90']:.1%}",
                    f"{value['bias']:+.1%}",
                    f"{value['coverage']:.0%}",
                    "" if roof is None else f"{roof:.0%}",
                )
        console.print(table)
