"""datatrove's InferenceRunner over prompts.jsonl. Run in datatrove's own environment; again: it resumes.

usage: datatrove_run.py PROMPTS URL MODEL FOLDER IN_FLIGHT
"""

from __future__ import annotations

import sys
from typing import Any

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

prompts, url, model, folder, in_flight = sys.argv[1:]


async def rollout(document: Any, generate: Any) -> Any:
    return await generate({"messages": [{"role": "user", "content": document.text}], "max_tokens": 400})


def main() -> None:
    config = InferenceConfig(
        server_type="endpoint",
        endpoint_url=url,
        model_name_or_path=model,
        max_concurrent_generations=int(in_flight),
        metric_interval=3600,
    )
    runner = InferenceRunner(
        rollout_fn=rollout,
        config=config,
        output_writer=JsonlWriter(
            f"{folder}/out", output_filename="${rank}_chunk_${chunk_index}.jsonl", compression=None
        ),
        checkpoints_local_dir=f"{folder}/checkpoints",
        records_per_chunk=500,
    )
    LocalPipelineExecutor(
        pipeline=[JsonlReader(prompts, text_key="prompt", id_key="id"), runner],
        logging_dir=f"{folder}/logs",
        tasks=1,
    ).run()


if __name__ == "__main__":
    main()
