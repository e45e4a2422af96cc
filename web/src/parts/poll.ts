/** Asks again and again while it is looked at: not in a hidden page, and never twice at once. */

import { createSignal, onCleanup } from "solid-js";

export interface Polled<T> {
  value: () => T | undefined;
  error: () => unknown;
  /** At once, beside the rhythm. */
  refresh: () => void;
  set: (value: T) => void;
}

export function poll<T>(ask: () => Promise<T>, everyMs: () => number, taken?: (value: T) => void): Polled<T> {
  const [value, setValue] = createSignal<T>();
  const [error, setError] = createSignal<unknown>();
  let timer: number | undefined;
  let gone = false;
  let turn = 0;
  const show = (found: T): void => {
    setValue(() => found);
    setError(undefined);
    taken?.(found);
  };
  const round = async (): Promise<void> => {
    window.clearTimeout(timer);
    const mine = ++turn;
    if (document.visibilityState === "visible") {
      try {
        const found = await ask();
        if (gone || mine !== turn) return;
        show(found);
      } catch (failure) {
        if (gone || mine !== turn) return;
        setError(failure);
      }
    }
    timer = window.setTimeout(() => void round(), everyMs());
  };
  const woken = (): void => {
    if (document.visibilityState === "visible") void round();
  };
  document.addEventListener("visibilitychange", woken);
  onCleanup(() => {
    gone = true;
    window.clearTimeout(timer);
    document.removeEventListener("visibilitychange", woken);
  });
  // Not before the caller has what this returns: its rhythm may ask it.
  queueMicrotask(() => void round());
  return {
    value,
    error,
    refresh: () => void round(),
    set: (found) => {
      turn += 1;
      show(found);
      window.clearTimeout(timer);
      timer = window.setTimeout(() => void round(), everyMs());
    },
  };
}
