/** One open chat: what is loaded of it, kept up to date, and what can be asked in it. */

import { type Accessor, batch, createEffect, createSignal, onCleanup } from "solid-js";
import * as api from "../../api/chats";
import { ApiError } from "../../api/http";
import type { AnswerError, Item } from "../../api/types";
import { type Answer, type Ended, answerOf, expectAnswer, keepWhole, watchLive, wholeAnswer } from "../../live";
import { chat, loadChat, putChats } from "../../state/chats";
import { type Items, createItems } from "./items";
import { type Rows, createRows } from "./rows";

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
  loadingEarlier: () => boolean;
  /** How often something was asked here. */
  asked: () => number;
  /** Why the last answer has failed, unless it is being asked again. */
  trouble: () => AnswerError | undefined;
  loadEarlier: () => Promise<void>;
  reload: () => void;
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
  const items = createItems();
  const rows = createRows(id, items);
  const loader = createLoader(id, items, rows);
  const earlier = createEarlier(id, items);
  const busy = (): boolean => {
    const answer = answerOf(id);
    return rows.pending() !== undefined || (answer !== undefined && answer.end === null);
  };
  const trouble = createTrouble(id, busy);
  const start = (): void => {
    loader.setFailed(undefined);
    loadChat(id).then(trouble.see, loader.setFailed);
    void loader.reload();
  };
  start();
  followLive(id, { items, rows, loader, start, failed: trouble.set });
  const asking = createAsking(id, { items, rows, trouble, reload: loader.reload });
  return {
    id,
    rows: rows.keys,
    item: rows.item,
    question: (key) => (rows.pending()?.key === key ? rows.pending()?.text : undefined),
    answer: rows.answer,
    busy,
    loaded: loader.loaded,
    failed: loader.failed,
    hasEarlier: items.hasEarlier,
    loadingEarlier: earlier.loading,
    asked: asking.count,
    trouble: trouble.error,
    loadEarlier: earlier.load,
    reload: start,
    ask: asking.ask,
    again: (question) => asking.ask("", question),
    stop: async () => {
      const answer = answerOf(id);
      if (answer && answer.end === null) await api.cancelResponse(answer.response);
    },
    switchTo: async (item) => {
      putChats([await api.switchBranch(id, item)]);
      await loader.reload();
    },
    above: items.above,
  };
}

interface Loader {
  loaded: Accessor<boolean>;
  failed: Accessor<unknown>;
  setFailed: (error: unknown) => void;
  /** One at a time: what is asked for meanwhile is done once more afterwards. */
  reload: () => Promise<void>;
  /** Resolves when nothing is being read. */
  idle: () => Promise<void>;
}

/** Reads the newest items. */
function createLoader(id: string, items: Items, rows: Rows): Loader {
  const [loaded, setLoaded] = createSignal(false);
  const [failed, setFailed] = createSignal<unknown>();
  let loading: Promise<void> | undefined;
  let againAfter = false;
  const load = async (): Promise<void> => {
    const seen = rows.look();
    try {
      const page = await api.listItems(id);
      batch(() => {
        const known = new Set(items.ids());
        items.takeLast([...page.data].reverse(), page.has_more);
        rows.settle(known, seen);
        setLoaded(true);
        setFailed(undefined);
      });
    } catch (error) {
      setFailed(error);
    }
  };
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
  return { loaded, failed, setFailed: (error) => void setFailed(() => error), reload, idle: async () => loading };
}

function createEarlier(id: string, items: Items): { loading: Accessor<boolean>; load: () => Promise<void> } {
  const [loading, setLoading] = createSignal(false);
  const load = async (): Promise<void> => {
    const first = items.ids()[0];
    if (!first || loading() || !items.hasEarlier()) return;
    setLoading(true);
    try {
      const page = await api.listItems(id, first);
      // Another branch may be shown by now.
      if (items.ids()[0] === first) items.takeEarlier([...page.data].reverse(), page.has_more);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    } finally {
      setLoading(false);
    }
  };
  return { loading, load };
}

interface Trouble {
  error: Accessor<AnswerError | undefined>;
  set: (error: AnswerError | undefined) => void;
  /** Asks the server why the last answer has failed, if it has. */
  see: () => Promise<void>;
}

function createTrouble(id: string, busy: () => boolean): Trouble {
  const [error, setError] = createSignal<AnswerError>();
  const see = async (): Promise<void> => {
    const last = chat(id)?.last_response;
    if (last?.status !== "failed" || busy()) return void setError(undefined);
    const answer = await api.getResponse(last.id).catch(() => undefined);
    if (!busy()) setError(answer?.error ?? { message: "" });
  };
  return { error, set: (found) => void setError(found), see };
}

interface Parts {
  items: Items;
  rows: Rows;
  loader: Loader;
  start: () => void;
  failed: (error: AnswerError) => void;
}

function followLive(id: string, { items, rows, loader, start, failed }: Parts): void {
  onCleanup(keepWhole(id));
  createEffect(() => {
    const answer = answerOf(id);
    if (answer?.skipped && answer.end === null) void wholeAnswer(answer.response);
  });
  const answered = (): boolean => {
    const last = items.item(items.ids().at(-1) ?? "");
    return last?.type === "message" && last.role === "assistant";
  };
  const ended = (end: Ended): void => {
    if (end.chat !== id) return;
    if (end.status === "failed") failed(end.error ?? { message: "" });
    void loader.reload();
  };
  onCleanup(
    watchLive({
      ended,
      whole: (_missed, first) => {
        if (!first) return start();
        // What ended between the first reading and the first snapshot is in neither: its question stands last, then.
        void loader.idle().then(() => answered() || start());
      },
      chats: (changed) => {
        const mine = changed.find((one) => one.id === id);
        // Asked, or switched, from elsewhere.
        const news = mine && mine.state !== "idle" && mine.items !== items.ids().length;
        if (news && loader.loaded() && !rows.pending() && !items.hasEarlier()) void loader.reload();
      },
    }),
  );
}

interface Asks {
  items: Items;
  rows: Rows;
  trouble: Trouble;
  reload: () => Promise<void>;
}

function createAsking(id: string, { items, rows, trouble, reload }: Asks): { count: Accessor<number>; ask: Thread["ask"] } {
  const [count, setCount] = createSignal(0);
  const ask: Thread["ask"] = async (input, after) => {
    const hadTrouble = trouble.error();
    let restore = (): void => undefined;
    batch(() => {
      trouble.set(undefined);
      if (after !== undefined) restore = items.cut(after);
      if (input) rows.ask(input);
      setCount((n) => n + 1);
    });
    try {
      const response = await api.ask({ conversation: id, input, ...(after === undefined ? {} : { after }) });
      batch(() => {
        rows.accepted();
        expectAnswer(id, response.id);
      });
      void reload();
    } catch (error) {
      batch(() => {
        rows.unask();
        restore();
        trouble.set(hadTrouble);
      });
      throw error;
    }
  };
  return { count, ask };
}
