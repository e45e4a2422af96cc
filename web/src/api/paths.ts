/** Addresses of the server. Needs nothing else of the page: what is asked first is asked before the rest is loaded. */

export type Query = Record<string, string | number | boolean | null | undefined>;

export function url(path: string, query?: Query): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null) search.set(key, String(value));
  }
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}

export const chatPath = (id: string): string => `/v1/chats/${encodeURIComponent(id)}`;

/** What fills a screen or two, and the pages that a reader scrolls up to. */
const FIRST_ITEMS = 60;
const MORE_ITEMS = 200;

/** The last items first; `before`: those above that one. */
export const itemsUrl = (id: string, before?: string): string =>
  url(`${chatPath(id)}/items`, { order: "desc", limit: before ? MORE_ITEMS : FIRST_ITEMS, after: before, branches: true });
