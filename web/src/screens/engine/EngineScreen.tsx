import type { JSX } from "solid-js";
import { t } from "../../i18n";
import { Screen } from "../Screen";

export default function EngineScreen(): JSX.Element {
  return <Screen title={t("engine.title")}>{null}</Screen>;
}
