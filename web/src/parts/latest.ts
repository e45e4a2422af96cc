/** Asks in steps for what was wanted last: one question at a time, and what came too late is dropped. Pure. */

export type Step<W> = (wanted: W) => Promise<() => void>;

export interface Latest<W> {
  want: (wanted: W) => void;
  stop: () => void;
}

/**
 * `steps` are run one after another for the newest wish; each resolves to what shows its answer. A newer wish lets the
 * step in flight end, shows nothing of it, and begins anew: a server that answers one at a time is never asked in vain.
 */
export function latest<W>(
  steps: readonly Step<W>[],
  on: { busy: (busy: boolean) => void; failed: (error: unknown) => void; pauseMs?: number; begin?: () => void },
): Latest<W> {
  let wanted: { wish: W } | undefined;
  let running = false;
  let stopped = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const run = async (): Promise<void> => {
    running = true;
    on.busy(true);
    while (wanted && !stopped) {
      const mine: { wish: W } = wanted;
      const stale = (): boolean => wanted !== mine || stopped;
      on.begin?.();
      for (const step of steps) {
        try {
          const show = await step(mine.wish);
          if (stale()) break;
          show();
        } catch (error) {
          if (!stale()) on.failed(error);
          break;
        }
      }
      if (!stale()) wanted = undefined;
    }
    running = false;
    if (!stopped) on.busy(false);
  };
  return {
    want(wish) {
      if (running) wanted = { wish };
      clearTimeout(timer);
      timer = setTimeout(() => {
        wanted = { wish };
        if (!running) void run();
      }, on.pauseMs ?? 0);
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
