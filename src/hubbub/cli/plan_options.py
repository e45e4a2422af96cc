"""Options that the commands of ``hubbub plan`` share: a command asks for a group, Typer sees its fields."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_type_hints

import typer

from hubbub.core.errors import BadRequest

if TYPE_CHECKING:
    from hubbub.planner.hardware import Machine
    from hubbub.planner.setup import Setup

MOST_CARDS, MOST_SEQUENCES, MOST_CHATS = 4096, 4096, 100_000

Context = Annotated[str, typer.Option("--context", "-c", help="tokens a chat may reach")]
Language = Annotated[str, typer.Option("--lang", "-l", help="ru, en, zh, code, ...")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Ttft = Annotated[float, typer.Option("--ttft", help="target: seconds to the first token for 95 %")]
Itl = Annotated[float, typer.Option("--itl", help="target: seconds between tokens for 95 %")]


@dataclass(frozen=True)
class Where:
    """The machine."""

    hardware: Annotated[
        str, typer.Option("--hardware", "-w", help="card such as 'RTX 4090' or '2x H100'; empty: this machine")
    ] = ""
    gpus: Annotated[str, typer.Option("--gpus", help="number of cards")] = "1"

    def machine(self) -> Machine:
        """Raises NotFound or BadRequest."""
        from hubbub.planner.detect import detect
        from hubbub.planner.hardware import make_machine

        return make_machine(self.hardware, self.cards) if self.hardware else detect().machine

    @property
    def cards(self) -> int:
        """Raises BadRequest."""
        from hubbub.planner.units import parse_count

        return parse_count(self.gpus, "gpus", most=MOST_CARDS)


@dataclass(frozen=True)
class What(Where):
    """A model under an engine on the machine."""

    model: Annotated[str, typer.Option("--model", "-m", help="bundled name, config.json, folder or .gguf")] = (
        "Qwen2.5-7B"
    )
    quant: Annotated[str, typer.Option("--quant", "-q", help="BF16, FP8, AWQ, GPTQ-Int4, Q4_K_M, ...")] = ""
    kv: Annotated[str, typer.Option("--kv", help="KV cache: 16, fp8, int8, 4")] = ""
    engine: Annotated[
        str, typer.Option("--engine", "-e", help="vllm, sglang, llama.cpp, lmdeploy, tensorrt-llm, transformers")
    ] = ""
    version: Annotated[str, typer.Option("--engine-version", help="such as 0.15; empty: a new one")] = ""
    tp: Annotated[int, typer.Option("--tp", help="cards one copy is spread over; 0: all of them")] = 0
    share: Annotated[float, typer.Option("--share", help="share of the card the engine may fill; 0: its default")] = 0.0
    sequences: Annotated[
        str, typer.Option("--max-num-seqs", help="requests decoded together; 0: the engine's default")
    ] = "0"

    def setup(self, context: int = 0) -> Setup:
        """Raises NotFound, BadRequest or ContextTooLong, naming the option."""
        from hubbub.planner.api import setup_here
        from hubbub.planner.setup import make_setup
        from hubbub.planner.units import parse_count

        if not 0 <= self.share <= 1:
            raise BadRequest(f"share: must be between 0 and 1, got {self.share}", param="share")
        cards, most = self.cards, parse_count(self.sequences, "max-num-seqs", least=0, most=MOST_SEQUENCES)
        asked: dict[str, Any] = {
            "quant": self.quant,
            "kv": self.kv,
            "engine": self.engine,
            "engine_version": self.version,
            "context": context,
            "max_sequences": most,
        }
        if not self.hardware:
            return setup_here(self.model, **asked)
        return make_setup(self.model, self.hardware, gpus=cards, tp=self.tp, share=self.share or None, **asked)


@dataclass(frozen=True)
class Output:
    """Where a plan goes."""

    as_json: AsJson = False
    html: Annotated[Path | None, typer.Option("--html", help="write one self-contained page with charts")] = None
    charts: Annotated[
        Path | None, typer.Option("--charts", help="folder for the charts as SVG (and PNG with --png)")
    ] = None
    png: Annotated[bool, typer.Option("--png", help="with --charts: PNG too")] = False

    @property
    def drawn(self) -> bool:
        return self.html is not None or self.charts is not None

    @contextmanager
    def working(self) -> Iterator[Callable[[str], None]]:
        """Says on stderr what is being simulated, and for how long by now, where somebody looks."""
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        columns = SpinnerColumn(), TextColumn("simulating {task.description}"), TimeElapsedColumn()
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("")
            yield lambda what: progress.update(task, description=what)

    def show(self, title: str, plan: Mapping[str, Any]) -> None:
        """Write the files that were asked for, then print."""
        if self.html is not None:
            from hubbub.planner.report import html_report

            self.html.write_text(html_report([(title, plan)]), "utf-8")
        if self.charts is not None:
            self._draw(self.charts, plan)
        if self.as_json:
            print_json(plan)
            return
        from rich.console import Console

        from hubbub.planner.show import print_plan

        print_plan(Console(), title, plan)
        for written in (self.html, self.charts):
            if written is not None:
                typer.echo(f"written: {written}")

    def _draw(self, folder: Path, plan: Mapping[str, Any]) -> None:
        from hubbub.planner.charts import write_png
        from hubbub.planner.report import charts_of

        folder.mkdir(parents=True, exist_ok=True)
        for name, svg in charts_of(plan).items():
            path = folder / f"{name.replace(' ', '-').replace('/', '-')}.svg"
            path.write_text(svg, "utf-8")
            if self.png:
                write_png(svg, path.with_suffix(".png"))


def print_json(told: object) -> None:
    typer.echo(json.dumps(told, indent=2, default=str))


def people_of(count: str, option: str = "chats", *, least: int = 0) -> int:
    """A number of chats. Raises BadRequest."""
    from hubbub.planner.units import parse_count

    return parse_count(count, option, least=least, most=MOST_CHATS)


def names_in(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` for Typer: each parameter that is a dataclass becomes its fields, one option each."""
    hints = get_type_hints(command, include_extras=True)
    groups = {name: cast("type[Any]", hint) for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        types = get_type_hints(groups[name], include_extras=True)
        parameters += [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=types[f.name])
            for f in fields(groups[name])
        ]

    @functools.wraps(command)
    def whole(**given: Any) -> None:
        made = {name: group(**{f.name: given.pop(f.name) for f in fields(group)}) for name, group in groups.items()}
        command(**made, **given)

    whole.__dict__["__signature__"] = inspect.Signature(parameters)
    whole.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return whole
