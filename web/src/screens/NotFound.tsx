import type { JSX } from "solid-js";
import { t } from "../i18n";
import { EmptyState } from "../parts/States";
import { Screen } from "./Screen";

export function NotFound(): JSX.Element {
  return (
    <Screen title="Hubbub">
      <EmptyState icon="search" title={t("notFound.title")} text={t("notFound.text")} />
    </Screen>
  );
}
