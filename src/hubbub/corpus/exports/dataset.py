"""A folder as the Hugging Face Hub takes it: README.md (the dataset card), plots, data; ``load_dataset`` reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hubbub import __version__
from hubbub.corpus.exports.corpus import Corpus, whole_folder
from hubbub.corpus.exports.obsidian import escaped, front_matter
from hubbub.corpus.exports.parquet import write_parquet
from hubbub.corpus.exports.plots import bars
from hubbub.corpus.exports.statistics import Statistics, gathered
from hubbub.corpus.recipe import Recipe
from hubbub.corpus.record import encode

_SIZES = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")]
"""The Hub's size categories."""
SHOWN_COLUMNS = 3
SHOWN_VALUES = 20


def export_dataset(corpus: Corpus, to: Path) -> Path:
    """Data as Parquet where pyarrow is installed, as JSON lines otherwise."""
    with whole_folder(to) as folder:
        (folder / "data").mkdir()
        if find_spec("pyarrow"):
            data = "data/train-00000.parquet"
            write_parquet(corpus.finished(), folder / data)
        else:
            data = "data/train-00000.jsonl"
            with (folder / data).open("wb") as out:
                out.writelines(encode(record) + b"\n" for record in corpus.finished())
        write_card(corpus, folder, data)
    return to


def write_card(corpus: Corpus, folder: Path, data: str) -> None:
    """README.md, recipe.toml and plots into ``folder``. ``data``: the files beside it, as a pattern."""
    stats = gathered(corpus.finished())
    plots = _plots(stats)
    (folder / "plots").mkdir(exist_ok=True)
    for name, (_, svg) in plots.items():
        (folder / "plots" / f"{name}.svg").write_text(svg, encoding="utf-8")
    (folder / "recipe.toml").write_text(corpus.recipe.source, encoding="utf-8")
    shown = [f"![{title}](plots/{name}.svg)" for name, (title, _) in plots.items()]
    (folder / "README.md").write_text(_card(corpus, stats, data, shown), encoding="utf-8")


def _card(corpus: Corpus, stats: Statistics, data: str, plots: list[str]) -> str:
    recipe = corpus.recipe
    parts = [
        _front_matter(recipe, stats, data),
        f"# {escaped(recipe.card.title or recipe.name)}\n",
        escaped(recipe.description) + "\n" if recipe.description else "",
        "This text was written by a language model from templates. It was not checked for truth.\n",
        "## What is in it\n",
        _table(_facts(stats)),
        *(plot + "\n" for plot in plots),
        "## How it was made\n",
        _made(recipe, stats),
        _table(list(_flat(corpus.manifest))),
        "## Fields\n",
        _FIELDS,
        "## Reading it\n",
        _READING,
    ]
    return "\n".join(part for part in parts if part)


def _front_matter(recipe: Recipe, stats: Statistics, data: str) -> str:
    languages = [language for language in recipe.languages or stats.languages if language != "unknown"]
    size = next((name for bound, name in _SIZES if stats.records < bound), "10M<n<100M")
    values: dict[str, Any] = {
        "pretty_name": recipe.card.title or recipe.name,
        "license": recipe.card.license,
        "language": languages,
        "tags": ["synthetic", *recipe.card.tags],
        "size_categories": [size],
        "task_categories": ["text-generation"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": data}]}],
    }
    return front_matter({key: value for key, value in values.items() if value})


def _facts(stats: Statistics) -> list[tuple[str, str]]:
    measures = stats.measures
    facts = [
        ("records", f"{stats.records:,}"),
        ("bytes of text (UTF-8)", f"{stats.bytes:,}"),
        ("characters", f"{stats.characters:,}"),
        ("tokens", f"{stats.tokens:,}" if stats.tokens else "not counted"),
        ("languages", ", ".join(f"{name} {count:,}" for name, count in stats.languages.most_common())),
        ("models", ", ".join(f"{name} {count:,}" for name, count in stats.models.most_common())),
    ]
    if stats.links:
        facts.append(("links", ", ".join(f"{name} {count:,}" for name, count in stats.kinds.most_common())))
        facts.append(("links named in the text", f"{stats.in_text:,} of {stats.links:,}"))
    facts += [
        ("different words, of a sample", f"{measures.distinct_1:.1%}"),
        ("different pairs of words, of a sample", f"{measures.distinct_2:.1%}"),
        ("compression of a sample (zlib)", f"{measures.compression:.2f} times"),
    ]
    return facts


def _made(recipe: Recipe, stats: Statistics) -> str:
    near = "off" if recipe.dedup.near is None else f"MinHash, Jaccard {recipe.dedup.near:g}"
    facts = [
        ("made with", f"Hubbub {__version__}, recipe.toml in this folder"),
        ("recipe", recipe.digest),
        ("seed", str(recipe.seed)),
        ("model asked for", recipe.model or "the engine's"),
        ("steps a record", ", ".join(step.name for step in recipe.steps)),
        ("texts a request", str(recipe.texts_per_item)),
        ("columns", ", ".join(column.name for column in recipe.columns) or "none"),
        ("exact duplicates", "removed" if recipe.dedup.exact else "kept"),
        ("near duplicates", near),
    ]
    return _table(facts)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """The manifest's plain values, nested ones by dotted names; lists (of shards) by their length."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            rows.append((f"{prefix}{name}", f"{len(value):,} entries"))
        else:
            rows.append((f"{prefix}{name}", str(value)))
    return rows


def _plots(stats: Statistics) -> dict[str, tuple[str, str]]:
    """Name of the file -> (title, SVG)."""
    lengths = [(f"{1 << power:,} to {(2 << power) - 1:,}", stats.lengths[power]) for power in sorted(stats.lengths)]
    title = "Characters of a text"
    plots = {"lengths": (title, bars(title, lengths))}
    steered = sorted(
        ((name, counts) for name, counts in stats.values.items() if 2 <= len(counts) <= 200),
        key=lambda pair: len(pair[1]),
    )
    for name, counts in steered[:SHOWN_COLUMNS]:
        title = f"Records by {name}"
        plots[f"column-{re.sub(r'[^a-zA-Z0-9]+', '-', name)}"] = (title, bars(title, counts.most_common(SHOWN_VALUES)))
    return plots


def _table(rows: list[tuple[str, str]]) -> str:
    if not rows:
        return ""
    body = "".join(f"| {_cell(name)} | {_cell(value)} |\n" for name, value in rows)
    return f"| | |\n| --- | --- |\n{body}"


def _cell(text: str) -> str:
    return escaped(" ".join(text.split()), starts=False)


_READING = """```python
from datasets import load_dataset

data = load_dataset("path/of/this/folder", split="train")
```
"""
_FIELDS = _table(
    [
        ("id", "the record's name in this corpus; the target of links"),
        ("text", "the text"),
        ("title", "unique; empty where the recipe has no titles"),
        ("lang", "ISO 639-1 code"),
        ("columns", "what was drawn for the prompt (in Parquet: JSON)"),
        ("fields", "what a structured answer said beside the text (in Parquet: JSON)"),
        ("links", "kind, target (an id), title; start and end are characters of the text, or -1"),
        ("index, part, seed, attempt", "which work item of the run it is, and how its engine was seeded"),
        ("bytes, tokens, model, score, cluster", "of the text"),
    ]
)
