"""The embedded engine's own offline maximum: its pipeline stepped as fast as it goes, requests always waiting.

No server, no client, no text: token ids in and out, in one process. The requests are JSON bodies as a server would get
them, one a line of FILE, prepared before the clock starts.

``python -m benchmarks.offline_engine FILE --sequences 32 --warm 20 --seconds 75``: one JSON line with tokens a second
between ``warm`` and ``seconds``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

from hubbub.engines.models import BUNDLED, resolve_model
from hubbub.engines.openvino_server.body import parse_body
from hubbub.engines.openvino_server.codec import Codec
from hubbub.engines.openvino_server.link import StepperLink
from hubbub.engines.openvino_server.model_info import ModelInfo, read_model_info
from hubbub.engines.openvino_server.protocol import Add
from hubbub.engines.openvino_server.service import Service
from hubbub.engines.openvino_server.sizing import Sizing, Wishes, derive
from hubbub.engines.openvino_server.stepper import Config, Stepper, load_pipeline


def adds(info: ModelInfo, sizing: Sizing, bodies: list[bytes]) -> Iterator[Add]:
    """Each body as the engine's server would hand it to the pipeline; without end."""
    service = Service(info, sizing, Codec.load(info), [info.name], StepperLink())
    jobs = [service.prepare(parse_body(body)) for body in bodies]
    return (Add(number, job.prompt, job.sampler) for number, job in enumerate(itertools.cycle(jobs), 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bodies", type=Path, metavar="FILE")
    parser.add_argument("--sequences", type=int, required=True)
    parser.add_argument("--warm", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    info = read_model_info(resolve_model(BUNDLED).path)
    sizing = derive(info, Wishes(max_sequences=options.sequences))
    requests = adds(info, sizing, options.bodies.read_bytes().splitlines())
    config = Config(str(info.path), sizing, sorted(info.stop_ids))
    stepper = Stepper(load_pipeline(config), config)
    stepper.warm_up()
    for add in itertools.islice(requests, 2 * options.sequences):
        stepper.submit(add)
    began = time.perf_counter()
    tokens, since = 0, 0.0
    while (now := time.perf_counter() - began) < options.seconds:
        if not since and now >= options.warm:
            tokens, since = 0, now
        for out in stepper.step():
            tokens += len(out.tokens)
            if out.finish:
                stepper.submit(next(requests))
    print(json.dumps({"tokens_s": tokens / (now - since), "seconds": now - since}))


if __name__ == "__main__":
    main()
