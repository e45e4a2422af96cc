/** Recipes, and the corpora that are written from them. */

import { del, get, post } from "./http";

export interface Recipe {
  name: string;
  description: string;
  bytes: string;
  languages: string[];
  linked: boolean;
  recipe: string;
}

export interface RecipeProblem {
  /** From 1; 0: the whole. */
  line: number;
  key: string;
  message: string;
}

export interface RecipeChecked {
  ok: boolean;
  problems: RecipeProblem[];
  name: string;
  description: string;
  target: number;
  unit: string;
  languages: string[];
  linked: boolean;
  steps: string[];
  prompts: { item: number; title: string; messages: { role: string; content: string }[] }[];
}

export interface CorpusProgress {
  at: number;
  unit: string;
  amount: number;
  target: number;
  bytes: number;
  records: number;
  items: number;
  tokens_s: number;
  bytes_s: number;
  records_s: number;
  accept_rate: number;
  near_duplicates: number;
  in_flight: number;
  limit: number;
  eta_s: number | null;
  eta_low_s: number | null;
  eta_high_s: number | null;
  rejected: Record<string, number>;
  faults: Record<string, number>;
  diversity: Record<string, number | null>;
}

export type CorpusState = "waiting" | "running" | "paused" | "finished" | "stopped" | "failed";

export interface Corpus {
  name: string;
  created_at: number;
  state: CorpusState;
  reason: string;
  linked: boolean;
  model: string;
  bytes: string;
  seed: number | null;
  recipe: string;
  progress: CorpusProgress | null;
  samples: { reason: string; item: number; text: string }[] | null;
}

export interface Records {
  data: Record<string, unknown>[];
  first: number;
  total: number;
  has_more: boolean;
}

const path = (name: string): string => `/v1/corpora/${encodeURIComponent(name)}`;

export const listRecipes = async (): Promise<Recipe[]> => (await get<{ data: Recipe[] }>("/v1/recipes")).data;
export const checkRecipe = (recipe: string, bytes?: string): Promise<RecipeChecked> =>
  post("/v1/recipes/check", { recipe, prompts: 3, ...(bytes ? { bytes } : {}) });
export const listCorpora = async (): Promise<Corpus[]> => (await get<{ data: Corpus[] }>("/v1/corpora")).data;
export const getCorpus = (name: string): Promise<Corpus> => get(path(name));
export const createCorpus = (body: { name: string; recipe: string; bytes?: string; seed?: number }): Promise<Corpus> =>
  post("/v1/corpora", body);
export const moveCorpus = (name: string, to: "pause" | "resume" | "stop"): Promise<Corpus> => post(`${path(name)}/${to}`);
export const deleteCorpus = (name: string): Promise<unknown> => del(path(name));
export const listRecords = (name: string, after?: number, limit = 20): Promise<Records> =>
  get(`${path(name)}/records`, { after, limit });
/** Where the finished hypertext can be read. */
export const siteUrl = (name: string): string => `${path(name)}/site/`;
