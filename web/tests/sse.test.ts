import { expect, test } from "vitest";
import { EventParser } from "../src/live/sse";

test("events come out whole, however the text is cut", () => {
  const text = 'event: snapshot\ndata: {"a":1}\n\n: ping\n\nevent: frame\ndata: one\ndata: two\n\ndata:bare\n\nevent: fra';
  for (let cut = 0; cut <= text.length; cut++) {
    const parser = new EventParser();
    const found = [...parser.feed(text.slice(0, cut)), ...parser.feed(text.slice(cut))];
    expect(found).toEqual([
      { event: "snapshot", data: '{"a":1}' },
      { event: "frame", data: "one\ntwo" },
      { event: "message", data: "bare" },
    ]);
  }
});
