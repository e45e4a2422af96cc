import type { JSX } from "solid-js";
import { t } from "../../i18n";
import { Screen } from "../Screen";

export default function ImportScreen(): JSX.Element {
  return <Screen title={t("import.title")}>{null}</Screen>;
}
