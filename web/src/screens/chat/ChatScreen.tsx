import type { JSX } from "solid-js";
import { t } from "../../i18n";
import { Screen } from "../Screen";

export function ChatScreen(): JSX.Element {
  return <Screen title={t("nav.chat")}>{null}</Screen>;
}
