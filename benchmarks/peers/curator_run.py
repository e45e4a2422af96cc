"""Bespoke Curator over prompts.jsonl. Run in its own environment; again: it resumes from its cache.

usage: curator_run.py PROMPTS URL MODEL FOLDER IN_FLIGHT
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

prompts, url, model, folder, in_flight = sys.argv[1:]
os.environ |= {"TELEMETRY_ENABLED": "false", "CURATOR_DISABLE_RICH_DISPLAY": "1", "OPENAI_API_KEY": "none"}

# LiteLLM brings the tokenizer along that curator would download.
found = find_spec("litellm")
if found is not None and found.origin is not None:
    where = Path(found.origin).parent / "litellm_core_utils" / "tokenizers"
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(where))

from bespokelabs import curator  # noqa: E402  (it reads the environment when it is imported)


class Writer(curator.LLM):  # type: ignore[misc]
    def prompt(self, input: dict[str, str]) -> str:
        return input["prompt"]

    def parse(self, input: dict[str, str], response: str) -> dict[str, str]:
        return {"id": input["id"], "text": response}


def main() -> None:
    rows = [json.loads(line) for line in Path(prompts).read_text().splitlines()]
    writer = Writer(
        model_name=model,
        backend="openai",
        generation_params={"max_tokens": 400},
        backend_params={
            "base_url": f"{url}/v1",
            "max_requests_per_minute": 1_000_000,
            "max_tokens_per_minute": 1_000_000_000,
            "max_concurrent_requests": int(in_flight),
            "invalid_finish_reasons": [],
        },
    )
    done = writer(rows, working_dir=f"{folder}/curator").dataset
    done.to_json(f"{folder}/out.jsonl")


if __name__ == "__main__":
    main()
