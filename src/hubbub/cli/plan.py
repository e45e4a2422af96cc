"""``hubbub plan ...``: how many chats fit, how fast, how long for a gigabyte, what to buy, how sure."""

# The planner is imported by the command that needs it: numpy and its tables take longer than a short command itself.

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hubbub.cli.plan_options import (
    AsJson,
    Context,
    Itl,
    Language,
    Output,
    Ttft,
    What,
    Where,
    grouped,
    names_in,
    people_of,
    print_json,
)

plan_app = typer.Typer(
    help="How many chats fit, how fast, how long for a gigabyte, at what cost.", no_args_is_help=True
)


@plan_app.command("memory")
@grouped
def memory(what: What, output: Output, context: Context = "4096") -> None:
    """Weights, KV cache per token and per chat, overhead, and how many chats fit."""
    from hubbub.planner.chats import memory_report
    from hubbub.planner.units import parse_count

    tokens = parse_count(context, "context")
    setup = what.setup(tokens)
    output.show(f"Memory: {setup.name}", memory_report(setup, tokens))


@plan_app.command("chats")
@grouped
def chats(
    what: What,
    output: Output,
    count: Annotated[str, typer.Option("--chats", "-n", help="people who talk")] = "200",
    context: Context = "4096",
    think: Annotated[
        float, typer.Option("--think", help="mean seconds between an answer and the next question")
    ] = 20.0,
    question: Annotated[float, typer.Option("--question", help="mean tokens of a question")] = 60.0,
    answer: Annotated[float, typer.Option("--answer", help="mean tokens of an answer")] = 250.0,
    turns: Annotated[float, typer.Option("--turns", help="mean questions in a chat")] = 12.0,
    ttft: Ttft = 2.0,
    itl: Itl = 0.1,
    search: Annotated[
        bool, typer.Option("--search/--no-search", help="find the largest number that keeps the targets")
    ] = True,
) -> None:
    """How that many chats feel: TTFT and ITL, tokens/s, queue, preemptions, the largest number, what changes it."""
    from hubbub.planner.chats import Targets, chat_report, curve
    from hubbub.planner.simulate import Chats
    from hubbub.planner.units import parse_count, parse_positive

    tokens = parse_count(context, "context")
    people = Chats(
        people_of(count, least=1),
        parse_positive(think, "think", zero=True),
        parse_positive(question, "question"),
        parse_positive(answer, "answer"),
        turns=parse_positive(turns, "turns"),
        context=tokens,
    )
    setup = what.setup(tokens)
    targets = Targets(parse_positive(ttft, "ttft"), parse_positive(itl, "itl"))
    with output.working() as told:
        plan = chat_report(setup, people, targets, search=search, told=told)
        if output.drawn:
            told("the curve")
            plan["curve"] = curve(setup, people)
    output.show(f"{people.count} chats: {setup.name}", plan)


@plan_app.command("corpus")
@grouped
def corpus(
    what: What,
    output: Output,
    size: Annotated[str, typer.Option("--bytes", "-b", help="text to end up with: 1GB, 1GiB, 1e9")] = "1GB",
    lang: Language = "ru",
    record: Annotated[float, typer.Option("--record", help="mean tokens of a record")] = 250.0,
    prompt: Annotated[float, typer.Option("--prompt", help="tokens of a prompt")] = 200.0,
    shared: Annotated[float, typer.Option("--shared", help="of these, tokens that all prompts begin with")] = 150.0,
    pack: Annotated[int, typer.Option("--pack", help="records asked for in one request")] = 1,
    accept: Annotated[float, typer.Option("--accept", help="share of the text that filters keep")] = 0.85,
    rate: Annotated[
        float, typer.Option("--bytes-per-token", help="bytes of text that a token makes; 0: the language's table")
    ] = 0.0,
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
) -> None:
    """How long a gigabyte of text takes, and what it costs."""
    from hubbub.planner import corpus as work
    from hubbub.planner.simulate import Chats
    from hubbub.planner.tokens import sample_size
    from hubbub.planner.units import parse_bytes

    wanted = parse_bytes(size, "bytes")
    if scenarios:
        output.show(f"Four ways to write {size}", work.scenarios(wanted, lang))
        return
    setup = what.setup()
    job = work.Job(wanted, lang, record, prompt, shared, pack, accept, 0, price_in, price_out, rate)
    people = people_of(beside, "beside")
    text = sample_size(sample, tokenizer) if sample is not None else None
    plan = work.corpus_report(setup, job, beside=Chats(people) if people else None, text=text)
    output.show(f"{size} of {lang}: {setup.name}", plan)


@plan_app.command("compare")
@grouped
def compare(
    output: Output,
    machines: Annotated[str, typer.Option("--machines", help="comma-separated; empty: the usual ones")] = "",
    models: Annotated[str, typer.Option("--models", help="comma-separated")] = "",
    engines: Annotated[
        str, typer.Option("--engines", help="comma-separated; empty: the usual one for each machine")
    ] = "",
    quants: Annotated[str, typer.Option("--quants", help="comma-separated; empty: what fits")] = "",
    size: Annotated[str, typer.Option("--bytes", "-b", help="text to judge by")] = "1GB",
    lang: Language = "ru",
    count: Annotated[str, typer.Option("--chats", "-n", help="live chats to judge by; 0: none")] = "0",
) -> None:
    """What to buy or rent: machines, models and engines side by side; a star: no other is both cheaper and faster."""
    from hubbub.planner.compare import DEFAULT_MACHINES, DEFAULT_MODELS, Ask
    from hubbub.planner.compare import compare as run
    from hubbub.planner.corpus import Job
    from hubbub.planner.simulate import Chats
    from hubbub.planner.units import parse_bytes

    people = people_of(count)
    ask = Ask(Job(parse_bytes(size, "bytes"), lang), Chats(people, context=4096) if people else None)
    plan = run(
        ask,
        names_in(machines) or DEFAULT_MACHINES,
        names_in(models) or DEFAULT_MODELS,
        engines=names_in(engines) or ("",),
        quants=names_in(quants) or ("",),
    )
    output.show("Machines compared", plan)


@plan_app.command("recommend")
@grouped
def recommend(
    where: Where,
    count: Annotated[str, typer.Option("--chats", "-n", help="live chats; 0: none")] = "0",
    size: Annotated[str, typer.Option("--bytes", "-b", help="corpus; empty: none")] = "",
    lang: Language = "ru",
    days: Annotated[float, typer.Option("--days", help="days the corpus may take")] = 7.0,
    ttft: Ttft = 2.0,
    itl: Itl = 0.1,
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
    from hubbub.planner.planfile import toml_of
    from hubbub.planner.recommend import Wish
    from hubbub.planner.recommend import recommend as run
    from hubbub.planner.simulate import Chats
    from hubbub.planner.units import parse_bytes, parse_count, parse_positive

    machine, people = where.machine(), people_of(count)
    job = Job(parse_bytes(size, "bytes"), lang) if size else None
    talk = Chats(people or 50, context=parse_count(context, "context")) if people or job is None else None
    targets = Targets(parse_positive(ttft, "ttft"), parse_positive(itl, "itl"))
    wish = Wish(talk, job, targets, parse_positive(days, "days") * 86400)
    if models:
        wish = Wish(wish.chats, wish.job, wish.targets, wish.deadline_s, tuple(names_in(models)))
    found = run(machine, wish)
    if plan is not None:
        plan.write_text(toml_of(found), "utf-8")
    if as_json:
        print_json(found)
        return
    typer.echo(found["why"])
    typer.echo(f"engine flags: {' '.join(found['best']['flags'])}")
    typer.echo(found["framework"])


@plan_app.command("calibrate")
@grouped
def calibrate(
    what: What,
    url: Annotated[str, typer.Option("--url", help="OpenAI-compatible base URL, such as http://127.0.0.1:8000/v1")],
    served: Annotated[str, typer.Option("--served-model", help="name the engine serves; empty: its first")] = "",
    context: Context = "4096",
    folder: Annotated[Path | None, typer.Option("--folder", help="where calibrations are kept")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a running engine for under two minutes and fit this machine's coefficients."""
    from hubbub.planner.api import calibrate_here
    from hubbub.planner.folder import calibration_folder
    from hubbub.planner.units import parse_count

    tokens = parse_count(context, "context")
    record, path = calibrate_here(
        what.setup(tokens), url, served, tokens, folder or calibration_folder(), lambda line: typer.echo(line, err=True)
    )
    if as_json:
        print_json(record.as_json())
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
    import json

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
def list_models(as_json: AsJson = False) -> None:
    """The bundled models."""
    from dataclasses import asdict

    from hubbub.planner.models import cards

    if as_json:
        print_json([asdict(shape) | {"kv_bytes_per_token": shape.kv_bytes_per_token()} for shape in cards().values()])
        return
    for shape in cards().values():
        kv = shape.kv_bytes_per_token() / 1024
        typer.echo(
            f"{shape.name:28} {shape.total_params / 1e9:8.2f} B parameters  {kv:8.1f} KiB of KV a token  {shape.source}"
        )


@plan_app.command("cards")
def list_cards(as_json: AsJson = False) -> None:
    """The known cards and processors."""
    from dataclasses import asdict

    from hubbub.planner.hardware import cards as known

    if as_json:
        print_json([asdict(card) for card in known().values()])
        return
    for card in known().values():
        typer.echo(
            f"{card.name:22} {card.memory_gib:7.1f} GiB {card.bandwidth_gbs:7.0f} GB/s "
            f"{card.fp16_tflops:7.1f} TFLOP/s in 16 bit  {card.source}"
        )


@plan_app.command("machine")
def machine(as_json: AsJson = False) -> None:
    """What this machine is, with its memory bandwidth."""
    from dataclasses import asdict

    from hubbub.planner.detect import detect

    found = detect()
    if as_json:
        print_json(asdict(found))
        return
    for line in found.details:
        typer.echo(line)
    typer.echo(f"fingerprint {found.fingerprint}")
