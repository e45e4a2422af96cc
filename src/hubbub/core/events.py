"""The scheduler's whole vocabulary: events go in, commands come out. Nothing else passes between it and the world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hubbub.core.types import EngineId, EngineState, Request, RequestId, Usage

# Events ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Arrived:
    """A new request asks to be served. One that was ``accepted`` before a restart is never refused; a ``patient`` one,
    for whose answer nobody holds the line, not for how long it would take."""

    request: Request
    accepted: bool = False
    patient: bool = False


@dataclass(frozen=True, slots=True)
class Progressed:
    """Tokens that running requests have produced since the last such event."""

    tokens: Mapping[RequestId, int]


@dataclass(frozen=True, slots=True)
class Finished:
    """The engine ended a request by itself (stop, length, tool calls). ``usage`` corrects the estimates."""

    request: RequestId
    usage: Usage


@dataclass(frozen=True, slots=True)
class Failed:
    """The engine refused or broke off one request. A ``retryable`` failure sends it back to the queue. ``param``: the
    field of the request that was refused, if it was one."""

    request: RequestId
    code: str
    message: str
    retryable: bool = False
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Whoever asked does not want the answer any more."""

    request: RequestId


@dataclass(frozen=True, slots=True)
class EngineUp:
    """An engine is ready, or reports other capacity than before."""

    engine: EngineId
    state: EngineState


@dataclass(frozen=True, slots=True)
class EngineDown:
    """An engine is gone, and with it whatever it was running."""

    engine: EngineId


@dataclass(frozen=True, slots=True)
class Queueing:
    """Requests wait inside the engine: it was given more than it takes."""

    engine: EngineId


@dataclass(frozen=True, slots=True)
class EngineDraining:
    """From now on an engine is given nothing new, or it is again. Holds through its absences, also before it is up."""

    engine: EngineId
    draining: bool = True


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed, a second or so: queue time-outs are due, bulk is steered, those in line hear how long (unless
    nobody listens: ``told``)."""

    told: bool = True


Event = (
    Arrived | Progressed | Finished | Failed | Withdrawn | EngineUp | EngineDown | EngineDraining | Queueing | Ticked
)


# Commands ----------------------------------------------------------------------------------------------------------


class Outcome(StrEnum):
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Refuse:
    """The request was not accepted and never will be by itself. ``retry_after`` in seconds, at most 120."""

    request: RequestId
    reason: str
    retry_after: float


@dataclass(frozen=True, slots=True)
class Wait:
    """The request was accepted and queued; ``position`` counts from 1 in the order it would be served now.
    ``seconds``: about how long until its first token, None where that is not known."""

    request: RequestId
    position: int
    seconds: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Hand the request to this engine now."""

    request: RequestId
    engine: EngineId


@dataclass(frozen=True, slots=True)
class Abort:
    """Tell this engine to stop working on the request."""

    request: RequestId
    engine: EngineId


@dataclass(frozen=True, slots=True)
class Close:
    """The one end of an accepted request."""

    request: RequestId
    outcome: Outcome
    code: str = ""
    message: str = ""
    param: str | None = None


Command = Refuse | Wait | Dispatch | Abort | Close
