import { expect, test } from "vitest";
import { FIRST, contexts, fitting, grouped, queryOf, restored } from "../src/screens/plan/wish";

const CHOICES = { models: [{ name: "Small", parameters: 1e9, context: 8192 }], hardware: [], quants: [], languages: [], here: "" };

test("what was kept is taken as far as it makes sense", () => {
  expect(restored(null)).toEqual(FIRST);
  expect(restored("{")).toEqual(FIRST);
  expect(restored('{"chats": 5, "context": "wide", "other": 1}')).toEqual({ ...FIRST, chats: 5 });
});

test("the context fits the model", () => {
  expect(fitting({ ...FIRST, model: "Small", context: 131_072 }, CHOICES).context).toBe(8192);
  expect(fitting({ ...FIRST, model: "Unknown", context: 131_072 }, CHOICES).context).toBe(131_072);
  expect(contexts(2048)).toEqual([512, 1024, 2048]);
});

test("this machine is said by leaving the machine out", () => {
  expect(queryOf({ ...FIRST, hardware: "" })).toEqual({ model: FIRST.model });
  expect(queryOf({ ...FIRST, quant: "AWQ" })).toEqual({ model: FIRST.model, hardware: FIRST.hardware, gpus: 1, quant: "AWQ" });
});

test("groups keep their order", () => {
  expect(grouped(["a1", "b1", "a2"], (one) => one[0] ?? "")).toEqual([["a", ["a1", "a2"]], ["b", ["b1"]]]);
});
