/**
 * The answers that are being written, as `/v1/live` tells of them. Pure: no network, no screen.
 *
 * A snapshot says all there is; frames then say what is new. A delta is taken once: what its number says was in the
 * text already, after a snapshot, is left out. `changed` collects what a reader has to draw anew.
 */

import type { AnswerError, AnswerStatus, Chat, Usage } from "../api/types";

export interface Running {
  chat: string;
  response: string;
  sequence_number: number;
  text: string;
  /** Characters that come before `text`: a snapshot has only the end of a long one. */
  skipped?: number;
  state: "waiting" | "running";
  position?: number | null;
  estimate_s?: number | null;
}

export interface Snapshot {
  running: Running[];
}

export interface Frame {
  deltas?: [response: string, sequence: number, text: string][];
  started?: { chat: string; response: string; state: "waiting" | "running" }[];
  queue?: [response: string, position: number | null, estimate: number | null][];
  ended?: Ended[];
  chats?: Chat[];
  gone?: string[];
}

export interface Ended {
  chat: string;
  response: string;
  status: AnswerStatus;
  error?: AnswerError | null;
  usage?: Usage | null;
}

export interface Answer extends Running {
  /** Null while it is being written. */
  end: Ended | null;
}

/** Answers that have ended are kept for the wall's tiles, this many: a page may be open for weeks. */
const KEPT_ENDS = 500;

/** Characters that are kept of the end of an answer whose chat is not open; twice as many are there before it is cut. */
export const TAIL = 20_000;

export class Answers {
  readonly byId = new Map<string, Answer>();
  /** The newest answer of a chat. */
  readonly byChat = new Map<string, Answer>();
  readonly changed = new Set<string>();
  readonly #ended: string[] = [];
  readonly #open = new Set<string>();

  /** Takes all there is; returns the chats of answers that ended unseen, while there was no connection. */
  reset(snapshot: Snapshot): string[] {
    const before = [...this.byId.values()].filter((answer) => answer.end === null);
    const now = new Set(snapshot.running.map((one) => one.response));
    const missed = before.filter((answer) => !now.has(answer.response));
    for (const answer of missed) this.#forget(answer);
    for (const one of snapshot.running) this.#put({ ...one, end: null });
    return missed.map((answer) => answer.chat);
  }

  apply(frame: Frame): void {
    for (const one of frame.started ?? []) this.#start(one);
    for (const [response, sequence, text] of frame.deltas ?? []) this.#append(response, sequence, text);
    for (const [response, position, estimate] of frame.queue ?? []) this.#queue(response, position, estimate);
    for (const end of frame.ended ?? []) this.#end(end);
  }

  /** An answer this page has just asked for, before the stream tells of it. */
  expect(chat: string, response: string): void {
    if (!this.byId.has(response)) this.#put({ chat, response, sequence_number: -1, text: "", state: "waiting", end: null });
  }

  /** Answers of this chat are kept whole until what is returned is called. */
  open(chat: string): () => void {
    this.#open.add(chat);
    return () => this.#open.delete(chat);
  }

  /** The whole text up to the event `sequence`, read elsewhere. Taken only if that is just where the answer is. */
  fill(response: string, sequence: number, text: string): boolean {
    const answer = this.byId.get(response);
    if (!answer?.skipped || answer.sequence_number !== sequence) return false;
    this.#put({ ...answer, text, skipped: 0 });
    return true;
  }

  /** The end has been shown from elsewhere: the answer is an item of its chat now. */
  drop(response: string): void {
    const answer = this.byId.get(response);
    if (answer) this.#forget(answer);
  }

  clear(): void {
    for (const answer of [...this.byId.values()]) this.#forget(answer);
  }

  #put(answer: Answer): void {
    const older = this.byChat.get(answer.chat);
    if (older && older.response !== answer.response && older.end !== null) this.byId.delete(older.response);
    this.byId.set(answer.response, answer);
    this.byChat.set(answer.chat, answer);
    this.changed.add(answer.chat);
  }

  #forget(answer: Answer): void {
    this.byId.delete(answer.response);
    if (this.byChat.get(answer.chat)?.response === answer.response) this.byChat.delete(answer.chat);
    this.changed.add(answer.chat);
  }

  #start({ chat, response, state }: { chat: string; response: string; state: "waiting" | "running" }): void {
    const known = this.byId.get(response);
    if (!known) this.#put({ chat, response, sequence_number: -1, text: "", state, end: null });
    else if (known.end === null) this.#put({ ...known, state });
  }

  #append(response: string, sequence: number, text: string): void {
    const answer = this.byId.get(response);
    if (!answer || answer.end !== null || sequence <= answer.sequence_number) return;
    const whole = answer.text + text;
    // A wall of hundreds of answers would fill the memory within hours. Whoever opens the chat has the rest read again.
    const cut = whole.length > 2 * TAIL && !this.#open.has(answer.chat) ? whole.length - TAIL : 0;
    const skipped = (answer.skipped ?? 0) + cut;
    this.#put({ ...answer, text: whole.slice(cut), skipped, sequence_number: sequence, state: "running" });
  }

  #queue(response: string, position: number | null, estimate: number | null): void {
    const answer = this.byId.get(response);
    if (answer && answer.end === null) this.#put({ ...answer, position, estimate_s: estimate });
  }

  #end(end: Ended): void {
    const answer = this.byId.get(end.response);
    this.changed.add(end.chat);
    if (!answer) return;
    this.#put({ ...answer, end });
    this.#ended.push(answer.response);
    while (this.#ended.length > KEPT_ENDS) {
      const oldest = this.byId.get(this.#ended.shift() ?? "");
      if (oldest) this.#forget(oldest);
    }
  }
}
