/** The engine room. Rates are tokens a second, shares 0 to 1, times seconds; null: nothing can be said. */

import { get, post } from "./http";

type Value = number | null;
type Ends = "input_tokens_s" | "output_tokens_s" | "kv_fill" | "cache_hits" | "ttft_p50_s" | "ttft_p95_s" | "itl_p50_s" | "itl_p95_s";
type Classes = "running_chat" | "running_bulk" | "waiting_chat" | "waiting_bulk";
export type Gauge = Ends | Classes;

export interface EngineGauges {
  id: string;
  now: Record<Ends | "running" | "waiting", Value>;
  history: Record<Ends | "running" | "waiting", Value[]>;
}

export interface Room {
  at: number;
  step_s: number;
  times: number[];
  now: Record<Gauge, Value>;
  history: Record<Gauge, Value[]>;
  engines: EngineGauges[];
  users: { user: string | null; tier: "chat" | "bulk"; running: number; waiting: number }[];
}

export interface Engine {
  id: string;
  kind: string;
  ready: boolean;
  draining: boolean;
  restarting: boolean;
  trouble: string;
  models: string[];
  adapters: string[];
  running: number;
  waiting: number;
  max_sequences: number;
  context_window: number;
  kv_tokens: number;
  kv_used: number;
  details: Record<string, string>;
  can_restart: boolean;
  pid: number | null;
  rss_bytes: number | null;
  restarts: number | null;
  cost_usd: number | null;
}

const path = (id: string): string => `/v1/engines/${encodeURIComponent(id)}`;

export const getRoom = (): Promise<Room> => get("/v1/room");
export const listEngines = async (): Promise<Engine[]> => (await get<{ data: Engine[] }>("/v1/engines")).data;
export const engineLog = async (id: string): Promise<string[]> => (await get<{ lines: string[] }>(`${path(id)}/log`, { lines: 200 })).lines;
export const drainEngine = (id: string, undo: boolean): Promise<Engine> => post(`${path(id)}/drain`, { undo });
export const restartEngine = (id: string, force: boolean): Promise<Engine> => post(`${path(id)}/restart`, { force });
