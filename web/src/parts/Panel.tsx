import "../styles/figures.css";
import { type JSX, Show } from "solid-js";

/** A card with a heading, and a word beside it. */
export function Panel(props: { title: string; aside?: JSX.Element; class?: string; children: JSX.Element }): JSX.Element {
  return (
    <section class={`panel ${props.class ?? ""}`}>
      <div class="panel-head">
        <h2>{props.title}</h2>
        <Show when={props.aside}>
          <div class="soft small">{props.aside}</div>
        </Show>
      </div>
      {props.children}
    </section>
  );
}
