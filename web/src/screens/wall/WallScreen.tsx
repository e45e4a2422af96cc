import type { JSX } from "solid-js";
import { t } from "../../i18n";
import { Screen } from "../Screen";

export default function WallScreen(): JSX.Element {
  return <Screen title={t("wall.title")}>{null}</Screen>;
}
