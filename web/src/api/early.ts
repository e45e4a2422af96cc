/**
 * What the first screen will ask for anyway, asked before its program has been loaded.
 *
 * Each answer is handed out once; whatever is asked for later is asked anew.
 */

import { itemsUrl } from "./paths";

const asked = new Map<string, Promise<Response>>();

function ask(address: string): void {
  const answer = fetch(address, { credentials: "same-origin", cache: "no-store" });
  // Nobody may come for it: then its failure is nobody's either.
  answer.catch(() => undefined);
  asked.set(address, answer);
}

/** Asks for what the screen at this path of the page shows first. */
export function askEarly(path: string): void {
  ask("/v1/session");
  const chat = /^\/chat\/([^/]+)$/.exec(path)?.[1];
  if (chat) ask(itemsUrl(decodeURIComponent(chat)));
}

/** The answer to that address, if it was asked for; only the first asker gets it. */
export function takeEarly(address: string): Promise<Response> | undefined {
  const answer = asked.get(address);
  asked.delete(address);
  return answer;
}
