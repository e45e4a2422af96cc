import { type JSX, Show } from "solid-js";
import { Dynamic } from "solid-js/web";
import { late } from "./late";

export interface DialogProps {
  open: boolean;
  onClose: () => void;
  title: string;
  /** A line under the title. */
  description?: string;
  /** At the right edge, from top to bottom. */
  side?: boolean;
  wide?: boolean;
  foot?: JSX.Element;
  children: JSX.Element;
}

const dialogs = late(() => import("./OpenDialog"));

/** Holds the focus while it is open, closes with Escape, gives the focus back. */
export function Dialog(props: DialogProps): JSX.Element {
  const found = (): ReturnType<typeof dialogs.here> => {
    if (props.open) dialogs.want();
    return props.open ? dialogs.here() : undefined;
  };
  return <Show when={found()}>{(here) => <Dynamic component={here().OpenDialog} {...props} />}</Show>;
}
