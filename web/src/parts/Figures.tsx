/** Numbers that are seen: tiles, a bar of parts, ranges on a scale of powers, shares, small lines. */

import "../styles/figures.css";
import { For, type JSX, Show, createMemo } from "solid-js";
import { logShare } from "./scale";

export type Colour = 1 | 2 | 3 | 4 | 5;

const percent = (share: number): string => `${(100 * share).toFixed(2)}%`;

/** One number, large, with what it is above and how sure it is below. */
export function Tile(props: { label: string; value: JSX.Element; note?: JSX.Element; tone?: "good" | "warn" | "bad"; children?: JSX.Element }): JSX.Element {
  return (
    <div class="tile" data-tone={props.tone}>
      <div class="tile-label">{props.label}</div>
      <div class="tile-value numbers">{props.value}</div>
      <Show when={props.note}>
        <div class="tile-note numbers">{props.note}</div>
      </Show>
      {props.children}
    </div>
  );
}

export function Tiles(props: { children: JSX.Element; columns?: 3 | 4 | 5 }): JSX.Element {
  return (
    <div class={`tiles columns-${props.columns ?? 0}`}>
      {props.children}
    </div>
  );
}

export interface Part {
  label: string;
  value: number;
  shown: string;
  colour?: Colour;
  /** Room that is free: hatched. */
  free?: boolean;
}

/** Parts of a whole side by side, told again beneath it. */
export function PartsBar(props: { label: string; parts: readonly Part[]; whole?: number }): JSX.Element {
  const whole = createMemo(() => Math.max(props.whole ?? 0, props.parts.reduce((sum, part) => sum + part.value, 0)) || 1);
  return (
    <figure class="parts" aria-label={props.label}>
      <div class="parts-bar" aria-hidden="true">
        <For each={props.parts}>
          {(part, at) => (
            <div
              class={part.free ? "part free" : `part series-${part.colour ?? (at() % 5) + 1}`}
              style={{ width: percent(part.value / whole()) }}
              title={`${part.label}: ${part.shown}`}
            />
          )}
        </For>
      </div>
      <ul class="parts-legend">
        <For each={props.parts}>
          {(part, at) => (
            <li>
              <span class={part.free ? "swatch free" : `swatch series-${part.colour ?? (at() % 5) + 1}`} />
              <span class="soft">{part.label}</span>
              <strong class="numbers">{part.shown}</strong>
            </li>
          )}
        </For>
      </ul>
    </figure>
  );
}

export interface Range {
  label: string;
  /** A second, softer line of the label. */
  sub?: string;
  value: number;
  low: number;
  high: number;
  shown: string;
  colour?: Colour;
  /** What somebody else said: drawn as a bracket above. */
  claim?: { low: number; high: number; shown: string };
}

/** Values with their bands on one scale of powers of ten: what is left is less. */
export function Ranges(props: { label: string; rows: readonly Range[]; ends: [number, number]; ticks: readonly { at: number; shown: string }[] }): JSX.Element {
  const at = (value: number): number => logShare(value, props.ends[0], props.ends[1]);
  return (
    <figure class="ranges" aria-label={props.label}>
      <ul>
        <For each={props.rows}>
          {(row) => (
            <li class="range">
              <div class="range-label">
                <span>{row.label}</span>
                <Show when={row.sub}>
                  <span class="soft small">{row.sub}</span>
                </Show>
              </div>
              <div class="range-track" aria-hidden="true">
                <For each={props.ticks}>{(tick) => <span class="range-grid" style={{ left: percent(at(tick.at)) }} />}</For>
                <Show when={row.claim}>
                  {(claim) => (
                    <span
                      class="range-claim"
                      style={{ left: percent(at(claim().low)), width: percent(at(claim().high) - at(claim().low)) }}
                      title={claim().shown}
                    />
                  )}
                </Show>
                <span
                  class={`range-band series-${row.colour ?? 1}`}
                  style={{ left: percent(at(row.low)), width: percent(at(row.high) - at(row.low)) }}
                />
                <span class={`range-dot series-${row.colour ?? 1}`} style={{ left: percent(at(row.value)) }} />
              </div>
              <div class="range-value numbers">{row.shown}</div>
            </li>
          )}
        </For>
      </ul>
      <div class="range range-axis" aria-hidden="true">
        <div class="range-label" />
        <div class="range-track">
          <For each={props.ticks}>
            {(tick) => (
              <span class="range-tick" style={{ left: percent(at(tick.at)) }}>
                {tick.shown}
              </span>
            )}
          </For>
        </div>
        <div class="range-value" />
      </div>
    </figure>
  );
}

/** A share of a whole. */
export function Meter(props: { label: string; share: number; tone?: "good" | "warn" | "bad"; thin?: boolean }): JSX.Element {
  const share = createMemo(() => Math.min(1, Math.max(0, props.share || 0)));
  return (
    <div
      class="meter"
      classList={{ thin: props.thin ?? false }}
      data-tone={props.tone}
      role="progressbar"
      aria-label={props.label}
      aria-valuemin="0"
      aria-valuemax="100"
      aria-valuenow={Math.round(100 * share())}
    >
      <span style={{ width: percent(share()) }} />
    </div>
  );
}

/** Bars from the left, longest as wide as there is room. */
export function Counts(props: { label: string; rows: readonly { label: string; value: number; shown: string; colour?: Colour }[] }): JSX.Element {
  const most = createMemo(() => Math.max(1e-9, ...props.rows.map((row) => row.value)));
  return (
    <ul class="counts" aria-label={props.label}>
      <For each={props.rows}>
        {(row) => (
          <li>
            <span class="counts-label cut" title={row.label}>
              {row.label}
            </span>
            <span class="counts-bar" aria-hidden="true">
              <span class={`series-${row.colour ?? 2}`} style={{ width: percent(row.value / most()) }} />
            </span>
            <span class="numbers">{row.shown}</span>
          </li>
        )}
      </For>
    </ul>
  );
}

/** The last values as a small line. */
export function Spark(props: { values: readonly (number | null)[]; colour?: Colour }): JSX.Element {
  const path = createMemo(() => {
    const known = props.values.filter((value): value is number => value !== null);
    const most = Math.max(...known, 0) || 1;
    const step = 100 / Math.max(1, props.values.length - 1);
    let pen = false;
    let line = "";
    props.values.forEach((value, at) => {
      if (value === null) {
        pen = false;
        return;
      }
      line += `${pen ? "L" : "M"}${(at * step).toFixed(1)} ${(22 - (20 * value) / most).toFixed(1)}`;
      pen = true;
    });
    return line;
  });
  return (
    <svg class={`spark series-${props.colour ?? 1}`} viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
      <path d={path()} fill="none" vector-effect="non-scaling-stroke" />
    </svg>
  );
}
