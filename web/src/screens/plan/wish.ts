/** What is planned for: the sliders, kept from visit to visit. */

import type { PlanChoices, PlanQuery } from "../../api/plan";
import { nearest, stops } from "../../parts/scale";

export interface Wish {
  model: string;
  /** "": the server's own machine. */
  hardware: string;
  quant: string;
  gpus: number;
  chats: number;
  context: number;
  answer: number;
  think: number;
  bytes: number;
  lang: string;
  accept: number;
}

export const FIRST: Wish = {
  model: "Qwen2.5-7B",
  hardware: "RTX-4090",
  quant: "",
  gpus: 1,
  chats: 200,
  context: 4096,
  answer: 250,
  think: 20,
  bytes: 1e9,
  lang: "ru",
  accept: 0.85,
};

export const CHATS = stops(1, 2000);
export const BYTES = stops(1e6, 1e12, [1, 2, 5]);
export const GPUS = [1, 2, 4, 8, 16, 32];
const CONTEXTS = [512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072, 262_144, 524_288, 1_048_576];

/** The windows that a model can have open. */
export const contexts = (most: number): number[] => CONTEXTS.filter((one) => one <= Math.max(most, 512));

export const queryOf = (wish: Wish): PlanQuery => ({
  model: wish.model,
  ...(wish.hardware ? { hardware: wish.hardware, gpus: wish.gpus } : {}),
  ...(wish.quant ? { quant: wish.quant } : {}),
});

const STORED = "hubbub.plan";

/** What was planned last, as far as it still makes sense. */
export function restored(text: string | null): Wish {
  try {
    const found: unknown = JSON.parse(text ?? "{}");
    const wish = { ...FIRST };
    if (typeof found !== "object" || found === null) return wish;
    for (const key of Object.keys(wish) as (keyof Wish)[]) {
      const value = (found as Record<string, unknown>)[key];
      if (typeof value === typeof wish[key]) Object.assign(wish, { [key]: value });
    }
    return wish;
  } catch {
    return { ...FIRST };
  }
}

export const keptWish = (): Wish => restored(localStorage.getItem(STORED));
export const keepWish = (wish: Wish): void => localStorage.setItem(STORED, JSON.stringify(wish));

/** The model's window, where the model is known. */
export function fitting(wish: Wish, choices: PlanChoices | undefined): Wish {
  const model = choices?.models.find((one) => one.name === wish.model);
  if (!model || wish.context <= model.context) return wish;
  const room = contexts(model.context);
  return { ...wish, context: room[nearest(room, model.context)] ?? model.context };
}

/** Models by family, cards by kind: in the order they came. */
export function grouped<T>(all: readonly T[], name: (one: T) => string): [string, T[]][] {
  const groups = new Map<string, T[]>();
  for (const one of all) {
    const key = name(one);
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  return [...groups];
}

export const family = (model: string): string => /^[A-Za-z]+/.exec(model)?.[0] ?? model;
