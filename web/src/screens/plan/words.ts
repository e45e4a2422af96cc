/** Figures of the planner as people read them. */

import { type Key, bytes, duration, number, t } from "../../i18n";
import type { Figure } from "../../api/plan";

const YEAR_S = 31_557_600;

/** As `duration`, on to years. */
export function longTime(seconds: number): string {
  if (seconds < 0.0995) return t("plan.milliseconds", { value: Math.round(seconds * 1000) });
  if (seconds < 9.95) return t("unit.seconds", { value: Number(seconds.toPrecision(2)) });
  if (seconds >= 1.5 * YEAR_S) return t("plan.years", { value: Number((seconds / YEAR_S).toPrecision(2)) });
  if (seconds >= 90 * 86_400) return t("plan.months", { value: Math.round(seconds / (YEAR_S / 12)) });
  return duration(seconds);
}

export const usd = (value: number): string =>
  number(value, { style: "currency", currency: "USD", maximumFractionDigits: value < 100 ? 2 : 0, minimumFractionDigits: 0 });

/** 1,234 or 12.3 M: three digits are enough. */
export const short = (value: number): string => number(value, { notation: value >= 10_000 ? "compact" : "standard", maximumSignificantDigits: 3 });

export function inUnit(value: number, unit: string): string {
  if (unit === "bytes") return bytes(value);
  if (unit === "s") return longTime(value);
  if (unit === "USD") return usd(value);
  return short(value);
}

/** "from … to …", or nothing where it is exact. */
export function band(figure: Figure): string {
  if (figure.low === figure.high) return "";
  return t("plan.band", { low: inUnit(figure.low, figure.unit), high: inUnit(figure.high, figure.unit) });
}

const SOURCES: Record<string, Key> = {
  "measured here": "plan.from.measured",
  "fitted from published rows": "plan.from.fitted",
  "first principles": "plan.from.principles",
  "measured tables": "plan.from.table",
  "as you stated it": "plan.from.stated",
  "the engine's default": "plan.from.default",
};

/** Where a figure comes from. */
export function source(figure: Figure): string {
  const key = SOURCES[figure.provenance];
  return key ? t(key) : figure.provenance;
}

/** Marks of a scale of time. */
export const TIMES: readonly number[] = [60, 600, 3600, 6 * 3600, 86_400, 7 * 86_400, 30.44 * 86_400, YEAR_S, 10 * YEAR_S, 100 * YEAR_S];

export const timeMark = (seconds: number): string => {
  const marks: readonly [number, Key][] = [
    [60, "plan.mark.minute"],
    [600, "plan.mark.tenMinutes"],
    [3600, "plan.mark.hour"],
    [6 * 3600, "plan.mark.sixHours"],
    [86_400, "plan.mark.day"],
    [7 * 86_400, "plan.mark.week"],
    [30.44 * 86_400, "plan.mark.month"],
    [YEAR_S, "plan.mark.year"],
    [10 * YEAR_S, "plan.mark.tenYears"],
    [100 * YEAR_S, "plan.mark.century"],
  ];
  const key = marks.find(([at]) => at === seconds)?.[1];
  return key ? t(key) : longTime(seconds);
};

/** What the notes said about each of their four ways, in seconds; the way is told by its letter. */
export const NOTES: Record<string, { low: number; high: number; title: Key; why: Key; said: Key }> = {
  A: { low: 2 * YEAR_S, high: 3 * YEAR_S, title: "plan.way.A", why: "plan.why.A", said: "plan.said.A" },
  B: { low: 60 * 86_400, high: 120 * 86_400, title: "plan.way.B", why: "plan.why.B", said: "plan.said.B" },
  C: { low: 10 * 86_400, high: 12 * 86_400, title: "plan.way.C", why: "plan.why.C", said: "plan.said.C" },
  D: { low: 86_400, high: 2 * 86_400, title: "plan.way.D", why: "plan.why.D", said: "plan.said.D" },
};
