/** Words in the reader's language. Keys are those of the English dictionary; the others have to have them all. */

import type { Dictionary, Key } from "./en";

export type { Key } from "./en";
export type Language = "en" | "ru";
export type Values = Record<string, string | number>;

/** One text, or one for each plural form of the number `n`. */
export type Text = string | Partial<Record<Intl.LDMLPluralRule, string>>;

export const LANGUAGES: Record<Language, string> = { en: "English", ru: "Русский" };
const STORED = "hubbub.language";

let dictionary: Readonly<Record<string, Text>> = {};
let current: Language = "en";
let plurals = new Intl.PluralRules("en");

export function language(): Language {
  return current;
}

/** What the reader chose here, else what the browser asks for. */
export function wanted(stored: string | null, asked: readonly string[]): Language {
  if (stored === "en" || stored === "ru") return stored;
  for (const tag of asked) {
    const name = tag.toLowerCase().split("-")[0];
    if (name === "en" || name === "ru") return name;
  }
  return "en";
}

/** Has to be done before anything is shown. Only the language that is read is loaded. */
export async function loadLanguage(): Promise<void> {
  await use(wanted(localStorage.getItem(STORED), navigator.languages));
  document.documentElement.lang = current;
}

export async function use(name: Language): Promise<void> {
  const module: { default: Dictionary } = name === "ru" ? await import("./ru") : await import("./en");
  dictionary = module.default;
  current = name;
  plurals = new Intl.PluralRules(name);
}

/** Keeps the choice and shows the page anew in it. */
export function chooseLanguage(name: Language): void {
  localStorage.setItem(STORED, name);
  location.reload();
}

/** The text of a key; `{name}` in it is replaced by the value of that name. */
export function t(key: Key, values?: Values): string {
  const found = dictionary[key];
  if (found === undefined) return key;
  let text = "";
  if (typeof found === "string") text = found;
  else text = found[plurals.select(Number(values?.["n"] ?? 0))] ?? found.other ?? key;
  return values ? text.replace(/\{(\w+)\}/g, (whole, name: string) => shown(values[name], whole)) : text;
}

function shown(value: string | number | undefined, otherwise: string): string {
  if (value === undefined) return otherwise;
  return typeof value === "number" ? number(value) : value;
}

export function number(value: number, options?: Intl.NumberFormatOptions): string {
  return new Intl.NumberFormat(current, options).format(value);
}

/** 12 s, 3 min, 2 h: about how long. */
export function duration(seconds: number): string {
  if (seconds < 90) return t("unit.seconds", { value: Math.max(1, Math.round(seconds)) });
  if (seconds < 5400) return t("unit.minutes", { value: Math.round(seconds / 60) });
  if (seconds < 172_800) return t("unit.hours", { value: Math.round(seconds / 360) / 10 });
  return t("unit.days", { value: Math.round(seconds / 8640) / 10 });
}

/** 1.2 MB, in powers of ten. */
export function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let step = 0;
  while (value >= 999.5 && step < units.length - 1) {
    value /= 1000;
    step += 1;
  }
  return `${number(value, { maximumSignificantDigits: 3 })} ${units[step]}`;
}

/** The hour of today, the day of this year, or the whole date. */
export function when(seconds: number): string {
  const date = new Date(seconds * 1000);
  const now = new Date();
  if (date.toDateString() === now.toDateString()) return new Intl.DateTimeFormat(current, { timeStyle: "short" }).format(date);
  const sameYear = date.getFullYear() === now.getFullYear();
  return new Intl.DateTimeFormat(current, { day: "numeric", month: "short", ...(sameYear ? {} : { year: "numeric" }) }).format(date);
}
