/**
 * Markdown that nobody vouches for, as nodes that can do nothing.
 *
 * Two doors, each enough by itself: HTML within the Markdown is shown as text, never taken as HTML; and what the Markdown
 * comes to passes DOMPurify with a short list of tags. No pictures are loaded: an address in an answer would tell its
 * owner who reads it, and when.
 */

import DOMPurify from "dompurify";
import { Marked, type Token, type Tokens } from "marked";

const TAGS = [
  "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre",
  "strong", "table", "tbody", "td", "th", "thead", "tr", "ul", "input",
]; // prettier-ignore
const ATTRIBUTES = ["href", "class", "start", "align", "type", "checked", "disabled"];
const LINK = /^(?:https?:|mailto:)/i;

export function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

const marked = new Marked({
  gfm: true,
  breaks: true,
  async: false,
  renderer: {
    html: (token: Tokens.HTML | Tokens.Tag) => escaped(token.text),
    image: (token: Tokens.Image) =>
      `<a href="${escaped(token.href)}">${escaped(token.text || token.title || token.href)}</a>`,
    code: (token: Tokens.Code) =>
      `<pre><code class="language-${escaped((token.lang ?? "").split(/\s/)[0] ?? "")}">${escaped(token.text)}</code></pre>`,
  },
});

export type Block = Token;

/** The top-level pieces of a text: while it grows, all but the last stay as they are. */
export function blocks(text: string): Block[] {
  return marked.lexer(text).filter((token) => token.type !== "space" && token.type !== "def");
}

/** Nodes of one piece, safe to put into the page. */
export function nodesOf(block: Block): DocumentFragment {
  return clean(marked.parser([block]));
}

/** Exported for its tests. */
export function clean(html: string): DocumentFragment {
  const fragment = DOMPurify.sanitize(html, {
    RETURN_DOM_FRAGMENT: true,
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ALLOWED_URI_REGEXP: LINK,
    ADD_URI_SAFE_ATTR: ATTRIBUTES.filter((name) => name !== "href"),
  });
  for (const link of fragment.querySelectorAll("a")) {
    link.removeAttribute("class");
    if (!LINK.test(link.getAttribute("href") ?? "")) {
      link.replaceWith(...link.childNodes);
      continue;
    }
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  for (const input of fragment.querySelectorAll("input")) {
    // The only inputs there are: ticks of a list of tasks.
    if (input.type === "checkbox") input.disabled = true;
    else input.remove();
  }
  for (const node of fragment.querySelectorAll("[class]")) {
    if (node.tagName !== "CODE" || !/^language-[\w+#.-]*$/.test(node.className)) node.removeAttribute("class");
  }
  return fragment;
}
