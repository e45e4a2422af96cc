/** What a screen shows when there is nothing, when it waits, and when something went wrong. */

import { type JSX, Show } from "solid-js";
import { words } from "../api/http";
import { t } from "../i18n";
import { Button } from "./Button";
import { Icon, type IconName } from "./Icon";

export function EmptyState(props: { icon: IconName; title: string; text?: string; children?: JSX.Element }): JSX.Element {
  return (
    <div class="empty">
      <Icon name={props.icon} />
      <h2>{props.title}</h2>
      <Show when={props.text}>
        <p>{props.text}</p>
      </Show>
      {props.children}
    </div>
  );
}

export function ErrorNote(props: { error: unknown; onRetry?: () => void }): JSX.Element {
  return (
    <div class="note bad" role="alert">
      <Icon name="warning" />
      <div class="note-text">{words(props.error)}</div>
      <Show when={props.onRetry}>
        {(retry) => (
          <Button small icon="retry" onClick={() => retry()()}>
            {t("error.retry")}
          </Button>
        )}
      </Show>
    </div>
  );
}

export function Spinner(props: { label?: string }): JSX.Element {
  return (
    <span role="status" class="row soft">
      <span class="spinner" />
      <span class={props.label ? "" : "visually-hidden"}>{props.label ?? t("common.loading")}</span>
    </span>
  );
}
