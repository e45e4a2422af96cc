import type { JSX } from "solid-js";
import { t } from "../i18n";
import { Button } from "./Button";
import { Dialog } from "./Dialog";

/** Asks before what cannot be taken back. */
export function Confirm(props: {
  open: boolean;
  title: string;
  text: string;
  /** What its button does. */
  action: string;
  danger?: boolean;
  busy?: boolean;
  onClose: () => void;
  onConfirm: () => void;
  children?: JSX.Element;
}): JSX.Element {
  return (
    <Dialog
      open={props.open}
      onClose={props.onClose}
      title={props.title}
      foot={
        <>
          <Button onClick={() => props.onClose()}>{t("common.cancel")}</Button>
          <Button kind={props.danger ? "danger" : "primary"} busy={props.busy ?? false} onClick={() => props.onConfirm()}>
            {props.action}
          </Button>
        </>
      }
    >
      <p class="soft">{props.text}</p>
      {props.children}
    </Dialog>
  );
}
