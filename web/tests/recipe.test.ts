import { expect, test } from "vitest";
import { freeName, quoted, sizeOf, topValue, withTop } from "../src/screens/corpus/toml";

const RECIPE = `# A recipe.

name = "pages"
seed = 7  # drawn once

[columns.model]
values = ["a"]
`;

test("a key is changed in its place, added at the top, taken away", () => {
  expect(withTop(RECIPE, "seed", "9")).toContain("\nseed = 9\n");
  const added = withTop(RECIPE, "model", quoted('big "one"'));
  expect(added).toContain('# A recipe.\n\nmodel = "big \\"one\\""\nname = "pages"');
  expect(withTop(added, "model", "")).toBe(RECIPE);
  expect(withTop(RECIPE, "model", "")).toBe(RECIPE);
});

test("a table's keys are not the file's", () => {
  expect(topValue(RECIPE, "values")).toBe("");
  expect(topValue(RECIPE, "seed")).toBe("7");
  expect(topValue(RECIPE, "name")).toBe("pages");
});

test("names are free and allowed", () => {
  expect(freeName("pages", ["pages", "pages-2"])).toBe("pages-3");
  expect(freeName("../Страницы", [])).toMatch(/^[A-Za-z0-9]/);
});

test("sizes", () => {
  expect(sizeOf("20MB")).toBe(2e7);
  expect(sizeOf("1 GiB")).toBe(2 ** 30);
  expect(sizeOf("5000")).toBe(5000);
  expect(sizeOf("1000 records")).toBeUndefined();
});
