import { Index, type JSX, createEffect, createMemo, untrack } from "solid-js";
import "../markdown/markdown.css";
import { highlight } from "../markdown/highlight";
import { type Block, blocks, nodesOf } from "../markdown/render";
import { t } from "../i18n";

/** Markdown, safe; while it is being written only its last piece is made anew. */
export function Markdown(props: { text: string; writing?: boolean }): JSX.Element {
  const pieces = createMemo(() => blocks(props.text));
  return (
    <div class="prose" classList={{ writing: props.writing ?? false }} onClick={copied}>
      <Index each={pieces()}>{(piece, at) => <Piece block={piece()} open={(props.writing ?? false) && at === pieces().length - 1} />}</Index>
    </div>
  );
}

function Piece(props: { block: Block; open: boolean }): JSX.Element {
  let place!: HTMLDivElement;
  // The text decides: each lexing makes new objects of the same pieces.
  const raw = createMemo(() => props.block.raw);
  createEffect(() => {
    raw();
    const nodes = nodesOf(untrack(() => props.block));
    for (const pre of nodes.querySelectorAll("pre")) frame(pre);
    place.replaceChildren(nodes);
  });
  createEffect(() => {
    raw();
    if (!props.open) for (const code of place.querySelectorAll<HTMLElement>("pre code")) void highlight(code);
  });
  return <div ref={place} class="piece" />;
}

/** Puts the language and a copy button over a piece of code. */
function frame(pre: HTMLPreElement): void {
  const code = pre.querySelector("code");
  const box = document.createElement("div");
  box.className = "code-box";
  const head = document.createElement("div");
  head.className = "code-head";
  const name = document.createElement("span");
  name.textContent = /language-([\w+#.-]+)/.exec(code?.className ?? "")?.[1] ?? "";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "code-copy";
  button.textContent = t("common.copy");
  head.append(name, button);
  pre.replaceWith(box);
  pre.tabIndex = 0;
  box.append(head, pre);
}

function copied(event: MouseEvent): void {
  const button = event.target;
  if (!(button instanceof HTMLButtonElement) || !button.classList.contains("code-copy")) return;
  const text = button.closest(".code-box")?.querySelector("pre")?.textContent ?? "";
  void copyText(text).then(() => {
    button.textContent = t("common.copied");
    window.setTimeout(() => (button.textContent = t("common.copy")), 1500);
  });
}

/** Copies, also where the clipboard's own interface is not there: over plain HTTP to another machine. */
export async function copyText(text: string): Promise<void> {
  if (window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
