import { describe, expect, test } from "vitest";
import type { Ended, Running } from "../src/live/answers";
import { Answers, TAIL } from "../src/live/answers";

const running = (response: string, sequence_number: number, text: string): Running => ({
  chat: `chat-of-${response}`,
  response,
  sequence_number,
  text,
  state: "running",
});
const ended = (response: string): Ended => ({ chat: `chat-of-${response}`, response, status: "completed" });

describe("answers that are being written", () => {
  test("a delta is appended, and the chat is to be drawn anew", () => {
    const answers = new Answers();
    answers.apply({ started: [{ chat: "c", response: "r", state: "waiting" }] });
    answers.changed.clear();
    answers.apply({ deltas: [["r", 4, "Once "], ["r", 6, "upon"]] });
    expect(answers.byChat.get("c")).toMatchObject({ text: "Once upon", sequence_number: 6, state: "running" });
    expect([...answers.changed]).toEqual(["c"]);
  });

  test("what a snapshot holds already is not taken twice", () => {
    const answers = new Answers();
    answers.reset({ running: [running("r", 10, "Once upon a")] });
    answers.apply({ deltas: [["r", 8, " a"], ["r", 10, " a"], ["r", 11, " time"]] });
    expect(answers.byId.get("r")?.text).toBe("Once upon a time");
  });

  test("a snapshot after a break replaces, and tells which chats ended unseen", () => {
    const answers = new Answers();
    answers.reset({ running: [running("a", 1, "x"), running("b", 1, "y")] });
    expect(answers.reset({ running: [running("b", 5, "yyy")] })).toEqual(["chat-of-a"]);
    expect(answers.byId.get("a")).toBeUndefined();
    expect(answers.byId.get("b")?.text).toBe("yyy");
  });

  test("what ended is kept until it is dropped, and grows no more", () => {
    const answers = new Answers();
    answers.reset({ running: [running("a", 1, "x")] });
    answers.apply({ ended: [ended("a")], deltas: [] });
    answers.apply({ deltas: [["a", 9, "late"]] });
    expect(answers.byChat.get("chat-of-a")).toMatchObject({ text: "x", end: { status: "completed" } });
    expect(answers.reset({ running: [] })).toEqual([]);
    answers.drop("a");
    expect(answers.byChat.size).toBe(0);
  });

  test("an answer that this page asked for is not begun again by the stream", () => {
    const answers = new Answers();
    answers.expect("c", "r");
    answers.apply({ started: [{ chat: "c", response: "r", state: "running" }], deltas: [["r", 3, "Hi"]] });
    answers.expect("c", "r");
    expect(answers.byChat.get("c")?.text).toBe("Hi");
  });

  test("a page that is open for weeks keeps a bounded number of ends", () => {
    const answers = new Answers();
    for (let n = 0; n < 2000; n++) {
      answers.apply({ started: [{ chat: `chat-of-${n}`, response: String(n), state: "running" }], ended: [ended(String(n))] });
    }
    expect(answers.byId.size).toBeLessThanOrEqual(500);
    expect(answers.byChat.size).toBe(answers.byId.size);
  });
});

test("the beginning that a snapshot left out is put in where the streams meet", () => {
  const answers = new Answers();
  answers.reset({ running: [{ ...running("r", 7, "end"), skipped: 10 }] });
  expect(answers.fill("r", 6, "the whole")).toBe(false);
  answers.apply({ deltas: [["r", 8, "."]] });
  expect(answers.fill("r", 8, "the whole to its end.")).toBe(true);
  answers.apply({ deltas: [["r", 8, "."], ["r", 9, " More."]] });
  expect(answers.byId.get("r")).toMatchObject({ text: "the whole to its end. More.", skipped: 0 });
  expect(answers.fill("r", 9, "again")).toBe(false);
});

test("of a long answer only the end is kept, but for a chat that is open", () => {
  const answers = new Answers();
  answers.reset({ running: [running("a", 0, ""), running("b", 0, "")] });
  const close = answers.open("chat-of-b");
  const word = "x".repeat(1000);
  const write = (from: number, to: number): void => {
    for (let n = from; n <= to; n++) answers.apply({ deltas: [["a", n, word], ["b", n, word]] });
  };
  write(1, 41);
  expect(answers.byId.get("a")).toMatchObject({ skipped: 41_000 - TAIL, sequence_number: 41 });
  expect(answers.byId.get("a")?.text.length).toBe(TAIL);
  expect(answers.byId.get("b")).toMatchObject({ skipped: 0, text: word.repeat(41) });
  write(42, 100);
  expect(answers.byId.get("a")?.text.length).toBeLessThanOrEqual(2 * TAIL);
  expect(answers.byId.get("a")!.text.length + answers.byId.get("a")!.skipped!).toBe(100_000);
  close();
  write(101, 101);
  expect(answers.byId.get("b")).toMatchObject({ skipped: 101_000 - TAIL });
});
