/** Chats, their items and answers. */

import { del, get, patch, post, put, request } from "./http";
import { chatPath, itemsUrl } from "./paths";
import type { BroadcastBody, BroadcastOut, Chat, Item, Listed, ModelOut, ResponseOut, Style } from "./types";

export interface ListQuery {
  search?: string;
  after?: string;
  limit?: number;
}

export const listChats = (query: ListQuery, signal?: AbortSignal): Promise<Listed<Chat>> =>
  get("/v1/chats", { limit: 100, pinned_first: query.search ? undefined : true, ...query }, signal);

export const getChat = (id: string): Promise<Chat> => get(chatPath(id));
export const createChat = (body: { title?: string; style?: Partial<Style> } = {}): Promise<Chat> => post("/v1/chats", body);
export const deleteChat = (id: string, keepalive = false): Promise<unknown> => request("DELETE", chatPath(id), { keepalive });
export const forkChat = (id: string, at: string): Promise<Chat> => post(`${chatPath(id)}/fork`, { at });

export const editChat = (
  id: string,
  change: { title?: string; style?: Partial<Style>; pinned?: boolean },
): Promise<Chat> => patch(chatPath(id), change);

/** The last items first; `before`: those above that one. */
export const listItems = (id: string, before?: string): Promise<Listed<Item>> => get(itemsUrl(id, before));

/** Shows the branch that `item` is in. */
export const switchBranch = (id: string, item: string): Promise<Chat> => post(`${chatPath(id)}/branch`, { item });

export interface Ask {
  conversation: string;
  input: string;
  /** The item to ask after, "" for the beginning; the branch that was there is kept. Undefined: at the end. */
  after?: string;
}

/** Asks; the answer is written whether or not this page stays open. */
export function ask({ conversation, input, after }: Ask): Promise<ResponseOut> {
  return post("/v1/responses", {
    conversation,
    background: true,
    store: true,
    ...(input ? { input } : {}),
    ...(after === undefined ? {} : { after }),
  });
}

export const getResponse = (id: string): Promise<ResponseOut> => get(`/v1/responses/${encodeURIComponent(id)}`);
export const cancelResponse = (id: string): Promise<ResponseOut> => post(`/v1/responses/${encodeURIComponent(id)}/cancel`);

export const listModels = async (): Promise<ModelOut[]> => (await get<{ data: ModelOut[] }>("/v1/models")).data;

export interface SavedStyle {
  name: string;
  style: Style;
}

export const listStyles = async (): Promise<SavedStyle[]> => (await get<{ data: SavedStyle[] }>("/v1/styles")).data;
export const saveStyle = (name: string, style: Partial<Style>): Promise<SavedStyle> =>
  put(`/v1/styles/${encodeURIComponent(name)}`, style);
export const deleteStyle = (name: string): Promise<unknown> => del(`/v1/styles/${encodeURIComponent(name)}`);

export const broadcast = (body: BroadcastBody): Promise<BroadcastOut> => post("/v1/chats/broadcast", body);

/** Where a chat's copy can be had from. */
export const exportUrl = (id: string, format: "json" | "markdown" | "nexus"): string => `${chatPath(id)}/export?format=${format}`;

export function textOf(item: Item): string {
  if (item.type === "message") return item.content.map((part) => part.text).join("");
  return item.type === "function_call" ? item.arguments : item.output;
}
