/** Server-sent events out of a fetch: unlike EventSource it tells the status, and when it has last heard anything. */

export interface ServerEvent {
  event: string;
  data: string;
}

/** Feed it text in any pieces; it hands back whole events. The server ends lines with \n alone. */
export class EventParser {
  #rest = "";

  feed(text: string): ServerEvent[] {
    const blocks = (this.#rest + text).split("\n\n");
    this.#rest = blocks.pop() ?? "";
    return blocks.map(parsed).filter((event) => event !== null);
  }
}

function parsed(block: string): ServerEvent | null {
  let event = "message";
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue; // a comment, or nothing
    const value = line.slice(colon + 1).replace(/^ /, "");
    const field = line.slice(0, colon);
    if (field === "event") event = value;
    else if (field === "data") data.push(value);
  }
  return data.length > 0 ? { event, data: data.join("\n") } : null;
}
