import { expect, test } from "vitest";
import { spliced } from "../src/screens/chat/splice";

test("a first page is taken as it is", () => {
  expect(spliced([], ["a", "b"], true, false)).toEqual({ ids: ["a", "b"], hasEarlier: true });
});
test("what was loaded above the page stays", () => {
  expect(spliced(["a", "b", "c"], ["b", "c", "d"], true, false)).toEqual({ ids: ["a", "b", "c", "d"], hasEarlier: false });
});
test("another branch replaces what comes after its beginning", () => {
  expect(spliced(["a", "b", "c", "d"], ["b", "x"], true, true)).toEqual({ ids: ["a", "b", "x"], hasEarlier: true });
});
test("a page that begins elsewhere replaces all", () => {
  expect(spliced(["a", "b"], ["x", "y"], true, false)).toEqual({ ids: ["x", "y"], hasEarlier: true });
  expect(spliced(["a", "b"], ["a", "c"], false, false)).toEqual({ ids: ["a", "c"], hasEarlier: false });
  expect(spliced(["a"], [], false, true)).toEqual({ ids: [], hasEarlier: false });
});
