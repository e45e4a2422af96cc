/** The items of one chat as far as they have been loaded: the newest ones, without gaps. */

import { batch, createSignal } from "solid-js";
import { createStore, reconcile } from "solid-js/store";
import type { Item } from "../../api/types";
import { spliced } from "./splice";

export interface Items {
  /** From the top. */
  ids: () => readonly string[];
  item: (id: string) => Item | undefined;
  hasEarlier: () => boolean;
  /** The newest items, oldest first; `more`: there are items before them. */
  takeLast: (page: readonly Item[], more: boolean) => void;
  /** Those just above what is there, oldest first. */
  takeEarlier: (page: readonly Item[], more: boolean) => void;
  /** Leaves out what comes after an item ("": everything); returns what brings it back. */
  cut: (after: string) => () => void;
  /** The item above an item; "" for the first; undefined where it is not loaded. */
  above: (id: string) => string | undefined;
}

export function createItems(): Items {
  const [items, setItems] = createStore<Record<string, Item>>({});
  const [ids, setIds] = createSignal<readonly string[]>([]);
  const [hasEarlier, setHasEarlier] = createSignal(false);
  const put = (page: readonly Item[]): void => page.forEach((item) => setItems(item.id, reconcile(item)));
  return {
    ids,
    item: (id) => items[id],
    hasEarlier,
    takeLast: (page, more) =>
      batch(() => {
        const list = spliced(ids(), page.map((item) => item.id), more, hasEarlier());
        put(page);
        setIds(list.ids);
        setHasEarlier(list.hasEarlier);
      }),
    takeEarlier: (page, more) =>
      batch(() => {
        put(page);
        setIds([...page.map((item) => item.id), ...ids()]);
        setHasEarlier(more);
      }),
    cut: (after) => {
      const before = ids();
      setIds(before.slice(0, before.indexOf(after) + 1));
      return () => setIds(before);
    },
    above: (id) => {
      const at = ids().indexOf(id);
      if (at > 0) return ids()[at - 1];
      return at === 0 && !hasEarlier() ? "" : undefined;
    },
  };
}
