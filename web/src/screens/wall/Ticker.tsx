/**
 * The end of a text that grows, in a text node of its own.
 *
 * New text is appended to the node, not set anew: the browser then keeps what it knows of the letters before. The beginning
 * is cut off in large steps for the same reason.
 */

import { type JSX, createEffect } from "solid-js";

/** Characters that are kept; up to twice as many are shown before the beginning is cut. */
const KEPT = 320;

export function Ticker(props: { source: string; text: string }): JSX.Element {
  const node = document.createTextNode("");
  let source = "";
  let length = 0;
  createEffect(() => {
    const text = props.text;
    const grows = props.source === source && text.length >= length && length > 0;
    if (!grows) node.data = text.slice(-KEPT);
    else if (text.length > length) {
      node.appendData(text.slice(length));
      if (node.length > 2 * KEPT) node.deleteData(0, node.length - KEPT);
    }
    source = props.source;
    length = text.length;
  });
  return <span>{node}</span>;
}
