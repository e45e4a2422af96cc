/** The plan in pictures: tiles, memory, curves, the time and cost of the text, the four ways. */

import { For, type JSX, Show, createMemo } from "solid-js";
import { unwrap } from "solid-js/store";
import type { ChatsPlan, CorpusPlan, CurvePoint, Figure, MemoryPlan, Scenarios } from "../../api/plan";
import { bytes, number, t } from "../../i18n";
import { Chart } from "../../parts/Chart";
import { type Part, PartsBar, type Range, Ranges, Tile, Tiles } from "../../parts/Figures";
import { Panel } from "../../parts/Panel";
import { Helps } from "./Helps";
import { ErrorNote, Spinner } from "../../parts/States";
import { ends, ticks } from "../../parts/scale";
import type { Wish } from "./wish";
import { NOTES, TIMES, band, inUnit, longTime, short, source, timeMark, usd } from "./words";

export interface Shown {
  /** What the memory and the corpus are of. */
  wish?: Wish;
  memory?: MemoryPlan;
  corpus?: CorpusPlan;
  chats?: ChatsPlan;
  chatsOf?: Wish;
  curve?: CurvePoint[];
  curveOf?: Wish;
  scenarios?: Scenarios;
  failed?: unknown;
}

export function Results(props: { wish: Wish; shown: Shown; busy: boolean; onRetry: () => void }): JSX.Element {
  return (
    <div class="plan-results" aria-busy={props.busy}>
      <div class="plan-state small soft" role="status">
        <Show when={props.busy} fallback={props.shown.memory?.setup ?? ""}>
          <Spinner label={t("plan.working")} />
        </Show>
      </div>
      <Show when={props.shown.failed}>
        <ErrorNote error={props.shown.failed} onRetry={props.onRetry} />
      </Show>
      <Headline {...props} />
      <Show when={props.shown.memory}>{(memory) => <Memory memory={memory()} wish={props.wish} />}</Show>
      <Show when={props.shown.curve} fallback={<Show when={props.busy && !props.shown.failed}>{<div class="skeleton plan-wait" />}</Show>}>
        {(points) => <Curves points={points()} stale={unwrap(props.shown.curveOf) !== props.wish} chats={props.wish.chats} />}
      </Show>
      <Show when={props.shown.chats}>
        <Helps wish={props.wish} />
      </Show>
      <Show when={props.shown.corpus}>{(corpus) => <Text corpus={corpus()} />}</Show>
      <Show when={props.shown.scenarios}>{(plan) => <Ways plan={plan()} corpus={props.shown.corpus} />}</Show>
    </div>
  );
}

function Headline(props: { wish: Wish; shown: Shown }): JSX.Element {
  const resident = (): Figure | undefined => props.shown.memory?.chats_resident;
  return (
    <Show when={props.shown.memory ?? props.shown.chats ?? props.shown.corpus}>
      <Tiles columns={3}>
        <Tile
          label={t("plan.resident")}
          value={resident() ? number(resident()!.value) : "…"}
          note={resident() && band(resident()!)}
          tone={resident() && resident()!.value >= props.wish.chats ? "good" : "warn"}
        />
        <Tile label={t("plan.speed")} value={<Unit figure={props.shown.chats?.tokens_s} unit={t("plan.perSecond")} />} note={props.shown.chats && band(props.shown.chats.tokens_s)} />
        <Tile
          label={t("plan.firstWord")}
          value={props.shown.chats?.ttft.p95 ? longTime(props.shown.chats.ttft.p95.value) : "…"}
          note={props.shown.chats?.ttft.p95 && band(props.shown.chats.ttft.p95)}
          tone={tone(props.shown.chats?.ttft.p95?.value, 2, 10)}
        />
        <Tile
          label={t("plan.between")}
          value={props.shown.chats?.itl.p95 ? longTime(props.shown.chats.itl.p95.value) : "…"}
          note={props.shown.chats?.itl.p95 && band(props.shown.chats.itl.p95)}
          tone={tone(props.shown.chats?.itl.p95?.value, 0.1, 0.5)}
        />
        <Tile
          label={t("plan.timeTo", { size: bytes(props.wish.bytes) })}
          value={props.shown.corpus ? longTime(props.shown.corpus.time.value) : "…"}
          note={props.shown.corpus && band(props.shown.corpus.time)}
        />
        <Tile
          label={t("plan.costOf", { size: bytes(props.wish.bytes) })}
          value={props.shown.corpus ? usd((props.shown.corpus.rent ?? props.shown.corpus.own).value) : "…"}
          note={props.shown.corpus && band(props.shown.corpus.rent ?? props.shown.corpus.own)}
        />
      </Tiles>
    </Show>
  );
}

function Unit(props: { figure: Figure | undefined; unit: string }): JSX.Element {
  return (
    <Show when={props.figure} fallback="…">
      {(figure) => (
        <>
          {short(figure().value)} <small>{props.unit}</small>
        </>
      )}
    </Show>
  );
}

function tone(value: number | undefined, good: number, bad: number): "good" | "warn" | "bad" | undefined {
  if (value === undefined) return undefined;
  return value <= good ? "good" : value <= bad ? "warn" : "bad";
}

function Memory(props: { memory: MemoryPlan; wish: Wish }): JSX.Element {
  const cards = (): number => props.memory.cards_per_copy * props.memory.copies;
  const whole = (): number => props.memory.card_memory.value * cards();
  const kv = (): number => props.memory.kv_room.value * cards();
  const wanted = (): number => props.memory.kv_per_chat.value * props.wish.chats;
  const parts = createMemo((): Part[] => {
    const weights = props.memory.weights.value * cards();
    const overhead = props.memory.engine_overhead.value * cards();
    const used = Math.min(kv(), wanted());
    const all: Part[] = [
      { label: t("plan.weights"), value: weights, shown: bytes(weights), colour: 3 },
      { label: t("plan.overhead"), value: overhead, shown: bytes(overhead), colour: 5 },
      { label: t("plan.kvUsed", { n: props.wish.chats }), value: used, shown: bytes(used), colour: 1 },
    ];
    if (kv() > used) all.push({ label: t("plan.kvFree"), value: kv() - used, shown: bytes(kv() - used), free: true });
    const rest = whole() - weights - overhead - Math.max(0, kv());
    if (rest > whole() * 0.005) all.push({ label: t("plan.kept"), value: rest, shown: bytes(rest), free: true });
    return all;
  });
  return (
    <Panel title={t("plan.memory")} aside={t("plan.memoryOf", { size: bytes(whole()), quant: props.memory.quant })}>
      <PartsBar label={t("plan.memory")} parts={parts()} whole={whole()} />
      <p class="small soft">
        <Show
          when={wanted() > kv()}
          fallback={t("plan.allResident", { n: props.wish.chats, size: bytes(props.memory.kv_per_chat.value) })}
        >
          {t("plan.someResident", {
            n: props.memory.chats_resident.value,
            chats: props.wish.chats,
            size: bytes(props.memory.kv_per_chat.value),
            time: longTime(props.memory.reread_s.value),
          })}
        </Show>
      </p>
    </Panel>
  );
}

function Curves(props: { points: CurvePoint[]; stale: boolean; chats: number }): JSX.Element {
  const x = createMemo(() => props.points.map((point) => point.chats));
  const speed = createMemo(() => [x(), props.points.map((point) => point.tokens_s)]);
  const delay = createMemo(() => [x(), props.points.map((point) => point.ttft_p95), props.points.map((point) => point.itl_p95)]);
  return (
    <div class="panels" classList={{ stale: props.stale }}>
      <Panel title={t("plan.curveSpeed")} aside={t("plan.byChats")}>
        <Chart
          label={t("plan.curveSpeed")}
          data={speed()}
          series={[{ label: t("plan.perSecond"), colour: 1, fill: true }]}
          xLabel={t("plan.chats")}
          xShown={number}
          yShown={short}
          logX
          mark={props.chats}
          yMin={0}
          height={210}
        />
      </Panel>
      <Panel title={t("plan.curveDelay")} aside={t("plan.byChats")}>
        <Chart
          label={t("plan.curveDelay")}
          data={delay()}
          series={[
            { label: t("plan.firstWord"), colour: 2 },
            { label: t("plan.between"), colour: 3 },
          ]}
          xLabel={t("plan.chats")}
          xShown={number}
          yShown={longTime}
          logX
          mark={props.chats}
          logY
          height={210}
        />
      </Panel>
    </div>
  );
}

function Text(props: { corpus: CorpusPlan }): JSX.Element {
  const costs = createMemo(() => {
    const rows: [string, Figure][] = [];
    if (props.corpus.rent) rows.push([t("plan.cost.rent"), props.corpus.rent]);
    rows.push([t("plan.cost.own"), props.corpus.own], [t("plan.cost.api"), props.corpus.api_cost]);
    return rows;
  });
  const span = createMemo(() => ends(costs().flatMap(([, figure]) => [figure.low, figure.high])));
  const money = [0.01, 0.1, 1, 10, 100, 1000, 10_000, 100_000, 1e6, 1e7];
  return (
    <Panel title={t("plan.textTitle", { size: bytes(props.corpus.bytes) })} aside={source(props.corpus.speed)}>
      <dl class="plan-facts">
        <For
          each={
            [
              [t("plan.fact.tokens"), props.corpus.tokens],
              [t("plan.fact.speed"), props.corpus.speed],
              [t("plan.fact.time"), props.corpus.time],
              [t("plan.fact.energy"), props.corpus.energy],
              [t("plan.fact.disk"), props.corpus.disk],
            ] as [string, Figure][]
          }
        >
          {([label, figure]) => (
            <div>
              <dt class="soft small">{label}</dt>
              <dd class="numbers">
                {inUnit(figure.value, figure.unit)}
                <Show when={UNITS[figure.unit]}>{(unit) => <small class="soft"> {t(unit())}</small>}</Show>
              </dd>
              <dd class="soft numbers plan-band">{band(figure)}</dd>
            </div>
          )}
        </For>
      </dl>
      <Ranges
        label={t("plan.costTitle")}
        rows={costs().map(([label, figure], at): Range => ({
          label,
          value: figure.value,
          low: figure.low,
          high: figure.high,
          shown: usd(figure.value),
          colour: ([1, 3, 2] as const)[at + (costs().length === 2 ? 1 : 0)] ?? 1,
        }))}
        ends={span()}
        ticks={ticks(money, ...span(), 5).map((at) => ({ at, shown: usd(at) }))}
      />
    </Panel>
  );
}

const UNITS: Record<string, "plan.perSecond" | "plan.kwh"> = { "tok/s": "plan.perSecond", kWh: "plan.kwh" };

function Ways(props: { plan: Scenarios; corpus: CorpusPlan | undefined }): JSX.Element {
  const rows = createMemo((): Range[] => {
    const all = props.plan.scenarios.flatMap((way) => {
      const letter = way.way[0] ?? "";
      const note = NOTES[letter];
      const scale = props.plan.bytes / 1e9;
      return way.ours.map((run, at): Range => ({
        label: at === 0 ? (note ? t(note.title) : way.way) : "",
        sub: run.setup,
        value: run.time.value,
        low: run.time.low,
        high: run.time.high,
        shown: longTime(run.time.value),
        colour: 3,
        ...(note && at === 0 ? { claim: { low: note.low * scale, high: note.high * scale, shown: t(note.said) } } : {}),
      }));
    });
    if (props.corpus && props.corpus.bytes === props.plan.bytes) {
      const { time } = props.corpus;
      all.push({ label: t("plan.thisPlan"), value: time.value, low: time.low, high: time.high, shown: longTime(time.value), colour: 1 });
    }
    return all;
  });
  const span = createMemo(() => ends(rows().flatMap((row) => [row.low, row.high, row.claim?.low ?? row.low, row.claim?.high ?? row.high])));
  return (
    <Panel title={t("plan.waysTitle", { size: bytes(props.plan.bytes) })} aside={t("plan.waysLegend")}>
      <Ranges
        label={t("plan.waysTitle", { size: bytes(props.plan.bytes) })}
        rows={rows()}
        ends={span()}
        ticks={ticks(TIMES, ...span(), 8).map((at) => ({ at, shown: timeMark(at) }))}
      />
      <dl class="plan-why small">
        <For each={props.plan.scenarios}>
          {(way) => {
            const note = NOTES[way.way[0] ?? ""];
            return (
              <div>
                <dt>{note ? t(note.title) : way.way}</dt>
                <dd class="soft">
                  {note ? t(note.said) : way.note}. {note ? t(note.why) : way.reason}
                </dd>
              </div>
            );
          }}
        </For>
      </dl>
    </Panel>
  );
}
