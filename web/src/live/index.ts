/**
 * What is going on, for all screens: `answerOf(chat)` is a signal of a chat's newest answer.
 *
 * Frames are taken as they come and shown once a picture frame, however many came between: 200 chats cost 200 small
 * updates a picture, not one for each token.
 */

import { type Accessor, type Setter, batch, createSignal } from "solid-js";
import type { Chat } from "../api/types";
import { type Answer, Answers, type Ended, type Frame, type Snapshot } from "./answers";
import { connect } from "./connection";
import { readWhole } from "./whole";

export type { Answer, Ended } from "./answers";

const answers = new Answers();
const signals = new Map<string, [Accessor<Answer | undefined>, Setter<Answer | undefined>]>();
const [online, setOnline] = createSignal<boolean>();
const [counts, setCounts] = createSignal({ waiting: 0, running: 0 });

/** Undefined before the first try has come out. */
export { online };
/** How many answers wait, and are being written. */
export { counts };

export interface Watcher {
  /** Chats that are new or have changed. */
  chats?: (chats: Chat[]) => void;
  gone?: (ids: string[]) => void;
  ended?: (end: Ended) => void;
  /** The stream is whole again after a break; `missed`: chats whose answers ended meanwhile. */
  whole?: (missed: string[], first: boolean) => void;
}
const watchers = new Set<Watcher>();

/** Returns what ends it. */
export function watchLive(watcher: Watcher): () => void {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

/** The newest answer of a chat while it is being written, and until its item is there. */
export function answerOf(chat: string): Answer | undefined {
  let pair = signals.get(chat);
  if (!pair) {
    pair = createSignal<Answer | undefined>(answers.byChat.get(chat));
    signals.set(chat, pair);
  }
  return pair[0]();
}

/** Tells of an answer that was just asked for. */
export function expectAnswer(chat: string, response: string): void {
  answers.expect(chat, response);
  draw();
}

/** The answer's item is on the screen now. */
export function dropAnswer(response: string): void {
  answers.drop(response);
  draw();
}

/** The answers of a chat are kept whole while it is open; returns what ends that. */
export const keepWhole = (chat: string): (() => void) => answers.open(chat);

/** Reads what a snapshot has left out of a long answer. */
export async function wholeAnswer(response: string): Promise<void> {
  await readWhole(answers, response);
  draw();
}

let pictured = false;
function soon(): void {
  if (pictured) return;
  pictured = true;
  // Hidden pages get no picture frames, and must not collect work for hours either.
  if (document.visibilityState === "hidden") window.setTimeout(draw, 250);
  else requestAnimationFrame(draw);
}

function draw(): void {
  pictured = false;
  batch(() => {
    for (const chat of answers.changed) signals.get(chat)?.[1](answers.byChat.get(chat));
    let waiting = 0;
    let running = 0;
    for (const answer of answers.byChat.values()) {
      if (answer.end !== null) continue;
      if (answer.state === "waiting") waiting += 1;
      else running += 1;
    }
    setCounts((before) => (before.waiting === waiting && before.running === running ? before : { waiting, running }));
  });
  answers.changed.clear();
}

let stop: (() => void) | undefined;
let first = true;

/** Opens the stream, once. */
export function startLive(): void {
  stop ??= connect({
    state: (open) => setOnline(open),
    event: ({ event, data }) => {
      if (event === "snapshot") whole(JSON.parse(data) as Snapshot);
      else if (event === "frame") take(JSON.parse(data) as Frame);
    },
  });
}

/** Closes it, and forgets what it told. */
export function stopLive(): void {
  stop?.();
  stop = undefined;
  first = true;
  answers.clear();
  draw();
}

function whole(snapshot: Snapshot): void {
  const missed = answers.reset(snapshot);
  draw();
  setOnline(true);
  for (const watcher of watchers) watcher.whole?.(missed, first);
  first = false;
}

function take(frame: Frame): void {
  answers.apply(frame);
  soon();
  for (const watcher of watchers) {
    if (frame.chats) watcher.chats?.(frame.chats);
    if (frame.gone) watcher.gone?.(frame.gone);
    for (const end of frame.ended ?? []) watcher.ended?.(end);
  }
}
