import { beforeAll, describe, expect, test } from "vitest";
import { type Text, bytes, duration, t, use, wanted } from "../src/i18n";
import en from "../src/i18n/en";
import ru from "../src/i18n/ru";

const forms = (text: Text): string[] => (typeof text === "string" ? [text] : Object.values(text));
const names = (text: string): string[] => [...text.matchAll(/\{\w+\}/g)].map((found) => found[0]).sort();

describe("both languages", () => {
  test("have the same keys", () => {
    expect(Object.keys(ru).sort()).toEqual(Object.keys(en).sort());
  });
  test.each(Object.entries(en) as [string, Text][])("%s takes the same values", (key, text) => {
    const wantedNames = new Set(forms(text).flatMap(names));
    for (const form of forms((ru as Record<string, Text>)[key] ?? "")) expect(new Set(names(form))).toEqual(wantedNames);
  });
  test("say something everywhere", () => {
    for (const text of [...Object.values(en), ...Object.values(ru)] as Text[]) for (const form of forms(text)) expect(form.trim()).not.toBe("");
  });
  test("Russian has all its plural forms", () => {
    for (const text of Object.values(ru) as Text[]) {
      if (typeof text !== "string") expect(Object.keys(text).sort()).toEqual(["few", "many", "one", "other"]);
    }
  });
});

describe("a language is chosen", () => {
  test.each([
    [null, ["ru-RU", "en"], "ru"],
    [null, ["de", "fr"], "en"],
    [null, ["de", "ru"], "ru"],
    ["en", ["ru"], "en"],
    ["xx", ["ru"], "ru"],
  ] as const)("stored %s, asked %s", (stored, asked, found) => expect(wanted(stored, asked)).toBe(found));
});

describe("in Russian", () => {
  beforeAll(() => use("ru"));
  test("numbers bring their forms", () => {
    expect([1, 3, 5, 21, 112].map((n) => t("chat.found", { n }))).toEqual(["1 чат", "3 чата", "5 чатов", "21 чат", "112 чатов"]);
  });
  test("times and sizes read naturally", () => {
    expect(duration(12)).toBe("12 с");
    expect(duration(600)).toBe("10 мин");
    expect(bytes(1_234_567)).toBe("1,23 MB");
  });
});
