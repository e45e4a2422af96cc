/** A pasted table, and a template that is filled from it. Pure. */

export interface Table {
  names: string[];
  rows: string[][];
}

/** Cells of text from a spreadsheet or a CSV file: tabs, semicolons or commas, quotes doubled within quotes. */
export function cells(text: string): string[][] {
  const mark = separator(text);
  const rows: string[][] = [];
  let row: string[] = [];
  let cell = "";
  let quoted = false;
  const endRow = (): void => {
    row.push(cell);
    if (row.some((one) => one.trim())) rows.push(row.map((one) => one.trim()));
    row = [];
    cell = "";
  };
  for (let at = 0; at < text.length; at++) {
    const sign = text[at] ?? "";
    if (quoted) {
      if (sign !== '"') cell += sign;
      else if (text[at + 1] === '"') {
        cell += '"';
        at += 1;
      } else quoted = false;
    } else if (sign === '"' && !cell.trim()) {
      quoted = true;
      cell = "";
    } else if (sign === mark) {
      row.push(cell);
      cell = "";
    } else if (sign === "\n") endRow();
    else if (sign !== "\r") cell += sign;
  }
  endRow();
  return rows;
}

function separator(text: string): string {
  const line = text.trimStart().split("\n", 1)[0] ?? "";
  return ["\t", ";", ","].find((mark) => line.includes(mark)) ?? "\t";
}

/** The names in double braces, each once, in order. */
export function namesIn(template: string): string[] {
  return [...new Set([...template.matchAll(/\{\{\s*([\w-]+)\s*\}\}/g)].map((found) => found[1] ?? ""))];
}

/**
 * The table for these names. A first row that has all of them is its head, in any order; otherwise the columns are the
 * names in the order in which the template has them.
 */
export function tableOf(text: string, names: readonly string[]): Table {
  const all = cells(text);
  const head = all[0];
  if (head && names.length > 0 && names.every((name) => head.includes(name))) return { names: head, rows: all.slice(1) };
  return { names: [...names], rows: all };
}

/** A row as the server takes it. */
export function valuesOf(table: Table): Record<string, string>[] {
  return table.rows.map((row) => Object.fromEntries(table.names.map((name, at) => [name, row[at] ?? ""])));
}

export function filled(template: string, values: Readonly<Record<string, string>>): string {
  return template.replace(/\{\{\s*([\w-]+)\s*\}\}/g, (whole, name: string) => values[name] ?? whole);
}
