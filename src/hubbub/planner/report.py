"""One self-contained HTML page from the planner's JSON: charts first, then tables, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from hubbub.planner.charts import Bar, Line, bar_chart, line_chart
from hubbub.planner.figures import Figure, Provenance

_STYLE = """
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#111827;background:#f8fafc}h1{font-size:1.6rem;margin:0}h2{margin-top:2.2rem}section{background:#fff;color:#111827;
border:1px solid #e2e8f0;border-radius:12px;padding:1rem 1.2rem;margin:1rem 0;overflow-x:auto}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #e2e8f0;vertical-align:top}
th.n,td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td small{display:block}small{color:#64748b}svg{width:100%;height:auto}table+table{margin-top:1.5rem}
.front{font-weight:600}@media(prefers-color-scheme:dark){body{background:#0f172a;color:#e2e8f0}}
"""


_NOTE = "Every figure carries a band that holds 90 % of measurements like it, and says where it comes from."


_SAID = ("setup", "model", "quant", "context")
"""What a part of a plan repeats of the whole."""


_NOTES = ("narrower", "provenance")


def figure_of(data: Mapping[str, Any]) -> Figure:
    return Figure(
        data["value"], data["low"], data["high"], data["unit"], Provenance(data["provenance"]), data.get("narrower", "")
    )


def is_figure(value: Any) -> bool:
    return isinstance(value, Mapping) and {"value", "low", "high", "provenance"} <= value.keys()


def charts_of(plan: Mapping[str, Any]) -> dict[str, str]:
    """The charts a plan's JSON has data for, by name."""
    found: dict[str, str] = {}
    curve: Sequence[Mapping[str, Any]] = plan.get("curve") or ()
    setup = str(plan.get("setup", ""))
    if curve:
        points = [(row["chats"], row["tokens_s"]) for row in curve]
        found["throughput"] = line_chart(
            "Tokens a second against chats",
            setup,
            "chats that talk at once (closed loop, with thinking time)",
            "tokens/s",
            [Line("all chats together", points)],
            log_x=True,
        )
        waits = [Line("95 % see the first token within, s", [(r["chats"], r["ttft_p95"]) for r in curve])]
        found["wait"] = line_chart(
            "Wait for the first token against chats",
            setup,
            "chats that talk at once",
            "seconds, 95th percentile",
            waits,
            log_x=True,
        )
    fill = plan.get("kv_fill") or ()
    if len(fill) > 1:
        found["kv"] = line_chart(
            f"KV cache in use with {plan.get('chats', '')} chats",
            setup,
            "seconds of simulated time",
            "share of the KV cache",
            [Line("held by running requests", fill)],
            y_max=1.0,
        )
    rows = [r for r in plan.get("rows", ()) if r.get("fits") and is_figure(r.get("time"))]
    for model in dict.fromkeys(r["model"] for r in rows):
        bars = [
            Bar(
                f"{r['machine']} {r['engine']} {r['quant']}",
                r["time"]["value"],
                r["time"]["low"],
                r["time"]["high"],
                r["pareto"],
            )
            for r in rows
            if r["model"] == model
        ]
        size = (plan.get("for") or {}).get("bytes") or 1e9
        found[f"time {model}"] = bar_chart(
            f"Time for {size / 1e9:g} GB of text by machine, {model}", "continuous batching", bars
        )
    ways = plan.get("scenarios") or ()
    if ways:
        bars = [
            Bar(o["setup"][:34], o["time"]["value"], o["time"]["low"], o["time"]["high"], w["way"].startswith("D"))
            for w in ways
            for o in w["ours"]
        ]
        found["scenarios"] = bar_chart(
            f"Four ways to write {plan['bytes'] / 1e9:g} GB", f"language: {plan['lang']}", bars
        )
    return found


def html_report(plans: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """A page of several plans, each with its title."""
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>Hubbub plan</title><style>{_STYLE}</style><h1>Hubbub plan</h1>",
        f"<p><small>{_NOTE}</small></p>",
    ]
    for title, plan in plans:
        parts.append(f"<h2>{escape(title)}</h2>")
        parts += [f"<section>{svg}</section>" for svg in charts_of(plan).values()]
        parts.append(f"<section>{_table(plan)}</section>")
        parts += [
            f"<section>{_rows(plan[key])}</section>"
            for key in ("rows", "changes", "corrections", "scenarios", "tried")
            if plan.get(key)
        ]
    parts.append("</html>")
    return "\n".join(parts)


def is_percentiles(value: Any) -> bool:
    """Whether it is a group of figures by percentile: ``p50``, ``p95``, ``p99``."""
    return isinstance(value, Mapping) and bool(value) and all(k[0] == "p" and is_figure(v) for k, v in value.items())


def what_narrows(plan: Mapping[str, Any]) -> list[str]:
    """What would narrow the plan's bands, each once."""
    figures = [figure_of(value) for _, value in flat(plan) if is_figure(value)]
    return list(dict.fromkeys(figure.narrower for figure in figures if figure.narrower))


def _table(plan: Mapping[str, Any]) -> str:
    spread = {key: value for key, value in plan.items() if is_percentiles(value)}
    lines = []
    for name, value in flat({key: value for key, value in plan.items() if key not in spread}):
        if is_figure(value):
            figure = figure_of(value)
            shown, band = figure.parts()
            source = escape(figure.provenance.value)
        elif isinstance(value, (str, int, float)) and not isinstance(value, bool) and name not in _NOTES:
            text = f"{value:,.4g}" if isinstance(value, float) else str(value)
            lines.append(f"<tr><td>{escape(name)}</td><td colspan=3>{escape(text)}</td></tr>")
            continue
        else:
            continue
        cells = f"<td class=n>{escape(shown)}</td><td class=n>{escape(band)}</td><td><small>{source}</small></td>"
        lines.append(f"<tr><td>{escape(name)}</td>{cells}</tr>")
    head = "<tr><th>figure<th class=n>expected<th class=n>90 % band<th>from</tr>"
    narrower = "; ".join(what_narrows(plan))
    below = f"<p><small>What would narrow the bands: {escape(narrower)}</small></p>" if narrower else ""
    return f"{_percentiles(spread)}<table>{head}{''.join(lines)}</table>{below}"


def _percentiles(spread: Mapping[str, Mapping[str, Any]]) -> str:
    if not spread:
        return ""
    marks = list(dict.fromkeys(mark for group in spread.values() for mark in group))
    head = "".join(f"<th class=n>{mark}" for mark in marks)
    body = []
    for name, group in spread.items():
        parts = [figure_of(group[mark]).parts() if mark in group else ("", "") for mark in marks]
        cells = "".join(f"<td class=n>{escape(shown)}<small>{escape(band)}</small></td>" for shown, band in parts)
        body.append(f"<tr><td>{escape(name.replace('_', ' '))}</td>{cells}</tr>")
    return f"<table><tr><th>{head}</tr>{''.join(body)}</table>"


def flat(plan: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The plan's figures and words by name, without its lists."""
    out: list[tuple[str, Any]] = []
    for key, value in plan.items():
        if prefix and key in _SAID:
            continue
        name = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, Mapping) and not is_figure(value):
            out += flat(value, f"{name}: ")
        elif not isinstance(value, list):
            out.append((name, value))
    return out


def _rows(rows: Sequence[Mapping[str, Any]]) -> str:
    keys = list(dict.fromkeys(key for row in rows for key in row if key not in ("order", "pareto")))
    head = "".join(f"<th>{escape(k.replace('_', ' '))}" for k in keys)
    body = []
    for row in rows:
        cells = "".join(f"<td>{_cell(row.get(k))}</td>" for k in keys)
        body.append(f"<tr class={'front' if row.get('pareto') else 'plain'}>{cells}</tr>")
    return f"<table><tr>{head}</tr>{''.join(body)}</table>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if is_figure(value):
        return escape(figure_of(value).show())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, list):
        return "<br>".join(_cell(item) for item in value)
    if isinstance(value, Mapping):
        return "; ".join(f"{escape(str(k))}: {_cell(v)}" for k, v in value.items())
    return escape(str(value))
