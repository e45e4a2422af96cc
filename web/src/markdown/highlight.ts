/** Colours for code, loaded with the first piece of code that is shown. */

import type { HLJSApi } from "highlight.js";

/** Longer pieces stay plain: colouring them would hold up the page. */
const LONGEST = 30_000;

let library: Promise<HLJSApi> | undefined;

function load(): Promise<HLJSApi> {
  library ??= import("./languages").then((module) => module.default);
  return library;
}

/** Colours a `code` element whose language is known. Its text stays the same. */
export async function highlight(code: HTMLElement): Promise<void> {
  const name = /language-([\w+#.-]+)/.exec(code.className)?.[1];
  const text = code.textContent ?? "";
  if (!name || text.length > LONGEST) return;
  const hljs = await load();
  // The text may have grown, or gone, while the library came.
  if (!hljs.getLanguage(name) || code.textContent !== text) return;
  code.innerHTML = hljs.highlight(text, { language: name, ignoreIllegals: true }).value;
}
