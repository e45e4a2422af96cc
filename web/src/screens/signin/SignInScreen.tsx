import type { JSX } from "solid-js";
import { t } from "../../i18n";
import { Screen } from "../Screen";

export default function SignInScreen(): JSX.Element {
  return <Screen title={t("signin.title")}>{null}</Screen>;
}
