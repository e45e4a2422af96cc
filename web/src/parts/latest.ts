/** Asks in steps for what was wanted last: one question at a time, and what came too late is dropped. Pure. */

export type Step<W> = (wanted: W) => Promise<() => void>;

export interface Latest<W> {
  want: (wanted: W) => void;
  stop: () => void;
}

/**
 * `steps` are run one after another for the newest wish; each resolves to what shows its answer. A newer wish lets the
 * step in flight end, shows nothing of it, and begins anew: a server that answers one at a time is never asked in vain.
 * It begins when nothing else was wished for `pauseMs`.
 */
export function latest<W>(
  steps: readonly Step<W>[],
  on: { busy: (busy: boolean) => void; failed: (error: unknown) => void; pauseMs?: number },
): Latest<W> {
  let wanted: { wish: W } | undefined;
  let running = false;

  const answer = async (mine: { wish: W }): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, on.pauseMs ?? 0));
    for (const step of steps) {
      if (wanted !== mine) return;
      try {
        const show = await step(mine.wish);
        if (wanted === mine) show();
      } catch (error) {
        if (wanted === mine) on.failed(error);
        break;
      }
    }
    if (wanted === mine) wanted = undefined;
  };
  const run = async (): Promise<void> => {
    running = true;
    on.busy(true);
    while (wanted) await answer(wanted);
    running = false;
    on.busy(false);
  };
  return {
    want(wish) {
      wanted = { wish };
      if (!running) void run();
    },
    stop() {
      wanted = undefined;
    },
  };
}
