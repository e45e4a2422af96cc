/** Plans: POST /v1/plan. Bytes, seconds, tokens; every figure with its 90 % band. */

import { post } from "./http";

export interface Figure {
  value: number;
  low: number;
  high: number;
  unit: string;
  provenance: string;
  narrower: string;
}

export interface PlanChoices {
  models: { name: string; parameters: number; context: number }[];
  hardware: { name: string; kind: string; memory: number; price_usd: number | null; rent_usd_h: number | null }[];
  quants: string[];
  languages: string[];
  here: string;
}

export interface MemoryPlan {
  setup: string;
  model: string;
  quant: string;
  cards_per_copy: number;
  copies: number;
  card_memory: Figure;
  usable: Figure;
  weights: Figure;
  engine_overhead: Figure;
  kv_room: Figure;
  kv_per_chat: Figure;
  kv_tokens: Figure;
  context: number;
  chats_resident: Figure;
  reread_s: Figure;
}

export interface CurvePoint {
  chats: number;
  tokens_s: number;
  ttft_p95: number;
  itl_p95: number;
}

type Percentiles = Partial<Record<"p50" | "p95" | "p99", Figure>>;

export interface ChatsPlan {
  setup: string;
  chats: number;
  ttft: Percentiles;
  itl: Percentiles;
  answer_time: Percentiles;
  tokens_s: Figure;
  running_mean: number;
  queue_mean: number;
  preemptions: number;
  prefix_hit: number;
  curve?: CurvePoint[];
  largest?: Figure;
  changes?: Change[];
}

export interface Change {
  change: string;
  fits: boolean;
  why?: string;
  ttft_p95_s?: number;
  itl_p95_s?: number;
  tokens_s?: number;
  meets_targets?: boolean;
  ram?: number;
}

export interface CorpusPlan {
  bytes: number;
  tokens: Figure;
  requests: Figure;
  speed: Figure;
  time: Figure;
  energy: Figure;
  rent?: Figure;
  own: Figure;
  api_cost: Figure;
  disk: Figure;
}

export interface Scenario {
  way: string;
  note: string;
  ours: { setup: string; speed?: Figure; time: Figure }[];
  reason: string;
}

export interface Scenarios {
  bytes: number;
  lang: string;
  tokens: Figure;
  scenarios: Scenario[];
  corrections: { claim: string; correction: string }[];
}

export interface PlanQuery {
  model: string;
  /** Left out: the server's own machine. */
  hardware?: string;
  quant?: string;
  gpus?: number;
}

export const planChoices = (): Promise<PlanChoices> => post("/v1/plan", { kind: "choices" });
export const planMemory = (query: PlanQuery, context: number): Promise<MemoryPlan> =>
  post("/v1/plan", { kind: "memory", ...query, context });
export const planChats = (
  query: PlanQuery,
  ask: { chats: number; context: number; answer: number; think: number; curve?: boolean; search?: boolean },
): Promise<ChatsPlan> => post("/v1/plan", { kind: "chats", ...query, search: false, ...ask });
export const planCorpus = (query: PlanQuery, bytes: number, lang: string, accept: number): Promise<CorpusPlan> =>
  post("/v1/plan", { kind: "corpus", ...query, bytes: String(Math.round(bytes)), lang, accept });
export const planScenarios = (bytes: number, lang: string): Promise<Scenarios> =>
  post("/v1/plan", { kind: "scenarios", bytes: String(Math.round(bytes)), lang });
