/**
 * The end of a text that grows, in a text node of its own.
 *
 * New text is appended to the node, not set anew: the browser then keeps what it knows of the letters before. The beginning
 * is cut off in large steps for the same reason. The tiles that have something new take turns: each picture frame draws a
 * part of them, so that no frame has to lay out and paint all.
 */

import { type JSX, createEffect } from "solid-js";

/** Characters that are kept; up to twice as many are there before the beginning is cut. */
const KEPT = 320;
/** In how many picture frames all that are due have had their turn. */
const TURNS = 6;

const due = new Set<() => void>();
let going = false;

function soon(draw: () => void): void {
  due.add(draw);
  if (going) return;
  going = true;
  requestAnimationFrame(turn);
}

function turn(): void {
  let left = Math.max(4, Math.ceil(due.size / TURNS));
  for (const draw of due) {
    if (left-- === 0) break;
    due.delete(draw);
    draw();
  }
  going = due.size > 0;
  if (going) requestAnimationFrame(turn);
}

/** `source`: another one begins anew. `asleep`: out of sight, nothing is drawn. */
export function Ticker(props: { source: string; text: string; asleep: boolean }): JSX.Element {
  const node = document.createTextNode("");
  let drawn = { source: "", length: 0 };
  let wanted = { source: "", text: "" };
  const draw = (): void => {
    const { source, text } = wanted;
    if (source !== drawn.source || text.length < drawn.length || drawn.length === 0) node.data = text.slice(-KEPT);
    else if (text.length > drawn.length) {
      node.appendData(text.slice(drawn.length));
      if (node.length > 2 * KEPT) node.deleteData(0, node.length - KEPT);
    }
    drawn = { source, length: text.length };
  };
  createEffect(() => {
    if (props.asleep) return;
    wanted = { source: props.source, text: props.text };
    soon(draw);
  });
  return <span>{node}</span>;
}
