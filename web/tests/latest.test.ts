import { expect, test, vi } from "vitest";
import { latest } from "../src/parts/latest";

function gate<T>(): { promise: Promise<T>; open: (value: T) => void; fail: (error: unknown) => void } {
  let open!: (value: T) => void;
  let fail!: (error: unknown) => void;
  const promise = new Promise<T>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return { promise, open, fail };
}

test("a stale answer is dropped, and only the newest wish is asked for", async () => {
  vi.useFakeTimers();
  const asked: number[] = [];
  const shown: string[] = [];
  const gates = [gate<void>(), gate<void>()];
  const busy: boolean[] = [];
  const one = latest<number>(
    [
      async (wish) => {
        asked.push(wish);
        await gates[asked.length - 1]?.promise;
        return () => shown.push(`first ${wish}`);
      },
      async (wish) => () => shown.push(`second ${wish}`),
    ],
    { busy: (now) => busy.push(now), failed: () => shown.push("failed") },
  );
  one.want(1);
  await vi.runAllTimersAsync();
  one.want(2);
  one.want(3);
  gates[0]?.open();
  await vi.runAllTimersAsync();
  gates[1]?.open();
  await vi.runAllTimersAsync();
  expect(asked.at(-1)).toBe(3);
  expect(shown).toEqual(["first 3", "second 3"]);
  expect(busy).toEqual([true, false]);
  vi.useRealTimers();
});

test("a failure ends its steps, and the next wish is tried", async () => {
  vi.useFakeTimers();
  const shown: string[] = [];
  const one = latest<number>(
    [
      async (wish) => {
        if (wish === 1) throw new Error("no room");
        return () => shown.push(`ok ${wish}`);
      },
    ],
    { busy: () => undefined, failed: (error) => shown.push(String(error)) },
  );
  one.want(1);
  await vi.runAllTimersAsync();
  one.want(2);
  await vi.runAllTimersAsync();
  expect(shown).toEqual(["Error: no room", "ok 2"]);
  vi.useRealTimers();
});
