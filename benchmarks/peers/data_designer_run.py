"""NVIDIA Data Designer over prompts.jsonl: one text column. Run in its own environment; again: it resumes.

usage: data_designer_run.py PROMPTS URL MODEL FOLDER IN_FLIGHT
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("NEMO_TELEMETRY_ENABLED", "false")

import data_designer.config as dd
import pandas as pd
from data_designer.interface import DataDesigner

prompts, url, model, folder, in_flight = sys.argv[1:]


def main() -> None:
    rows = [json.loads(line) for line in Path(prompts).read_text().splitlines()]
    seeds = Path(folder) / "seeds.parquet"
    seeds.parent.mkdir(parents=True, exist_ok=True)
    if not seeds.exists():
        pd.DataFrame(rows).to_parquet(seeds)
    provider = dd.ModelProvider(name="engine", endpoint=f"{url}/v1", provider_type="openai", api_key="none")
    parameters = dd.ChatCompletionInferenceParams(max_tokens=400, max_parallel_requests=int(in_flight), timeout=120)
    config = dd.ModelConfig(
        alias="writer", model=model, provider="engine", inference_parameters=parameters, skip_health_check=True
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[config])
    builder.with_seed_dataset(dd.LocalFileSeedSource(path=str(seeds)))
    builder.add_column(dd.LLMTextColumnConfig(name="answer", model_alias="writer", prompt="{{ prompt }}"))
    designer = DataDesigner(artifact_path=f"{folder}/artifacts", model_providers=[provider])
    designer.set_run_config(dd.RunConfig(buffer_size=500))
    designer.create(builder, num_records=len(rows), dataset_name="peer", resume=dd.ResumeMode.IF_POSSIBLE)


if __name__ == "__main__":
    main()
