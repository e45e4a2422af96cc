/** Whether the sidebar is there: beside the screen where there is room, over it on a phone. */

import { createSignal } from "solid-js";

const STORED = "hubbub.sidebar";
const narrow = window.matchMedia("(max-width: 48rem)");

const [isNarrow, setNarrow] = createSignal(narrow.matches);
const [sideOpen, setOpen] = createSignal(!narrow.matches && localStorage.getItem(STORED) !== "closed");
const [helpOpen, setHelpOpen] = createSignal(false);
narrow.addEventListener("change", () => {
  setNarrow(narrow.matches);
  setOpen(!narrow.matches);
});

export { helpOpen, isNarrow, setHelpOpen, sideOpen };

export function setSideOpen(open: boolean): void {
  setOpen(open);
  if (!isNarrow()) localStorage.setItem(STORED, open ? "open" : "closed");
}

/** After a choice in it: on a phone it makes room. */
export function leaveSide(): void {
  if (isNarrow()) setOpen(false);
}
