/**
 * One open chat: its items as far as they have been loaded, the question just sent, the answer that is being written.
 *
 * Rows are told apart by keys that outlive a change of what they show: the row of a question stays the same row when its
 * item has come, the row of an answer when it has ended. The list would jump otherwise.
 */

import { batch, createEffect, createMemo, createSignal, onCleanup } from "solid-js";
import { createStore, reconcile } from "solid-js/store";
import * as api from "../../api/chats";
import { ApiError } from "../../api/http";
import type { AnswerError, Item } from "../../api/types";
import { type Answer, type Ended, answerOf, dropAnswer, expectAnswer, watchLive, wholeAnswer } from "../../live";
import { chat, loadChat, putChats } from "../../state/chats";
import { spliced } from "./splice";

/** The row of an answer while it has no item. */
const answerKey = (response: string): string => `#answer:${response}`;

export interface Thread {
  readonly id: string;
  /** Keys of the rows, from the top. */
  rows: () => readonly string[];
  item: (key: string) => Item | undefined;
  /** The text of a question that has no item yet. */
  question: (key: string) => string | undefined;
  /** The answer whose row this is, while it has no item. */
  answer: (key: string) => Answer | undefined;
  busy: () => boolean;
  loaded: () => boolean;
  failed: () => unknown;
  hasEarlier: () => boolean;
  /** True while earlier items are being put in at the top. */
  shifting: () => boolean;
  /** Why the last answer has failed, unless it is being asked again. */
  trouble: () => AnswerError | undefined;
  loadEarlier: () => Promise<void>;
  reload: () => Promise<void>;
  /** Asks at the end, or after the item `after`. Throws ApiError; then all is as it was. */
  ask: (input: string, after?: string) => Promise<void>;
  /** Has the answer to a question written once more. Throws ApiError. */
  again: (question: string) => Promise<void>;
  stop: () => Promise<void>;
  switchTo: (item: string) => Promise<void>;
  /** The item above an item; "" for the first; undefined where it is not loaded. */
  above: (item: string) => string | undefined;
}

export function createThread(id: string): Thread {
  const [items, setItems] = createStore<Record<string, Item>>({});
  const [ids, setIds] = createSignal<readonly string[]>([]);
  const [hasEarlier, setHasEarlier] = createSignal(false);
  const [loaded, setLoaded] = createSignal(false);
  const [failed, setFailed] = createSignal<unknown>();
  const [shifting, setShifting] = createSignal(false);
  const [pending, setPending] = createSignal<{ key: string; text: string; accepted: boolean }>();
  const [trouble, setTrouble] = createSignal<AnswerError>();
  // An item to the key of the row that showed it before it was an item, and back.
  const keys = new Map<string, string>();
  const [itemOf, setItemOf] = createStore<Record<string, string>>({});
  let asks = 0;

  const keyOf = (item: string): string => keys.get(item) ?? item;
  const adopt = (item: string, key: string): void => {
    keys.set(item, key);
    setItemOf(key, item);
  };
  const open = createMemo(() => {
    const answer = answerOf(id);
    return answer && !itemOf[answerKey(answer.response)] && answer.end?.status !== "failed" ? answer : undefined;
  });
  const rows = createMemo(() => {
    const all = ids().map(keyOf);
    const asked = pending();
    if (asked) all.push(asked.key);
    const answer = open();
    if (answer) all.push(answerKey(answer.response));
    return all;
  });
  const busy = (): boolean => {
    const answer = answerOf(id);
    return pending() !== undefined || (answer !== undefined && answer.end === null);
  };

  const take = (page: readonly Item[], more: boolean): void => {
    const list = spliced(ids(), page.map((item) => item.id), more, hasEarlier());
    for (const item of page) setItems(item.id, reconcile(item));
    setIds(list.ids);
    setHasEarlier(list.hasEarlier);
  };

  /** Ties the rows that were there before their items to these items, where they are new at the end. */
  const settle = (before: ReadonlySet<string>, seen: { asked: boolean; ended: boolean }): void => {
    const asked = pending();
    const answer = answerOf(id);
    let found = false;
    for (const name of ids().filter((one) => !before.has(one))) {
      const item = items[name];
      if (item?.type !== "message") continue;
      if (asked && item.role === "user") {
        adopt(name, asked.key);
        found = true;
      }
      if (answer && item.role === "assistant" && name === ids().at(-1)) adopt(name, answerKey(answer.response));
    }
    if (found || seen.asked) setPending(undefined);
    if (answer?.end && answer.end.status !== "failed" && (seen.ended || itemOf[answerKey(answer.response)] !== undefined)) {
      dropAnswer(answer.response);
    }
  };

  let loading: Promise<void> | undefined;
  let againAfter = false;
  const load = async (): Promise<void> => {
    // What had happened before the server was asked is in what it says; what comes meanwhile may not be.
    const seen = { asked: pending()?.accepted ?? false, ended: Boolean(answerOf(id)?.end) };
    try {
      const page = await api.listItems(id);
      batch(() => {
        const before = new Set(ids());
        take([...page.data].reverse(), page.has_more);
        settle(before, seen);
        setLoaded(true);
        setFailed(undefined);
      });
    } catch (error) {
      setFailed(error);
    }
  };
  /** One at a time: what is asked for meanwhile is done once more afterwards. */
  const reload = async (): Promise<void> => {
    if (loading) {
      againAfter = true;
      return loading;
    }
    loading = (async () => {
      do {
        againAfter = false;
        await load();
      } while (againAfter);
    })();
    await loading;
    loading = undefined;
  };

  createEffect(() => {
    const answer = answerOf(id);
    if (answer?.skipped && answer.end === null) void wholeAnswer(answer.response);
  });

  const seeTrouble = async (): Promise<void> => {
    const last = chat(id)?.last_response;
    if (last?.status !== "failed" || busy()) return setTrouble(undefined);
    const answer = await api.getResponse(last.id).catch(() => undefined);
    if (!busy()) setTrouble(answer?.error ?? { message: "" });
  };

  const start = (): void => {
    setFailed(undefined);
    loadChat(id).then(seeTrouble, setFailed);
    void reload();
  };
  start();

  const ended = (end: Ended): void => {
    if (end.chat !== id) return;
    if (end.status === "failed") setTrouble(end.error ?? { message: "" });
    void reload();
  };
  onCleanup(
    watchLive({
      ended,
      // What ended just before the snapshot is in neither.
      whole: () => start(),
      chats: (changed) => {
        const mine = changed.find((one) => one.id === id);
        // Asked, or switched, from elsewhere.
        if (mine && loaded() && !pending() && mine.state !== "idle" && mine.items !== ids().length && !hasEarlier()) void reload();
      },
    }),
  );

  const loadEarlier = async (): Promise<void> => {
    const first = ids()[0];
    if (!first || shifting() || !hasEarlier()) return;
    setShifting(true);
    try {
      const page = await api.listItems(id, first);
      batch(() => {
        for (const item of page.data) setItems(item.id, reconcile(item));
        setIds([...page.data.map((item) => item.id).reverse(), ...ids()]);
        setHasEarlier(page.has_more);
      });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    } finally {
      requestAnimationFrame(() => setShifting(false));
    }
  };

  const ask = async (input: string, after?: string): Promise<void> => {
    const before = ids();
    const hadTrouble = trouble();
    batch(() => {
      setTrouble(undefined);
      if (after !== undefined) setIds(before.slice(0, before.indexOf(after) + 1));
      if (input) setPending({ key: `#ask:${asks++}`, text: input, accepted: false });
    });
    try {
      const response = await api.ask({ conversation: id, input, ...(after === undefined ? {} : { after }) });
      batch(() => {
        setPending((asked) => asked && { ...asked, accepted: true });
        expectAnswer(id, response.id);
      });
      void reload();
    } catch (error) {
      batch(() => {
        setPending(undefined);
        setIds(before);
        setTrouble(hadTrouble);
      });
      throw error;
    }
  };

  return {
    id,
    rows,
    item: (key) => items[itemOf[key] ?? key],
    question: (key) => (pending()?.key === key ? pending()?.text : undefined),
    answer: (key) => {
      const answer = answerOf(id);
      return answer && answerKey(answer.response) === key ? answer : undefined;
    },
    busy,
    loaded,
    failed,
    hasEarlier,
    shifting,
    trouble,
    loadEarlier,
    reload: async () => start(),
    ask,
    again: (question) => ask("", question),
    stop: async () => {
      const answer = answerOf(id);
      if (answer && answer.end === null) await api.cancelResponse(answer.response);
    },
    switchTo: async (item) => {
      putChats([await api.switchBranch(id, item)]);
      await reload();
    },
    above: (item) => {
      const at = ids().indexOf(item);
      if (at > 0) return ids()[at - 1];
      return at === 0 && !hasEarlier() ? "" : undefined;
    },
  };
}
