/** Chats in and out as files. */

import { request } from "./http";

export interface Imported {
  created: number;
  updated: number;
  unchanged: number;
  items: number;
  /** What was not kept, by kind. */
  left_out: Record<string, number>;
  /** Files that hold no chats, by their endings. */
  passed_over: Record<string, number>;
  problems: { file: string; chat: string; message: string }[];
  problem_count: number;
  chats: string[];
}

export const importFile = (name: string, file: Blob): Promise<Imported> =>
  request("POST", "/v1/chats/import", { body: file.type ? file.slice(0, file.size, "application/octet-stream") : file, query: { name } });

export type ExportFormat = "json" | "markdown" | "nexus";
export const exportAllUrl = (format: ExportFormat): string => `/v1/chats/export?format=${format}`;
