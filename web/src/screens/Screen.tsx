import { type JSX, Show, createEffect } from "solid-js";
import { SidebarButton } from "../shell/Sidebar";

/** A screen's head and its scrolling body. `title` is also the window's. */
export function Screen(props: { title: string; actions?: JSX.Element; children: JSX.Element }): JSX.Element {
  createEffect(() => {
    document.title = `${props.title} · Hubbub`;
  });
  return (
    <div class="screen">
      <header class="screen-head">
        <SidebarButton />
        <h1 class="grow cut">{props.title}</h1>
        <Show when={props.actions}>{props.actions}</Show>
      </header>
      <div class="screen-body">{props.children}</div>
    </div>
  );
}
