"""``hubbub plan ...``: how many chats fit, how fast, how long for a gigabyte, what to buy, how sure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hubbub.core.errors import BadRequest

if TYPE_CHECKING:
    from hubbub.planner.setup import Setup
    from hubbub.planner.simulate import Chats

plan_app = typer.Typer(
    help="How many chats fit, how fast, how long for a gigabyte, at what cost.", no_args_is_help=True
)

Model = Annotated[str, typer.Option("--model", "-m", help="bundled name, config.json, folder or .gguf")]
Hardware = Annotated[
    str, typer.Option("--hardware", "-w", help="card such as 'RTX 4090' or '2x H100'; empty: this machine")
]
Quantization = Annotated[str, typer.Option("--quant", "-q", help="BF16, FP8, AWQ, GPTQ-Int4, Q4_K_M, ...")]
Kv = Annotated[str, typer.Option("--kv", help="KV cache: 16, fp8, int8, 4")]
EngineName = Annotated[
    str, typer.Option("--engine", "-e", help="vllm, sglang, llama.cpp, lmdeploy, tensorrt-llm, transformers")
]
Version = Annotated[str, typer.Option("--engine-version")]
Gpus = Annotated[str, typer.Option("--gpus", help="number of cards")]
Tp = Annotated[int, typer.Option("--tp", help="cards one copy is spread over; 0: all of them")]
Share = Annotated[float, typer.Option("--share", help="share of the card the engine may fill; 0: its default")]
Sequences = Annotated[str, typer.Option("--max-num-seqs", help="requests decoded together; 0: the engine's default")]
Context = Annotated[str, typer.Option("--context", "-c", help="tokens a chat may reach")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Html = Annotated[Path | None, typer.Option("--html", help="write one self-contained page with charts")]
Charts = Annotated[Path | None, typer.Option("--charts", help="folder for the charts as SVG (and PNG with --png)")]
Png = Annotated[bool, typer.Option("--png", help="with --charts: PNG too")]


def _setup(
    model: str,
    hardware: str,
    quant: str,
    kv: str,
    engine: str,
    version: str,
    gpus: str,
    tp: int,
    share: float,
    seqs: str,
    context: int,
) -> Setup:
    from hubbub.planner.api import setup_here
    from hubbub.planner.setup import make_setup
    from hubbub.planner.units import parse_count

    if not 0 <= share <= 1:
        raise BadRequest(f"share: must be between 0 and 1, got {share}", param="share")
    count = parse_count(gpus, "gpus", most=4096)
    most = parse_count(seqs, "max-num-seqs", least=0, most=4096)
    if not hardware:
        return setup_here(
            model, quant=quant, kv=kv, engine=engine, version=version, context=context, max_sequences=most
        )
    return make_setup(
        model,
        hardware,
        quant=quant,
        kv=kv,
        engine=engine,
        engine_version=version,
        gpus=count,
        tp=tp,
        share=share or None,
        max_sequences=most,
        context=context,
    )


def _out(title: str, plan: Mapping[str, Any], as_json: bool, html: Path | None, charts: Path | None, png: bool) -> None:
    from rich.console import Console

    from hubbub.planner import charts as drawing
    from hubbub.planner import report, show

    if html is not None:
        html.write_text(report.html_report([(title, plan)]), "utf-8")
    if charts is not None:
        charts.mkdir(parents=True, exist_ok=True)
        for name, svg in report.charts_of(plan).items():
            path = charts / f"{name.replace(' ', '-').replace('/', '-')}.svg"
            path.write_text(svg, "utf-8")
            if png:
                drawing.write_png(svg, path.with_suffix(".png"))
    if as_json:
        typer.echo(json.dumps(plan, indent=2, default=str))
        return
    show.print_plan(Console(), title, plan)
    for written in (html, charts):
        if written is not None:
            typer.echo(f"written: {written}")


@plan_app.command("memory")
def memory(
    model: Model = "Qwen2.5-7B",
    hardware: Hardware = "",
    quant: Quantization = "",
    kv: Kv = "",
    engine: EngineName = "",
    version: Version = "",
    gpus: Gpus = "1",
    tp: Tp = 0,
    share: Share = 0.0,
    seqs: Sequences = "0",
    context: Context = "4096",
    as_json: AsJson = False,
    html: Html = None,
    charts: Charts = None,
    png: Png = False,
) -> None:
    """Weights, KV cache per token and per chat, overhead, and how many chats fit."""
    from hubbub.planner.chats import memory_report
    from hubbub.planner.units import parse_count

    tokens = parse_count(context, "context")
    setup = _setup(model, hardware, quant, kv, engine, version, gpus, tp, share, seqs, tokens)
    _out(f"Memory: {setup.name}", memory_report(setup, tokens), as_json, html, charts, png)


@plan_app.command("chats")
def chats(
    count: Annotated[str, typer.Option("--chats", "-n", help="people who talk")] = "200",
    model: Model = "Qwen2.5-7B",
    hardware: Hardware = "",
    quant: Quantization = "",
    kv: Kv = "",
    engine: EngineName = "",
    version: Version = "",
    gpus: Gpus = "1",
    tp: Tp = 0,
    share: Share = 0.0,
    seqs: Sequences = "0",
    context: Context = "4096",
    think: Annotated[
        float, typer.Option("--think", help="mean seconds between an answer and the next question")
    ] = 20.0,
    question: Annotated[float, typer.Option("--question", help="mean tokens of a question")] = 60.0,
    answer: Annotated[float, typer.Option("--answer", help="mean tokens of an answer")] = 250.0,
    turns: Annotated[float, typer.Option("--turns", help="mean questions in a chat")] = 12.0,
    ttft: Annotated[float, typer.Option("--ttft", help="target: seconds to the first token for 95 %")] = 2.0,
    itl: Annotated[float, typer.Option("--itl", help="target: seconds between tokens for 95 %")] = 0.1,
    search: Annotated[
        bool, typer.Option("--search/--no-search", help="find the largest number that keeps the targets")
    ] = True,
    as_json: AsJson = False,
    html: Html = None,
    charts: Charts = None,
    png: Png = False,
) -> None:
    """How that many chats feel: TTFT and ITL, tokens/s, queue, preemptions, the largest number, what changes it."""
    from hubbub.planner.chats import Targets, chat_report, curve
    from hubbub.planner.simulate import Chats
    from hubbub.planner.units import parse_count, parse_positive

    tokens = parse_count(context, "context")
    people = Chats(
        parse_count(count, "chats", most=100_000),
        parse_positive(think, "think", zero=True),
        parse_positive(question, "question"),
        parse_positive(answer, "answer"),
        turns=parse_positive(turns, "turns"),
        context=tokens,
    )
    setup = _setup(model, hardware, quant, kv, engine, version, gpus, tp, share, seqs, tokens)
    targets = Targets(parse_positive(ttft, "ttft"), parse_positive(itl, "itl"))
    plan = chat_report(setup, people, targets, search=search)
    if html is not None or charts is not None:
        plan["curve"] = curve(setup, people)
    _out(f"{people.count} chats: {setup.name}", plan, as_json, html, charts, png)


@plan_app.command("corpus")
def corpus(
    size: Annotated[str, typer.Option("--bytes", "-b", help="text to end up with: 1GB, 1GiB, 1e9")] = "1GB",
    lang: Annotated[str, typer.Option("--lang", "-l", help="ru, en, zh, code, ...")] = "ru",
    model: Model = "Qwen2.5-7B",
    hardware: Hardware = "",
    quant: Quantization = "",
    kv: Kv = "",
    engine: EngineName = "",
    version: Version = "",
    gpus: Gpus = "1",
    tp: Tp = 0,
    share: Share = 0.0,
    seqs: Sequences = "0",
    record: Annotated[float, typer.Option("--record", help="mean tokens of a record")] = 250.0,
    prompt: Annotated[float, typer.Option("--prompt", help="tokens of a prompt")] = 200.0,
    shared: Annotated[float, typer.Option("--shared", help="of these, tokens that all prompts begin with")] = 150.0,
    pack: Annotated[int, typer.Option("--pack", help="records asked for in one request")] = 1,
    accept: Annotated[float, typer.Option("--accept", help="share of the text that filters keep")] = 0.85,
    beside: Annotated[str, typer.Option("--beside", help="live chats served at the same time")] = "0",
    sample: Annotated[
        Path | None, typer.Option("--sample", help="a file of your own text, to measure bytes per token")
    ] = None,
    tokenizer: Annotated[str, typer.Option("--tokenizer", help="for --sample: qwen, tokenizer.json or .gguf")] = "qwen",
    price_in: Annotated[float, typer.Option("--price-in", help="API: USD a million tokens in")] = 0.0,
    price_out: Annotated[float, typer.Option("--price-out", help="API: USD a million tokens out")] = 0.0,
    scenarios: Annotated[
        bool, typer.Option("--scenarios", help="the four ways: API, one stream, ten, batching")
    ] = False,
    as_json: AsJson = False,
    html: Html = None,
    charts: Charts = None,
    png: Png = False,
) -> None:
    """How long a gigabyte of text takes, and what it costs."""
    from hubbub.planner import corpus as work
    from hubbub.planner.simulate import Chats
    from hubbub.planner.tokens import sample_size
    from hubbub.planner.units import parse_bytes, parse_count

    wanted = parse_bytes(size, "bytes")
    if scenarios:
        _out(f"Four ways to write {size}", work.scenarios(wanted, lang), as_json, html, charts, png)
        return
    setup = _setup(model, hardware, quant, kv, engine, version, gpus, tp, share, seqs, 0)
    job = work.Job(wanted, lang, record, prompt, shared, pack, accept, 0, price_in, price_out)
    people: Chats | None = Chats(parse_count(beside, "beside", least=0, most=100_000))
    if people is not None and not people.count:
        people = None
    text = sample_size(sample, tokenizer) if sample is not None else None
    _out(
        f"{size} of {lang}: {setup.name}",
        work.corpus_report(setup, job, beside=people, text=text),
        as_json,
        html,
        charts,
        png,
    )


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


@plan_app.command("compare")
def compare(
    machines: Annotated[str, typer.Option("--machines", help="comma-separated; empty: the usual ones")] = "",
    models: Annotated[str, typer.Option("--models", help="comma-separated")] = "",
    engines: Annotated[
        str, typer.Option("--engines", help="comma-separated; empty: the usual one for each machine")
    ] = "",
    quants: Annotated[str, typer.Option("--quants", help="comma-separated; empty: what fits")] = "",
    size: Annotated[str, typer.Option("--bytes", "-b")] = "1GB",
    lang: Annotated[str, typer.Option("--lang", "-l")] = "ru",
    count: Annotated[str, typer.Option("--chats", "-n", help="live chats to judge by; 0: none")] = "0",
    as_json: AsJson = False,
    html: Html = None,
    charts: Charts = None,
    png: Png = False,
) -> None:
    """What to buy or rent: machines, models and engines side by side; a star: no other is both cheaper and faster."""
    from hubbub.planner.compare import DEFAULT_MACHINES, DEFAULT_MODELS, Ask
    from hubbub.planner.compare import compare as run
    from hubbub.planner.corpus import Job
    from hubbub.planner.simulate import Chats
    from hubbub.planner.units import parse_bytes, parse_count

    people = parse_count(count, "chats", least=0, most=100_000)
    ask = Ask(Job(parse_bytes(size, "bytes"), lang), Chats(people, context=4096) if people else None)
    plan = run(
        ask,
        _names(machines) or DEFAULT_MACHINES,
        _names(models) or DEFAULT_MODELS,
        engines=_names(engines) or ("",),
        quants=_names(quants) or ("",),
    )
    _out("Machines compared", plan, as_json, html, charts, png)


@plan_app.command("recommend")
def recommend(
    hardware: Hardware = "",
    gpus: Gpus = "1",
    count: Annotated[str, typer.Option("--chats", "-n", help="live chats; 0: none")] = "0",
    size: Annotated[str, typer.Option("--bytes", "-b", help="corpus; empty: none")] = "",
    lang: Annotated[str, typer.Option("--lang", "-l")] = "ru",
    days: Annotated[float, typer.Option("--days", help="days the corpus may take")] = 7.0,
    ttft: Annotated[float, typer.Option("--ttft")] = 2.0,
    itl: Annotated[float, typer.Option("--itl")] = 0.1,
    models: Annotated[str, typer.Option("--models", help="bundled models to choose among")] = "",
    context: Context = "4096",
    plan: Annotated[
        Path | None, typer.Option("--plan", help="write the file that `hubbub serve --plan` starts from")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The model, quantization, engine and flags to take for this machine and this job, with the runner-up and why."""
    from hubbub.planner.chats import Targets
    from hubbub.planner.corpus import Job
    from hubbub.planner.detect import detect
    from hubbub.planner.hardware import make_machine
    from hubbub.planner.planfile import toml_of
    from hubbub.planner.recommend import Wish
    from hubbub.planner.recommend import recommend as run
    from hubbub.planner.simulate import Chats
    from hubbub.planner.units import parse_bytes, parse_count, parse_positive

    machine = make_machine(hardware, parse_count(gpus, "gpus", most=4096)) if hardware else detect().machine
    people = parse_count(count, "chats", least=0, most=100_000)
    job = Job(parse_bytes(size, "bytes"), lang) if size else None
    talk = Chats(people or 50, context=parse_count(context, "context")) if people or job is None else None
    wish = Wish(
        talk,
        job,
        Targets(parse_positive(ttft, "ttft"), parse_positive(itl, "itl")),
        parse_positive(days, "days") * 86400,
    )
    if models:
        wish = Wish(wish.chats, wish.job, wish.targets, wish.deadline_s, tuple(_names(models)))
    found = run(machine, wish)
    if plan is not None:
        plan.write_text(toml_of(found), "utf-8")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(found["why"])
    typer.echo(f"engine flags: {' '.join(found['best']['flags'])}")
    typer.echo(found["framework"])


@plan_app.command("calibrate")
def calibrate(
    url: Annotated[str, typer.Option("--url", help="OpenAI-compatible base URL, such as http://127.0.0.1:8000/v1")],
    served: Annotated[str, typer.Option("--served-model", help="name the engine serves; empty: its first")] = "",
    model: Model = "Qwen2.5-7B",
    hardware: Hardware = "",
    quant: Quantization = "",
    kv: Kv = "",
    engine: EngineName = "",
    version: Version = "",
    gpus: Gpus = "1",
    tp: Tp = 0,
    context: Context = "4096",
    folder: Annotated[Path | None, typer.Option("--folder", help="where calibrations are kept")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a running engine for under two minutes and fit this machine's coefficients."""
    from hubbub.planner.api import calibrate_here
    from hubbub.planner.detect import calibration_folder
    from hubbub.planner.units import parse_count

    tokens = parse_count(context, "context")
    setup = _setup(model, hardware, quant, kv, engine, version, gpus, tp, 0.0, "0", tokens)
    record, path = calibrate_here(
        setup, url, served, tokens, folder or calibration_folder(), lambda line: typer.echo(line, err=True)
    )
    if as_json:
        typer.echo(json.dumps(record.as_json(), indent=2))
        return
    typer.echo(
        f"median error before {record.residual_before:.1%}, after {record.residual_after:.1%}, "
        f"worst {record.worst_after:.1%}"
    )
    typer.echo(f"kept in {path}")


@plan_app.command("validate")
def validate(
    csv: Annotated[Path, typer.Option("--csv", help="rows in the form of published.csv")],
    out: Annotated[
        Path | None, typer.Option("--json", help="write one object a row: predicted, low, high, reason")
    ] = None,
    tables: Annotated[Path | None, typer.Option("--tables", help="write the error tables as JSON")] = None,
) -> None:
    """Predict measured rows and show the errors by metric, engine on hardware, and set."""
    from rich.console import Console

    from hubbub.planner import show
    from hubbub.planner.validate import error_tables, predict_rows, read_rows

    rows = read_rows(csv)
    predictions = predict_rows(rows)
    if out is not None:
        out.write_text(json.dumps([p.as_json() for p in predictions], indent=0) + "\n", "utf-8")
    errors = error_tables(rows, predictions)
    if tables is not None:
        tables.write_text(json.dumps(errors, indent=1) + "\n", "utf-8")
    show.print_errors(Console(), errors)


@plan_app.command("models")
def list_models() -> None:
    """The bundled models."""
    from hubbub.planner.models import cards

    for shape in cards().values():
        kv = shape.kv_bytes_per_token() / 1024
        typer.echo(
            f"{shape.name:28} {shape.total_params / 1e9:8.2f} B parameters  {kv:8.1f} KiB of KV a token  {shape.source}"
        )


@plan_app.command("cards")
def list_cards() -> None:
    """The known cards and processors."""
    from hubbub.planner.hardware import cards as known

    for card in known().values():
        typer.echo(
            f"{card.name:22} {card.memory_gib:7.1f} GiB {card.bandwidth_gbs:7.0f} GB/s "
            f"{card.fp16_tflops:7.1f} TFLOP/s in 16 bit  {card.source}"
        )


@plan_app.command("machine")
def machine() -> None:
    """What this machine is, with its memory bandwidth."""
    from hubbub.planner.detect import detect

    found = detect()
    for line in found.details:
        typer.echo(line)
    typer.echo(f"fingerprint {found.fingerprint}")
