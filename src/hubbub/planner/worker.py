"""A process of its own that answers plan requests, one JSON line in, one out, until its input ends.

It runs beside a server: at a lower priority, and only with bundled models, for its callers come over the network and
shall not look into this machine's files.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from hubbub.core.errors import BadRequest, HubbubError
from hubbub.planner.modelnames import resolve_model
from hubbub.planner.refine import beginning, refine
from hubbub.planner.requests import plan_request

NICE = 10


def answer(line: str) -> dict[str, Any]:
    """``{"told": ...}``, or ``{"error": message, "param": name}`` for a request that is wrong. The server asks for
    ``plan`` (its callers' words), ``refine`` or ``beginning`` (its own), and names the ``folder`` of calibrations."""
    try:
        asked = json.loads(line)
        folder = Path(asked["folder"])
        if "refine" in asked:
            return {"told": refine(**asked["refine"], folder=folder)}
        if "beginning" in asked:
            return {"told": beginning(**asked["beginning"], folder=folder)}
        body = asked["plan"]
        names = [body["model"]] if body.get("model") else list(body.get("models") or ())
        for name in names:
            _bundled(str(name))
        return {"told": plan_request(body, folder)}
    except HubbubError as error:
        return {"error": error.message, "param": error.param, "code": error.code}
    except (ValueError, TypeError, OverflowError) as error:
        return {"error": f"the plan cannot be made of these numbers: {error}", "param": None, "code": BadRequest.code}


def _bundled(name: str) -> None:
    """Raises BadRequest or NotFound for what is no bundled name."""
    if name.endswith((".json", ".gguf")) or name.startswith((".", "/", "~")):
        raise BadRequest("model: a server plans with bundled models only; name one of them", param="model")
    resolve_model(name)


def main() -> None:
    os.nice(NICE)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(line), default=str) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
