/** The models there are, asked once and again when an engine may have come. */

import { createMemo, createRoot, createSignal } from "solid-js";
import { listModels } from "../api/chats";
import type { ModelOut } from "../api/types";

const [models, setModels] = createSignal<readonly ModelOut[]>([]);

export const baseModels = createRoot(() => createMemo(() => models().filter((model) => !model.parent)));
export const adapters = createRoot(() => createMemo(() => models().filter((model) => model.parent)));

export async function loadModels(): Promise<void> {
  try {
    setModels(await listModels());
  } catch {
    // What needs them shows that there are none; the connection's own notice says why.
  }
}

/** Tokens of the window of a model, or of the first one; undefined while no engine has said. */
export function windowOf(name: string | null | undefined): number | undefined {
  const all = baseModels();
  return (all.find((model) => model.id === name) ?? all[0])?.max_model_len;
}
