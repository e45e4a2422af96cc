import { expect, test } from "vitest";
import { ends, logShare, nearest, stops, ticks } from "../src/parts/scale";

test("a place between powers of ten", () => {
  expect(logShare(10, 1, 100)).toBeCloseTo(0.5);
  expect(logShare(0.1, 1, 100)).toBe(0);
  expect(logShare(1e9, 1, 100)).toBe(1);
  expect(logShare(0, 1, 100)).toBe(0);
});

test("stops are round, rise, and hold both ends", () => {
  const all = stops(1, 2000);
  expect(all[0]).toBe(1);
  expect(all.at(-1)).toBe(2000);
  expect(all).toContain(200);
  expect([...all].sort((a, b) => a - b)).toEqual(all);
  expect(new Set(all).size).toBe(all.length);
});

test("the nearest stop is so by ratio", () => {
  expect(nearest([1, 10, 100], 30)).toBe(1);
  expect(nearest([1, 10, 100], 40)).toBe(2);
});

test("ends leave room, whatever is given", () => {
  expect(ends([])).toEqual([1, 10]);
  const [low, high] = ends([3, 300, Number.NaN, 0]);
  expect(low).toBeLessThan(3);
  expect(high).toBeGreaterThan(300);
});

test("marks are thinned", () => {
  expect(ticks([1, 2, 3, 4, 5, 6], 1.5, 6, 3)).toEqual([2, 4, 6]);
});
