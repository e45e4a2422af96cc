import type { JSX } from "solid-js";
import { t } from "../../i18n";
import { Screen } from "../Screen";

export default function CorpusScreen(): JSX.Element {
  return <Screen title={t("corpus.title")}>{null}</Screen>;
}
