/** uPlot, loaded when a chart is first shown, as wide as its place, in the page's colours. */

import "uplot/dist/uPlot.min.css";
import "../styles/figures.css";
import { For, type JSX, Show, createEffect, createSignal, on, onCleanup, onMount, untrack } from "solid-js";
import type uPlot from "uplot";
import { language, number } from "../i18n";

export interface Series {
  label: string;
  /** 1 to 5: which of the page's colours. */
  colour?: 1 | 2 | 3 | 4 | 5;
  dash?: boolean;
  fill?: boolean;
  /** How a value reads in the legend. */
  shown?: (value: number) => string;
}

export interface ChartProps {
  /** What it shows, in words, for those who do not see it. */
  label: string;
  /** The first row is x; each other one a series. Null: no value. */
  data: readonly (readonly (number | null)[])[];
  series: readonly Series[];
  height?: number;
  /** x is seconds since 1970. */
  time?: boolean;
  /** Powers of ten along x, along y. */
  logX?: boolean;
  logY?: boolean;
  /** What x is; stands below it. */
  xLabel?: string;
  xShown?: (value: number) => string;
  yShown?: (value: number) => string;
  yMin?: number;
  yMax?: number;
  /** A line across at this x: where one is now. */
  mark?: number;
}

export function Chart(props: ChartProps): JSX.Element {
  let place!: HTMLDivElement;
  let plot: uPlot | undefined;
  const [library, setLibrary] = createSignal<typeof uPlot>();
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const [theme, setTheme] = createSignal(0);
  /** The point under the pointer; undefined: the last one is told. */
  const [at, setAt] = createSignal<number>();
  onMount(() => {
    void import("uplot").then((module) => setLibrary(() => module.default));
    const size = new ResizeObserver(() => plot?.setSize({ width: place.clientWidth, height: props.height ?? 220 }));
    size.observe(place);
    const changed = (): void => void setTheme((n) => n + 1);
    dark.addEventListener("change", changed);
    const attribute = new MutationObserver(changed);
    attribute.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    onCleanup(() => {
      size.disconnect();
      attribute.disconnect();
      dark.removeEventListener("change", changed);
      plot?.destroy();
    });
  });
  // Drawn anew where its form changes; new numbers are only set.
  createEffect(() => {
    const UPlot = library();
    theme();
    if (!UPlot) return;
    const options = optionsOf(props, place, (index) => setAt(index ?? undefined));
    plot?.destroy();
    plot = new UPlot(options, untypedData(untrack(() => props.data)), place);
  });
  createEffect(on(() => props.data, (data) => plot?.setData(untypedData(data)), { defer: true }));
  return (
    <figure class="chart">
      <Legend chart={props} at={at()} />
      <div ref={place} class="chart-plot" role="img" aria-label={props.label} />
    </figure>
  );
}

/** What each line is, with its value under the pointer, else its last. */
function Legend(props: { chart: ChartProps; at: number | undefined }): JSX.Element {
  const value = (row: number): string => {
    const column = props.chart.data[row + 1] ?? [];
    const found = props.at === undefined ? column.findLast((one) => one !== null) : column[props.at];
    const shown = props.chart.series[row]?.shown ?? props.chart.yShown ?? ((one: number) => number(one, { maximumSignificantDigits: 3 }));
    return found === null || found === undefined ? "–" : shown(found);
  };
  const place = (): string => {
    const x = props.at === undefined ? undefined : props.chart.data[0]?.[props.at];
    if (x === undefined || x === null) return "";
    return props.chart.time ? clock(x) : `${props.chart.xLabel ?? ""} ${(props.chart.xShown ?? number)(x)}`;
  };
  return (
    <ul class="chart-legend">
      <For each={props.chart.series}>
        {(one, row) => (
          <li>
            <span class={`chart-key series-${one.colour ?? (row() % 5) + 1}`} classList={{ dash: one.dash ?? false }} />
            <span class="soft">{one.label}</span> <strong class="numbers">{value(row())}</strong>
          </li>
        )}
      </For>
      <Show when={place()}>
        <li class="soft numbers chart-x">{place()}</li>
      </Show>
    </ul>
  );
}

const clock = (seconds: number): string => new Intl.DateTimeFormat(language(), { timeStyle: "medium" }).format(seconds * 1000);

const untypedData = (data: ChartProps["data"]): uPlot.AlignedData => data as unknown as uPlot.AlignedData;

/** A token's colour as the canvas takes it: it knows neither var() nor light-dark(). */
function colour(place: HTMLElement, token: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${token})`;
  place.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** Without a label below it the axis needs less than uPlot leaves for it. */
const X_AXIS_PX = 30;

function optionsOf(props: ChartProps, place: HTMLElement, onPoint: (index: number | null | undefined) => void): uPlot.Options {
  const soft = colour(place, "--text-soft");
  const grid = { stroke: colour(place, "--line"), width: 1 };
  const font = `12px ${getComputedStyle(place).fontFamily}`;
  const axis = { stroke: soft, grid, ticks: grid, font };
  const say = (shown: ((value: number) => string) | undefined) => (_: unknown, values: number[]): string[] =>
    values.map((value) => (value === null ? "" : (shown ?? number)(value)));
  const below = props.xLabel ? { label: props.xLabel, labelFont: font, labelSize: 20 } : { size: X_AXIS_PX };
  const xAxis: uPlot.Axis = props.time
    ? { ...axis, ...below, space: 84, values: (_: unknown, values: number[]) => values.map(clock) }
    : { ...axis, ...below, values: say(props.xShown) };
  const floor = props.yMin;
  return {
    width: place.clientWidth,
    height: props.height ?? 220,
    cursor: { y: false },
    legend: { show: false },
    hooks: { setCursor: [(plot) => onPoint(plot.cursor.idx)], draw: [(plot) => drawMark(plot, props.mark, soft)] },
    scales: {
      x: { time: props.time ?? false, distr: props.logX ? 3 : 1 },
      y: {
        distr: props.logY ? 3 : 1,
        ...(floor === undefined || props.logY ? {} : { range: (_: uPlot, _min: number, max: number): [number, number] => [floor, props.yMax ?? (max > floor ? floor + (max - floor) * 1.08 : floor + 1)] }),
      },
    },
    axes: [xAxis, { ...axis, size: 58, values: say(props.yShown) }],
    series: [
      {},
      ...props.series.map((one, index) => {
        const stroke = colour(place, `--series-${one.colour ?? (index % 5) + 1}`);
        return {
          label: one.label,
          stroke,
          width: 2,
          points: { show: false },
          spanGaps: true,
          ...(one.dash ? { dash: [6, 4] } : {}),
          ...(one.fill ? { fill: stroke.replace(/^rgb\((.*)\)$/, "rgba($1, 0.14)") } : {}),
        };
      }),
    ],
  };
}

function drawMark(plot: uPlot, mark: number | undefined, stroke: string): void {
  if (mark === undefined) return;
  const x = plot.valToPos(mark, "x", true);
  const { left, top, width, height } = plot.bbox;
  if (x < left || x > left + width) return;
  plot.ctx.save();
  plot.ctx.strokeStyle = stroke;
  plot.ctx.lineWidth = devicePixelRatio;
  plot.ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  plot.ctx.beginPath();
  plot.ctx.moveTo(x, top);
  plot.ctx.lineTo(x, top + height);
  plot.ctx.stroke();
  plot.ctx.restore();
}
