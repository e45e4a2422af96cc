import type { JSX } from "solid-js";
import { t } from "../../i18n";
import { Screen } from "../Screen";

export default function PlanScreen(): JSX.Element {
  return <Screen title={t("plan.title")}>{null}</Screen>;
}
