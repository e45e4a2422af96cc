/** What a chat's list comes to when its last page is read anew. Pure. */

export interface Spliced {
  ids: string[];
  hasEarlier: boolean;
}

/**
 * `known`: what is shown; `page`: the newest items, oldest first; `more`: there are items before them.
 * What is known above the page stays, if the page begins within it: another branch shares its beginning.
 */
export function spliced(known: readonly string[], page: readonly string[], more: boolean, hadEarlier: boolean): Spliced {
  const first = page[0];
  const at = first === undefined ? -1 : known.indexOf(first);
  if (at <= 0) return { ids: [...page], hasEarlier: more };
  return { ids: [...known.slice(0, at), ...page], hasEarlier: hadEarlier };
}
