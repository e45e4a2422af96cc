"""What a corpus run takes its texts from: requests of this process, or tasks on a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hubbub.cli.corpus_engine import DEFAULT_IN_FLIGHT, MOST_IN_FLIGHT, SPARE, placed, settings_for
from hubbub.core.errors import ConfigError
from hubbub.corpus.asking import Patience
from hubbub.corpus.board import Board
from hubbub.corpus.client import Endpoint, EndpointConfig
from hubbub.corpus.producing import Intake, LocalProducer, Producer, RunnerConfig
from hubbub.corpus.screening import screening
from hubbub.corpus.session import Session
from hubbub.settings import Settings

if TYPE_CHECKING:
    from hubbub.cli.corpus_run import Order

RAY_WINDOW_EPOCHS = 3
"""No more epochs than this can be out: the weights of later ones are not decided."""


@dataclass(frozen=True, slots=True)
class Source:
    """``endpoint``: to look at the chats beside the run, where this process can."""

    url: str
    config: RunnerConfig
    producer: Callable[[Intake, Board], Producer]
    endpoint: Endpoint | None = None


@contextlib.asynccontextmanager
async def source(order: Order, session: Session) -> AsyncIterator[Source]:
    """Raises ConfigError, EngineUnavailable, RequestFault, Conflict."""
    key_file = None if order.key_file is None else Path(order.key_file)
    settings = settings_for(order.engine, order.model or "", order.engine_flags, key_file)
    work = _on_ray(order, session, settings) if order.on else _here(order, session, settings)
    async with work as found:
        yield found


@contextlib.asynccontextmanager
async def _here(order: Order, session: Session, settings: Settings) -> AsyncIterator[Source]:
    async with placed(order.engine, settings, session.log.folder) as place:
        session.provenance |= place.provenance
        config = EndpointConfig(place.url, place.api_key, aliases=order.same_model)
        async with Endpoint.opened(config, session.recipe.model or session.model) as endpoint:
            session.serve(endpoint.served)
            flight = round(endpoint.served.max_sequences * SPARE) or place.in_flight
            run = RunnerConfig(order.concurrency or min(flight, MOST_IN_FLIGHT), patience=_patience(order))
            with screening(session.recipe, session.judge, order.processes) as screener:

                def producer(intake: Intake, board: Board) -> Producer:
                    return LocalProducer(intake, board, session.items, screener, endpoint, run, place.hangs)

                yield Source(place.url, run, producer, endpoint)


@contextlib.asynccontextmanager
async def _on_ray(order: Order, session: Session, settings: Settings) -> AsyncIterator[Source]:
    from hubbub.corpus.on_ray import RayProducer, connected
    from hubbub.corpus.ray_task import Job

    url = settings.engine.kind
    if not url.startswith(("http://", "https://")):
        raise ConfigError("--on ray needs --engine http://...: the address that every worker asks, as it sees it")
    endpoint = EndpointConfig(url, settings.engine.api_key, aliases=order.same_model)
    model = session.recipe.model or session.model
    job = Job(session.recipe, endpoint, model, order.concurrency or DEFAULT_IN_FLIGHT, _patience(order))
    with connected(job) as cluster:
        session.serve(cluster.served())
        run = RunnerConfig(
            job.concurrency, window=max(4096, RAY_WINDOW_EPOCHS * session.recipe.epoch), patience=job.patience
        )

        def producer(intake: Intake, board: Board) -> Producer:
            return RayProducer(intake, board, session.items, cluster)

        yield Source(url, run, producer)


def _patience(order: Order) -> Patience:
    return Patience(give_up_s=order.patience)
