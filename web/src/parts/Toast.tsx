/** Short messages at the edge, some with an undo. `toast(...)` from anywhere; `<Toasts/>` once. */

import { For, type JSX, Show, createSignal } from "solid-js";
import { t } from "../i18n";
import { Button, IconButton } from "./Button";

const SHOWN_MS = 6000;

export interface Toast {
  text: string;
  bad?: boolean;
  /** Label and act of its button. */
  action?: { label: string; run: () => void };
  /** When it has gone without its button having been pressed. */
  onGone?: () => void;
}

interface Shown extends Toast {
  id: number;
  timer: number;
}

const [toasts, setToasts] = createSignal<readonly Shown[]>([]);
let next = 0;

/** Shows it for some seconds; returns what takes it away at once. */
export function toast(what: Toast): () => void {
  const id = next++;
  const timer = window.setTimeout(() => gone(id, true), SHOWN_MS);
  setToasts((all) => [...all, { ...what, id, timer }]);
  return () => gone(id, false);
}

function gone(id: number, tell: boolean): void {
  const found = toasts().find((one) => one.id === id);
  if (!found) return;
  window.clearTimeout(found.timer);
  setToasts((all) => all.filter((one) => one.id !== id));
  if (tell) found.onGone?.();
}

/** What was only marked for now is done now: the page is being closed. */
export function settleToasts(): void {
  for (const one of toasts()) gone(one.id, true);
}

export function Toasts(): JSX.Element {
  return (
    <ol class="toasts" role="status" aria-live="polite">
      <For each={toasts()}>
        {(one) => (
          <li class="toast" classList={{ bad: one.bad ?? false }}>
            <span class="grow">{one.text}</span>
            <Show when={one.action}>
              {(action) => (
                <Button
                  small
                  onClick={() => {
                    gone(one.id, false);
                    action().run();
                  }}
                >
                  {action().label}
                </Button>
              )}
            </Show>
            <IconButton small icon="close" label={t("common.close")} onClick={() => gone(one.id, true)} />
          </li>
        )}
      </For>
    </ol>
  );
}
