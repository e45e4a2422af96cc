import type { JSX } from "solid-js";
import { t } from "../../i18n";
import { Screen } from "../Screen";

export default function KeysScreen(): JSX.Element {
  return <Screen title={t("keys.title")}>{null}</Screen>;
}
