/** Gauges as people read them; "–" where nothing can be said. */

import { number, t } from "../../i18n";

type Value = number | null | undefined;
const NOTHING = "–";

export const percent = (value: Value): string => (value === null || value === undefined ? NOTHING : number(value, { style: "percent", maximumFractionDigits: value < 0.1 ? 1 : 0 }));
export const rate = (value: Value): string => (value === null || value === undefined ? NOTHING : number(value, { maximumSignificantDigits: 3 }));

export function seconds(value: Value): string {
  if (value === null || value === undefined) return NOTHING;
  if (value < 0.9995) return t("engine.milliseconds", { value: Number((value * 1000).toPrecision(3)) });
  return t("unit.seconds", { value: Number(value.toPrecision(3)) });
}
