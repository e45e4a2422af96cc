/** Keys of the API, one's own password, and, for admins, the users. */

import "./keys.css";
import { type JSX, Match, Show, Switch, createResource } from "solid-js";
import { ApiError } from "../../api/http";
import { listKeys } from "../../api/members";
import { session } from "../../api/session";
import { t } from "../../i18n";
import { EmptyState, ErrorNote, Spinner } from "../../parts/States";
import { Screen } from "../Screen";
import { Keys } from "./Keys";
import { Users } from "./Users";

export default function KeysScreen(): JSX.Element {
  const [keys, { refetch }] = createResource(listKeys);
  const closed = (): boolean => keys.error instanceof ApiError && keys.error.status === 404;
  return (
    <Screen title={t("keys.title")}>
      <Switch
        fallback={
          <div class="empty">
            <Spinner />
          </div>
        }
      >
        <Match when={session()?.mode === "open" || closed()}>
          <EmptyState icon="key" title={t("keys.open")} text={t("keys.openText")}>
            <pre class="keys-command">hubbub serve --keys required --first-admin</pre>
          </EmptyState>
        </Match>
        <Match when={keys.error}>
          <ErrorNote error={keys.error} onRetry={() => void refetch()} />
        </Match>
        <Match when={keys.latest}>
          {(list) => (
            <div class="keys">
              <Keys keys={list()} onChanged={() => void refetch()} />
              <Show when={session()?.admin}>
                <Users />
              </Show>
            </div>
          )}
        </Match>
      </Switch>
    </Screen>
  );
}
