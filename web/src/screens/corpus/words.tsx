/** How a run is told. */

import type { JSX } from "solid-js";
import type { Corpus, CorpusProgress } from "../../api/corpora";
import { type Key, bytes, duration, number, t } from "../../i18n";

export const amount = (value: number, unit: string): string =>
  unit === "bytes" ? bytes(value) : unit === "tokens" ? t("corpus.tokens", { n: value }) : t("corpus.records", { n: value });

export const share = (live: CorpusProgress | null): number => (live && live.target > 0 ? live.amount / live.target : 0);

/** "about 5 min (4 min to 7 min)" */
export function remaining(live: CorpusProgress): string {
  if (live.eta_s === null) return t("corpus.etaUnknown");
  if (live.eta_low_s === null || live.eta_high_s === null) return t("corpus.eta", { time: duration(live.eta_s) });
  const [low, high] = [duration(live.eta_low_s), duration(live.eta_high_s)];
  return low === high ? t("corpus.eta", { time: duration(live.eta_s) }) : t("corpus.etaBand", { time: duration(live.eta_s), low, high });
}

const DOTS: Record<Corpus["state"], string> = { waiting: "waiting", running: "running", paused: "", finished: "done", stopped: "", failed: "failed" };

export function StateBadge(props: { corpus: Corpus }): JSX.Element {
  return (
    <span class="badge">
      <span class={`dot ${DOTS[props.corpus.state]}`} />
      {t(`corpus.state.${props.corpus.state}`)}
    </span>
  );
}

const REASONS: Record<string, Key> = {
  language: "corpus.reason.language",
  foreign_script: "corpus.reason.script",
  latin_share: "corpus.reason.script",
  mixed_script: "corpus.reason.script",
  chars: "corpus.reason.length",
  words: "corpus.reason.length",
  length: "corpus.reason.length",
  repetition: "corpus.reason.repetition",
  line_repeats: "corpus.reason.repetition",
  refusal: "corpus.reason.refusal",
  preamble: "corpus.reason.preamble",
  template_leak: "corpus.reason.leak",
  prompt_echo: "corpus.reason.echo",
  forbidden: "corpus.reason.forbidden",
  duplicate: "corpus.reason.duplicate",
  near_duplicate: "corpus.reason.near",
  json: "corpus.reason.json",
  empty: "corpus.reason.empty",
  judge: "corpus.reason.judge",
};

/** A filter's name as words; itself where there are none. */
export function reason(name: string): string {
  const key = REASONS[name];
  return key ? t(key) : name.replaceAll("_", " ");
}

const MEASURES: Record<string, Key> = {
  compression: "corpus.measure.compression",
  distinct_1: "corpus.measure.distinct1",
  distinct_2: "corpus.measure.distinct2",
};

export function measure(name: string): string {
  const key = MEASURES[name];
  return key ? t(key) : name.replaceAll("_", " ");
}

export const measured = (value: number): string => number(value, { maximumSignificantDigits: 3 });
