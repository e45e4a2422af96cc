/**
 * The one stream of this page, `GET /v1/live`, opened again whenever it breaks.
 *
 * Sleep and dead networks leave a connection that says nothing: what has been silent for longer than the server's pings
 * allow is given up. Coming back to the page, or to the network, tries at once.
 */

import { ApiError, send } from "../api/http";
import { EventParser, type ServerEvent } from "./sse";

const SILENT_MS = 40_000;
const FIRST_PAUSE_MS = 400;
const LONGEST_PAUSE_MS = 10_000;

export interface Listener {
  event: (event: ServerEvent) => void;
  state: (open: boolean) => void;
}

export function connect(listener: Listener): () => void {
  const stop = new AbortController();
  let wake: () => void = () => undefined;
  let current: AbortController | undefined;
  let heard = performance.now();

  const nudge = (): void => {
    if (document.visibilityState === "hidden") return;
    if (performance.now() - heard > SILENT_MS) current?.abort();
    wake();
  };
  const lost = (): void => current?.abort();
  document.addEventListener("visibilitychange", nudge);
  window.addEventListener("online", nudge);
  window.addEventListener("offline", lost);
  const watch = window.setInterval(() => performance.now() - heard > SILENT_MS && current?.abort(), 5000);

  const read = async (): Promise<void> => {
    current = new AbortController();
    heard = performance.now();
    const response = await send("GET", "/v1/live", { signal: AbortSignal.any([stop.signal, current.signal]) });
    if (!response.body) return;
    const parser = new EventParser();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard = performance.now();
      for (const event of parser.feed(value)) listener.event(event);
    }
  };

  const run = async (): Promise<void> => {
    let pause = FIRST_PAUSE_MS;
    while (!stop.signal.aborted) {
      const began = performance.now();
      try {
        await read();
      } catch (error) {
        if (error instanceof ApiError && error.status === 401) return; // the shell shows the sign-in
      }
      if (stop.signal.aborted) return;
      listener.state(false);
      pause = performance.now() - began > LONGEST_PAUSE_MS ? FIRST_PAUSE_MS : Math.min(pause * 2, LONGEST_PAUSE_MS);
      await new Promise<void>((resolve) => {
        wake = resolve;
        window.setTimeout(resolve, pause * (0.75 + Math.random() / 2));
      });
    }
  };
  void run();

  return () => {
    stop.abort();
    window.clearInterval(watch);
    document.removeEventListener("visibilitychange", nudge);
    window.removeEventListener("online", nudge);
    window.removeEventListener("offline", lost);
  };
}
