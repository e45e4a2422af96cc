/** How the server does: gauges, ten minutes of them, engines, who waits. Drain, restart and logs for admins. */

import "./engine.css";
import { For, type JSX, Show, createMemo } from "solid-js";
import { session } from "../../api/session";
import { type Engine, type Gauge, type Room, getRoom, listEngines } from "../../api/room";
import { number, t } from "../../i18n";
import { Chart } from "../../parts/Chart";
import { Counts, Meter, Spark, Tile, Tiles } from "../../parts/Figures";
import { Panel } from "../../parts/Panel";
import { EmptyState, ErrorNote, Spinner } from "../../parts/States";
import { poll } from "../../parts/poll";
import { Screen } from "../Screen";
import { EngineCard } from "./EngineCard";
import { percent, rate, seconds } from "./words";

const EVERY_MS = 2000;

export default function EngineScreen(): JSX.Element {
  const room = poll(getRoom, () => EVERY_MS);
  // Only admins may see them.
  const engines = poll(async () => (session()?.admin ? listEngines() : undefined), () => EVERY_MS);
  return (
    <Screen title={t("engine.title")}>
      <div class="engine-room">
        <Show when={room.error()}>
          <ErrorNote error={room.error()} onRetry={room.refresh} />
        </Show>
        <Show
          when={room.value()}
          fallback={
            <Show when={!room.error()}>
              <div class="empty">
                <Spinner />
              </div>
            </Show>
          }
        >
          {(now) => <Gauges room={now()} engines={engines.value()} />}
        </Show>
        <Engines engines={engines.value()} error={engines.error()} room={room.value()} onChanged={engines.refresh} />
      </div>
    </Screen>
  );
}

function Gauges(props: { room: Room; engines: Engine[] | undefined }): JSX.Element {
  const now = (name: Gauge): number | null => props.room.now[name];
  const past = (name: Gauge): (number | null)[] => props.room.history[name];
  const running = (): number => (now("running_chat") ?? 0) + (now("running_bulk") ?? 0);
  const waiting = (): number => (now("waiting_chat") ?? 0) + (now("waiting_bulk") ?? 0);
  const chart = (...names: Gauge[]): (number | null)[][] => [props.room.times, ...names.map(past)];
  const ready = (): number => props.engines?.filter((one) => one.ready).length ?? 0;
  const speeds = createMemo(() => chart("output_tokens_s", "input_tokens_s"));
  const requests = createMemo(() => chart("running_chat", "running_bulk", "waiting_chat", "waiting_bulk"));
  const first = createMemo(() => chart("ttft_p50_s", "ttft_p95_s"));
  const between = createMemo(() => chart("itl_p50_s", "itl_p95_s"));
  const shares = createMemo(() => chart("kv_fill", "cache_hits"));
  return (
    <>
      <Tiles columns={4}>
        <Tile label={t("engine.tokensOut")} value={rate(now("output_tokens_s"))} note={t("engine.tokensIn", { rate: rate(now("input_tokens_s")) })}>
          <Spark values={past("output_tokens_s")} />
        </Tile>
        <Tile label={t("engine.running")} value={number(running())} note={t("engine.byClass", { chat: now("running_chat") ?? 0, bulk: now("running_bulk") ?? 0 })}>
          <Spark values={past("running_chat").map((one, at) => (one === null ? null : one + (past("running_bulk")[at] ?? 0)))} />
        </Tile>
        <Tile label={t("engine.waiting")} value={number(waiting())} tone={waiting() > 0 ? "warn" : undefined} note={t("engine.byClass", { chat: now("waiting_chat") ?? 0, bulk: now("waiting_bulk") ?? 0 })}>
          <Spark colour={2} values={past("waiting_chat").map((one, at) => (one === null ? null : one + (past("waiting_bulk")[at] ?? 0)))} />
        </Tile>
        <Tile label={t("engine.kvFill")} value={percent(now("kv_fill"))} note={t("engine.kvNote")}>
          <Meter thin label={t("engine.kvFill")} share={now("kv_fill") ?? 0} tone={(now("kv_fill") ?? 0) > 0.9 ? "warn" : undefined} />
        </Tile>
        <Tile label={t("engine.hits")} value={percent(now("cache_hits"))} note={t("engine.hitsNote")}>
          <Meter thin label={t("engine.hits")} share={now("cache_hits") ?? 0} />
        </Tile>
        <Tile label={t("engine.ttft")} value={seconds(now("ttft_p95_s"))} note={t("engine.half", { time: seconds(now("ttft_p50_s")) })} />
        <Tile label={t("engine.itl")} value={seconds(now("itl_p95_s"))} note={t("engine.half", { time: seconds(now("itl_p50_s")) })} />
        <Tile
          label={t("engine.ready")}
          value={props.engines ? t("engine.readyOf", { ready: ready(), all: props.engines.length }) : "–"}
          tone={props.engines && ready() < props.engines.length ? "bad" : undefined}
          note={props.engines && [...new Set(props.engines.flatMap((one) => one.models))].join(", ")}
        />
      </Tiles>
      <div class="panels">
        <Panel title={t("engine.chartSpeed")} aside={t("engine.tenMinutes")}>
          <Chart
            label={t("engine.chartSpeed")}
            data={speeds()}
            series={[
              { label: t("engine.written"), colour: 1, fill: true },
              { label: t("engine.read"), colour: 3 },
            ]}
            time
            yMin={0}
            height={180}
          />
        </Panel>
        <Panel title={t("engine.chartRequests")} aside={t("engine.tenMinutes")}>
          <Chart
            label={t("engine.chartRequests")}
            data={requests()}
            series={[
              { label: t("engine.runningChats"), colour: 1, fill: true },
              { label: t("engine.runningBulk"), colour: 3 },
              { label: t("engine.waitingChats"), colour: 2, dash: true },
              { label: t("engine.waitingBulk"), colour: 4, dash: true },
            ]}
            time
            yMin={0}
            height={180}
          />
        </Panel>
        <Panel title={t("engine.ttft")} aside={t("engine.tenMinutes")}>
          <Chart
            label={t("engine.ttft")}
            data={first()}
            series={[
              { label: t("engine.p50"), colour: 1 },
              { label: t("engine.p95"), colour: 2 },
            ]}
            time
            yMin={0}
            yShown={seconds}
            height={150}
          />
        </Panel>
        <Panel title={t("engine.itl")} aside={t("engine.tenMinutes")}>
          <Chart
            label={t("engine.itl")}
            data={between()}
            series={[
              { label: t("engine.p50"), colour: 1 },
              { label: t("engine.p95"), colour: 2 },
            ]}
            time
            yMin={0}
            yShown={seconds}
            height={150}
          />
        </Panel>
        <Panel title={t("engine.chartShares")} aside={t("engine.tenMinutes")}>
          <Chart
            label={t("engine.chartShares")}
            data={shares()}
            series={[
              { label: t("engine.kvFill"), colour: 3, fill: true },
              { label: t("engine.hits"), colour: 1 },
            ]}
            time
            yMin={0}
            yMax={1}
            yShown={percent}
            height={150}
          />
        </Panel>
        <Users room={props.room} />
      </div>
    </>
  );
}

function Engines(props: { engines: Engine[] | undefined; error: unknown; room: Room | undefined; onChanged: () => void }): JSX.Element {
  return (
    <Show when={props.engines} fallback={<Show when={props.error}>{<ErrorNote error={props.error} onRetry={props.onChanged} />}</Show>}>
      {(list) => (
        <section class="stack" aria-label={t("engine.engines")}>
          <h2>{t("engine.engines")}</h2>
          <Show when={list().length > 0} fallback={<EmptyState icon="engine" title={t("engine.none")} text={t("engine.noneText")} />}>
            <div class="panels">
              <For each={list().map((one) => one.id)}>
                {(id) => (
                  <Show when={list().find((one) => one.id === id)}>
                    {(one) => <EngineCard engine={one()} gauges={props.room?.engines.find((two) => two.id === id)} admin={session()?.admin ?? false} onChanged={props.onChanged} />}
                  </Show>
                )}
              </For>
            </div>
          </Show>
        </section>
      )}
    </Show>
  );
}

function Users(props: { room: Room }): JSX.Element {
  const rows = createMemo(() =>
    props.room.users.map((one) => ({
      label: `${one.user ?? t("engine.others")} · ${t(one.tier === "bulk" ? "engine.bulk" : "engine.chat")}`,
      value: one.running + one.waiting,
      shown: t("engine.runningWaiting", { running: one.running, waiting: one.waiting }),
      colour: one.tier === "bulk" ? (3 as const) : (1 as const),
    })),
  );
  return (
    <Panel title={t("engine.users")} aside={t("engine.usersAside")}>
      <Show when={rows().length > 0} fallback={<p class="soft small">{t("engine.usersNone")}</p>}>
        <Counts label={t("engine.users")} rows={rows()} />
      </Show>
    </Panel>
  );
}
