/**
 * The rows of one chat: its items, the question just sent, the answer that is being written.
 *
 * They are told apart by keys that outlive a change of what they show: the row of a question stays the same row when its
 * item has come, the row of an answer when it has ended. The list would jump otherwise.
 */

import { createMemo, createSignal } from "solid-js";
import { createStore } from "solid-js/store";
import type { Item } from "../../api/types";
import { type Answer, answerOf, dropAnswer } from "../../live";
import type { Items } from "./items";

/** The row of an answer while it has no item. */
const answerKey = (response: string): string => `#answer:${response}`;

export interface Pending {
  key: string;
  text: string;
  accepted: boolean;
}

/** What had happened before the server was asked for items, so that what it says includes it. */
export interface Seen {
  asked: boolean;
  ended: boolean;
}

export interface Rows {
  keys: () => readonly string[];
  item: (key: string) => Item | undefined;
  answer: (key: string) => Answer | undefined;
  pending: () => Pending | undefined;
  /** Shows a question that has no item yet. */
  ask: (text: string) => void;
  accepted: () => void;
  unask: () => void;
  look: () => Seen;
  /** Ties the rows that were there before their items to these items, where they are new at the end: not `known`. */
  settle: (known: ReadonlySet<string>, seen: Seen) => void;
}

export function createRows(chat: string, items: Items): Rows {
  const [pending, setPending] = createSignal<Pending>();
  // An item to the key of the row that showed it before it was an item, and back.
  const keys = new Map<string, string>();
  const [itemOf, setItemOf] = createStore<Record<string, string>>({});
  let asks = 0;

  const adopt = (item: string, key: string): void => {
    keys.set(item, key);
    setItemOf(key, item);
  };
  const open = createMemo(() => {
    const answer = answerOf(chat);
    return answer && !itemOf[answerKey(answer.response)] && answer.end?.status !== "failed" ? answer : undefined;
  });
  const openKey = createMemo(() => {
    const answer = open();
    return answer && answerKey(answer.response);
  });
  const all = createMemo(() => {
    const list = items.ids().map((id) => keys.get(id) ?? id);
    const asked = pending()?.key;
    if (asked) list.push(asked);
    const answer = openKey();
    if (answer) list.push(answer);
    return list;
  });

  const settle: Rows["settle"] = (known, seen) => {
    const asked = pending();
    const answer = answerOf(chat);
    let found = false;
    for (const id of items.ids().filter((one) => !known.has(one))) {
      const item = items.item(id);
      if (item?.type !== "message") continue;
      if (asked && item.role === "user") {
        adopt(id, asked.key);
        found = true;
      }
      if (answer && item.role === "assistant" && id === items.ids().at(-1)) adopt(id, answerKey(answer.response));
    }
    if (found || seen.asked) setPending(undefined);
    if (answer?.end && answer.end.status !== "failed" && (seen.ended || itemOf[answerKey(answer.response)] !== undefined)) {
      dropAnswer(answer.response);
    }
  };

  return {
    keys: all,
    item: (key) => items.item(itemOf[key] ?? key),
    answer: (key) => {
      const answer = answerOf(chat);
      return answer && answerKey(answer.response) === key ? answer : undefined;
    },
    pending,
    ask: (text) => setPending({ key: `#ask:${asks++}`, text, accepted: false }),
    accepted: () => setPending((asked) => asked && { ...asked, accepted: true }),
    unask: () => setPending(undefined),
    look: () => ({ asked: pending()?.accepted ?? false, ended: Boolean(answerOf(chat)?.end) }),
    settle,
  };
}
