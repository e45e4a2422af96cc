/** A dialog as it is while it is open: see Dialog. */

import { Dialog as Kobalte } from "@kobalte/core/dialog";
import { type JSX, Show } from "solid-js";
import { t } from "../i18n";
import { buttonClass } from "./Button";
import type { DialogProps } from "./Dialog";
import { Icon } from "./Icon";

export function OpenDialog(props: DialogProps): JSX.Element {
  return (
    <Kobalte open onOpenChange={(open) => !open && props.onClose()} preventScroll={false}>
      <Kobalte.Portal>
        <Kobalte.Overlay class="dialog-overlay" />
        <div class="dialog-place" classList={{ edge: props.side ?? false }}>
          <Kobalte.Content class={props.wide ? "dialog wide" : "dialog"}>
            <div class="dialog-head">
              <div>
                <Kobalte.Title as="h2">{props.title}</Kobalte.Title>
                <Show when={props.description}>
                  <Kobalte.Description class="soft small">{props.description}</Kobalte.Description>
                </Show>
              </div>
              <Kobalte.CloseButton class={buttonClass("quiet", false, true)} aria-label={t("common.close")} title={t("common.close")}>
                <Icon name="close" />
              </Kobalte.CloseButton>
            </div>
            <div class="dialog-body">{props.children}</div>
            <Show when={props.foot}>
              <div class="dialog-foot">{props.foot}</div>
            </Show>
          </Kobalte.Content>
        </div>
      </Kobalte.Portal>
    </Kobalte>
  );
}
