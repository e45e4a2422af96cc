/** Parts of the page that are loaded when they are first wanted. */

import { type Accessor, createSignal } from "solid-js";
import { t } from "../i18n";
import { toast } from "./Toast";

export interface Late<T> {
  /** The part, once it is here. */
  here: Accessor<T | undefined>;
  /** Has it loaded, if it isn't yet. Says so where it can't be. */
  want: () => void;
}

export function late<T extends object>(load: () => Promise<T>): Late<T> {
  const [here, setHere] = createSignal<T>();
  let coming = false;
  const want = (): void => {
    if (coming) return;
    coming = true;
    load().then(
      (part) => setHere(() => part),
      () => {
        coming = false;
        toast({ text: t("error.network"), bad: true });
      },
    );
  };
  return { here, want };
}
