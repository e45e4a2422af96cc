/** The beginning of a long answer, which a snapshot leaves out: read from the answer's own stream. */

import { ApiError, send } from "../api/http";
import type { Answers } from "./answers";
import { EventParser } from "./sse";

interface TextEvent {
  type: string;
  sequence_number: number;
  delta?: string;
}

const reading = new Set<string>();

/** Reads until the two streams meet at one number; ends, too, with the answer. */
export async function readWhole(answers: Answers, response: string): Promise<void> {
  if (reading.has(response)) return;
  reading.add(response);
  const stop = new AbortController();
  try {
    const answer = await send("GET", `/v1/responses/${encodeURIComponent(response)}`, { query: { stream: true }, signal: stop.signal });
    if (!answer.body) return;
    const parser = new EventParser();
    const lengths = new Map<number, number>();
    let text = "";
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      for (const event of parser.feed(value)) {
        const said = JSON.parse(event.data) as TextEvent;
        if (said.type !== "response.output_text.delta") continue;
        text += said.delta ?? "";
        lengths.set(said.sequence_number, text.length);
      }
      const now = answers.byId.get(response);
      if (!now?.skipped || now.end !== null) return;
      const length = lengths.get(now.sequence_number);
      if (length !== undefined && answers.fill(response, now.sequence_number, text.slice(0, length))) return;
    }
  } catch (error) {
    if (!(error instanceof ApiError) && !(error instanceof TypeError)) throw error; // the connection: the end of the text is shown
  } finally {
    stop.abort();
    reading.delete(response);
  }
}
