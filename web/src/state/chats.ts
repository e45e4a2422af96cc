/**
 * The chats of this user, as far as they have been loaded: the sidebar, the wall and the open chat read them here.
 *
 * Pages come from the list as it is scrolled; what changes comes by the live stream. A chat that is deleted is only
 * hidden until its undo has gone.
 */

import { batch, createMemo, createRoot, createSignal } from "solid-js";
import { createStore, produce, reconcile, unwrap } from "solid-js/store";
import * as api from "../api/chats";
import { words } from "../api/http";
import type { Chat } from "../api/types";
import { t } from "../i18n";
import { watchLive } from "../live";
import { toast } from "../parts/Toast";
import { keepDraft } from "./drafts";

const [chats, setChats] = createStore<Record<string, Chat>>({});
const [hidden, setHidden] = createSignal<ReadonlySet<string>>(new Set());
const [order, setOrder] = createSignal<readonly string[]>([]);
const [hasMore, setHasMore] = createSignal(true);
const [loading, setLoading] = createSignal(false);
const [loadError, setLoadError] = createSignal<unknown>();
let cursor: string | undefined;

export { hasMore, loading, loadError };

/** Ids of the chats that are loaded and not deleted: pinned ones first, then by their last change. */
export const chatIds = createRoot(() =>
  createMemo(() => {
    const away = hidden();
    return away.size === 0 ? order() : order().filter((id) => !away.has(id));
  }),
);

/** A chat, when it is known here; its fields are followed one by one. */
export function chat(id: string): Chat | undefined {
  return chats[id];
}

/** Takes chats as the server has them now. */
export function putChats(list: readonly Chat[]): void {
  if (list.length === 0) return;
  batch(() => {
    let moved = false;
    for (const one of list) {
      const known = chats[one.id];
      moved ||= !known || known.updated_at !== one.updated_at || known.pinned !== one.pinned;
      if (known) setChats(one.id, reconcile(one));
      else setChats(one.id, one);
    }
    if (moved) sort();
  });
}

function sort(): void {
  setOrder(
    Object.values(unwrap(chats))
      .sort((a, b) => Number(b.pinned ?? false) - Number(a.pinned ?? false) || b.updated_at - a.updated_at)
      .map((one) => one.id),
  );
}

export function forgetChats(ids: readonly string[]): void {
  batch(() => {
    setChats(produce((all) => ids.forEach((id) => delete all[id])));
    setHidden((away) => new Set([...away].filter((id) => !ids.includes(id))));
    sort();
  });
}

/** The next page of the list. */
export async function loadMore(): Promise<void> {
  if (loading() || !hasMore()) return;
  setLoading(true);
  setLoadError(undefined);
  try {
    const page = await api.listChats(cursor ? { after: cursor } : {});
    batch(() => {
      putChats(page.data);
      setHasMore(page.has_more);
    });
    cursor = page.last_id || cursor;
  } catch (error) {
    setLoadError(error);
    setHasMore(!cursor);
  } finally {
    setLoading(false);
  }
}

/** At least `count` chats, if there are as many. */
export async function loadUpTo(count: number): Promise<void> {
  while (order().length < count && hasMore() && !loadError()) {
    if (loading()) await new Promise((resolve) => window.setTimeout(resolve, 50));
    else await loadMore();
  }
}

/** The chat as the server has it now. Throws ApiError. */
export async function loadChat(id: string): Promise<Chat> {
  const found = await api.getChat(id);
  putChats([found]);
  return found;
}

/** Shown changed at once; as it was again where the server refuses. */
export async function editChat(id: string, change: { title?: string; pinned?: boolean }): Promise<void> {
  const before = chats[id];
  if (before) putChats([{ ...before, ...change }]);
  try {
    putChats([await api.editChat(id, change)]);
  } catch (error) {
    if (before) putChats([before]);
    toast({ text: words(error), bad: true });
  }
}

/** Hidden at once, deleted when its undo has gone. */
export function deleteChat(id: string): void {
  const title = chats[id]?.title || t("chat.untitled");
  const show = (): void => void setHidden((away) => new Set([...away].filter((one) => one !== id)));
  setHidden((away) => new Set([...away, id]));
  toast({
    text: t("chat.deleted", { title }),
    action: { label: t("common.undo"), run: show },
    onGone: () => {
      api.deleteChat(id, true).then(
        () => {
          forgetChats([id]);
          keepDraft(id, "");
        },
        (error: unknown) => {
          show();
          toast({ text: words(error), bad: true });
        },
      );
    },
  });
}

export const isHidden = (id: string): boolean => hidden().has(id);

/** Follows the live stream; returns what ends it and forgets all: the next one here may be somebody else. */
export function followChats(): () => void {
  const stop = watchLive({
    chats: putChats,
    gone: forgetChats,
    whole: (_missed, first) => {
      if (first) return;
      // What changed during the break is at the top of the list.
      api.listChats({}).then((page) => putChats(page.data), () => undefined);
    },
  });
  return () => {
    stop();
    forgetChats(Object.keys(unwrap(chats)));
    setHasMore(true);
    cursor = undefined;
  };
}
