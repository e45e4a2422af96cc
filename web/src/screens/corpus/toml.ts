/** Small changes to a recipe's text that leave all else as it was written. Pure. */

const TABLE = /^\s*\[/;

/** `key = value` before the first table: changed where it is there, added at the top where it is not; "" takes it away. */
export function withTop(text: string, key: string, value: string): string {
  const lines = text.split("\n");
  const end = lines.findIndex((line) => TABLE.test(line));
  const top = end < 0 ? lines.length : end;
  const is = new RegExp(`^\\s*${key}\\s*=`);
  const at = lines.findIndex((line, index) => index < top && is.test(line));
  if (at >= 0) {
    if (value) lines[at] = `${key} = ${value}`;
    else lines.splice(at, 1);
  } else if (value) {
    lines.splice(firstKey(lines, top), 0, `${key} = ${value}`);
  }
  return lines.join("\n");
}

/** The value of a key before the first table, as it is written: a text without its quotes. */
export function topValue(text: string, key: string): string {
  for (const line of text.split("\n")) {
    if (TABLE.test(line)) return "";
    const found = new RegExp(`^\\s*${key}\\s*=\\s*(.+?)\\s*$`).exec(line)?.[1];
    if (found !== undefined) return /^"((?:[^"\\]|\\.)*)"/.exec(found)?.[1] ?? found.replace(/\s+#.*$/, "");
  }
  return "";
}

export const quoted = (value: string): string => `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;

/** After the comment that stands over the file. */
function firstKey(lines: readonly string[], top: number): number {
  const at = lines.findIndex((line, index) => index < top && line.trim() !== "" && !line.trimStart().startsWith("#"));
  return at < 0 ? top : at;
}

/** A name for a corpus that is not among `taken`. */
export function freeName(base: string, taken: readonly string[]): string {
  const clean = base.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 56) || "corpus";
  if (!taken.includes(clean)) return clean;
  for (let n = 2; ; n += 1) if (!taken.includes(`${clean}-${n}`)) return `${clean}-${n}`;
}

/** Bytes of "20MB", "1.5 GiB", "5000"; undefined for what is not a size. */
export function sizeOf(text: string): number | undefined {
  const found = /^\s*([\d.,]+)\s*(?:([kMGT])(i?))?B?\s*$/i.exec(text);
  if (!found) return undefined;
  const value = Number((found[1] ?? "").replace(",", "."));
  const power = ["", "k", "m", "g", "t"].indexOf((found[2] ?? "").toLowerCase());
  return Number.isFinite(value) && value > 0 ? value * (found[3] ? 1024 : 1000) ** power : undefined;
}
