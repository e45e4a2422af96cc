/** One corpus: how far, how fast, what is turned away and why, what comes out; and what to do with it. */

import { useNavigate } from "@solidjs/router";
import { For, type JSX, Match, Show, Switch, createMemo, createSignal } from "solid-js";
import { ApiError, words } from "../../api/http";
import { type Corpus, type CorpusProgress, type Records, deleteCorpus, getCorpus, listRecords, moveCorpus, siteUrl } from "../../api/corpora";
import { bytes, number, t, when } from "../../i18n";
import { Button, buttonClass } from "../../parts/Button";
import { Chart } from "../../parts/Chart";
import { Confirm } from "../../parts/Confirm";
import { Segments } from "../../parts/Field";
import { Counts, Meter, Tile, Tiles } from "../../parts/Figures";
import { Icon } from "../../parts/Icon";
import { Panel } from "../../parts/Panel";
import { EmptyState, ErrorNote, Spinner } from "../../parts/States";
import { toast } from "../../parts/Toast";
import { type Polled, poll } from "../../parts/poll";
import { Screen } from "../Screen";
import { StateBadge, amount, measure, measured, reason, remaining, share } from "./words";

const LIVE_MS = 1500;
const STILL_MS = 8000;
const KEPT = 400;

const going = (one: Corpus | undefined): boolean => one?.state === "running" || one?.state === "waiting";

export default function Run(props: { name: string }): JSX.Element {
  const [past, setPast] = createSignal<readonly CorpusProgress[]>([]);
  const found: Polled<Corpus> = poll(
    () => getCorpus(props.name),
    () => (going(found.value()) ? LIVE_MS : STILL_MS),
    (one) => {
      const live = one.progress;
      if (live) setPast((all) => (all.at(-1)?.at === live.at ? all : [...all.slice(-KEPT + 1), live]));
    },
  );
  const records = poll(() => listRecords(props.name, undefined, 12), () => (going(found.value()) ? 2000 : STILL_MS));
  const missing = (): boolean => found.error() instanceof ApiError && (found.error() as ApiError).status === 404;
  return (
    <Screen title={props.name} actions={<Show when={found.value()}>{(one) => <Actions corpus={one()} onMoved={found.set} />}</Show>}>
      <Switch>
        <Match when={missing()}>
          <EmptyState icon="corpus" title={t("corpus.missing")} text={t("corpus.missingText")} />
        </Match>
        <Match when={found.error() && !found.value()}>
          <ErrorNote error={found.error()} onRetry={found.refresh} />
        </Match>
        <Match when={found.value()}>
          {(one) => (
            <div class="run">
              <Head corpus={one()} />
              <Show when={one().progress}>{(live) => <Live corpus={one()} live={live()} past={past()} />}</Show>
              <Texts corpus={one()} records={records.value()} />
              <details class="panel run-recipe">
                <summary>{t("corpus.recipe")}</summary>
                <pre tabindex="0">{one().recipe}</pre>
              </details>
            </div>
          )}
        </Match>
        <Match when={true}>
          <div class="empty">
            <Spinner />
          </div>
        </Match>
      </Switch>
    </Screen>
  );
}

function Actions(props: { corpus: Corpus; onMoved: (now: Corpus) => void }): JSX.Element {
  const navigate = useNavigate();
  const [busy, setBusy] = createSignal("");
  const [sure, setSure] = createSignal<"stop" | "delete">();
  const move = async (to: "pause" | "resume" | "stop"): Promise<void> => {
    setBusy(to);
    try {
      props.onMoved(await moveCorpus(props.corpus.name, to));
    } catch (error) {
      toast({ text: words(error), bad: true });
    } finally {
      setBusy("");
      setSure(undefined);
    }
  };
  const remove = async (): Promise<void> => {
    setBusy("delete");
    try {
      await deleteCorpus(props.corpus.name);
      navigate("/corpus");
    } catch (error) {
      toast({ text: words(error), bad: true });
    } finally {
      setBusy("");
      setSure(undefined);
    }
  };
  return (
    <div class="row">
      <Show when={going(props.corpus)}>
        <Button small icon="pause" busy={busy() === "pause"} onClick={() => void move("pause")}>
          {t("corpus.pause")}
        </Button>
      </Show>
      <Show when={["paused", "stopped", "failed"].includes(props.corpus.state)}>
        <Button small kind="primary" icon="play" busy={busy() === "resume"} onClick={() => void move("resume")}>
          {t("corpus.resume")}
        </Button>
      </Show>
      <Show when={going(props.corpus) || props.corpus.state === "paused"}>
        <Button small icon="stop" busy={busy() === "stop"} onClick={() => setSure("stop")}>
          {t("corpus.stop")}
        </Button>
      </Show>
      <Show when={!going(props.corpus)}>
        <Button small kind="quiet" icon="trash" onClick={() => setSure("delete")}>
          {t("common.delete")}
        </Button>
      </Show>
      <Confirm
        open={sure() === "stop"}
        title={t("corpus.stopTitle", { name: props.corpus.name })}
        text={t("corpus.stopText")}
        action={t("corpus.stop")}
        busy={busy() === "stop"}
        onClose={() => setSure(undefined)}
        onConfirm={() => void move("stop")}
      />
      <Confirm
        open={sure() === "delete"}
        title={t("corpus.deleteTitle", { name: props.corpus.name })}
        text={t("corpus.deleteText")}
        action={t("common.delete")}
        danger
        busy={busy() === "delete"}
        onClose={() => setSure(undefined)}
        onConfirm={() => void remove()}
      />
    </div>
  );
}

function Head(props: { corpus: Corpus }): JSX.Element {
  const live = (): CorpusProgress | null => props.corpus.progress;
  return (
    <section class="run-head" aria-label={t("corpus.progress")}>
      <div class="row wrap">
        <StateBadge corpus={props.corpus} />
        <span class="soft small">
          {[props.corpus.model, when(props.corpus.created_at), props.corpus.seed === null ? "" : t("corpus.seedIs", { seed: String(props.corpus.seed) })].filter(Boolean).join(" · ")}
        </span>
        <span class="grow" />
        <Show when={props.corpus.linked && (live()?.records ?? 0) > 0}>
          <a class={buttonClass("plain", true)} href={siteUrl(props.corpus.name)} target="_blank" rel="noopener external">
            <Icon name="link" />
            {t("corpus.browse")}
          </a>
        </Show>
      </div>
      <Show when={live()} fallback={<p class="soft">{props.corpus.state === "waiting" ? t("corpus.waitingText") : t("corpus.notBegun")}</p>}>
        {(one) => (
          <>
            <div class="run-amount">
              <strong class="numbers">{amount(one().amount, one().unit)}</strong>
              <span class="soft numbers">{t("corpus.ofTarget", { target: amount(one().target, one().unit) })}</span>
              <span class="grow" />
              <span class="numbers">{number(Math.min(1, share(one())), { style: "percent", maximumFractionDigits: 1 })}</span>
            </div>
            <Meter label={t("corpus.progress")} share={share(one())} tone={props.corpus.state === "finished" ? "good" : props.corpus.state === "failed" ? "bad" : undefined} />
            <Show when={going(props.corpus)}>
              <p class="soft numbers">{remaining(one())}</p>
            </Show>
          </>
        )}
      </Show>
      <Show when={props.corpus.reason && props.corpus.state !== "finished"}>
        <div class={props.corpus.state === "failed" ? "note bad" : "note warn"}>
          <Icon name="warning" />
          <div class="note-text">{props.corpus.reason}</div>
        </div>
      </Show>
    </section>
  );
}

function Live(props: { corpus: Corpus; live: CorpusProgress; past: readonly CorpusProgress[] }): JSX.Element {
  const rejected = createMemo(() => {
    const all = Object.entries(props.live.rejected).sort((a, b) => b[1] - a[1]);
    const total = props.live.records + all.reduce((sum, [, count]) => sum + count, 0);
    return all.map(([name, count]) => ({ label: reason(name), value: count, shown: `${number(count)} · ${number(count / Math.max(1, total), { style: "percent", maximumFractionDigits: 1 })}`, colour: 2 as const }));
  });
  const faults = createMemo(() => Object.entries(props.live.faults).map(([name, count]) => ({ label: name.replaceAll("_", " "), value: count, shown: number(count), colour: 4 as const })));
  const measures = createMemo(() => Object.entries(props.live.diversity).filter((one): one is [string, number] => one[1] !== null));
  const line = createMemo(() => [props.past.map((one) => one.at), props.past.map((one) => one.tokens_s)]);
  const percent = (value: number): string => number(value, { style: "percent", maximumFractionDigits: 1 });
  return (
    <>
      <Tiles columns={5}>
        <Tile label={t("corpus.acceptRate")} value={percent(props.live.accept_rate)} note={t("corpus.items", { n: props.live.items })} />
        <Tile label={t("corpus.recordsKept")} value={number(props.live.records)} note={bytes(props.live.bytes)} />
        <Tile label={t("corpus.tokensS")} value={number(props.live.tokens_s, { maximumSignificantDigits: 3 })} note={t("corpus.perSecond", { size: bytes(props.live.bytes_s) })} />
        <Tile label={t("corpus.near")} value={percent(props.live.near_duplicates)} tone={props.live.near_duplicates > 0.3 ? "bad" : props.live.near_duplicates > 0.1 ? "warn" : undefined} />
        <Tile label={t("corpus.inFlight")} value={number(props.live.in_flight)} note={t("corpus.limit", { n: props.live.limit })} />
      </Tiles>
      <div class="panels">
        <Panel title={t("corpus.rejected")} aside={t("corpus.rejectedAside")}>
          <Show when={rejected().length > 0} fallback={<p class="soft small">{t("corpus.rejectedNone")}</p>}>
            <Counts label={t("corpus.rejected")} rows={rejected()} />
          </Show>
          <Show when={faults().length > 0}>
            <h3 class="small soft">{t("corpus.faults")}</h3>
            <Counts label={t("corpus.faults")} rows={faults()} />
          </Show>
        </Panel>
        <Panel title={t("corpus.diversity")} aside={t("corpus.diversityAside")}>
          <Show when={measures().length > 0} fallback={<p class="soft small">{t("corpus.diversityNone")}</p>}>
            <dl class="run-measures">
              <For each={measures()}>
                {([name, value]) => (
                  <div>
                    <dt class="soft small">{measure(name)}</dt>
                    <dd class="numbers">{value <= 1 ? percent(value) : measured(value)}</dd>
                    <Show when={value <= 1}>
                      <Meter thin label={measure(name)} share={value} />
                    </Show>
                  </div>
                )}
              </For>
            </dl>
          </Show>
          <Show when={props.past.length > 3 && going(props.corpus)}>
            <Chart label={t("corpus.tokensS")} data={line()} series={[{ label: t("corpus.tokensS"), fill: true }]} time yMin={0} height={130} />
          </Show>
        </Panel>
      </div>
    </>
  );
}

function Texts(props: { corpus: Corpus; records: Records | undefined }): JSX.Element {
  const [which, setWhich] = createSignal<"kept" | "rejected">("kept");
  const newest = createMemo(() => [...(props.records?.data ?? [])].reverse());
  return (
    <Panel
      title={t("corpus.samples")}
      aside={
        <Segments
          label={t("corpus.samples")}
          value={which()}
          options={[
            { value: "kept", label: t("corpus.kept") },
            { value: "rejected", label: t("corpus.turnedAway") },
          ]}
          onChange={setWhich}
        />
      }
    >
      <Show
        when={which() === "kept"}
        fallback={
          <Show when={(props.corpus.samples?.length ?? 0) > 0} fallback={<p class="soft small">{t("corpus.rejectedNone")}</p>}>
            <ul class="run-texts">
              <For each={props.corpus.samples ?? []}>
                {(text) => (
                  <li>
                    <span class="badge">{reason(text.reason)}</span>
                    <p>{text.text}</p>
                  </li>
                )}
              </For>
            </ul>
          </Show>
        }
      >
        <Show when={newest().length > 0} fallback={<p class="soft small">{t("corpus.samplesNone")}</p>}>
          <ul class="run-texts">
            <For each={newest()}>{(record) => <Text record={record} />}</For>
          </ul>
        </Show>
      </Show>
    </Panel>
  );
}

function Text(props: { record: Record<string, unknown> }): JSX.Element {
  const said = (key: string): string => (typeof props.record[key] === "string" ? (props.record[key] as string) : "");
  const links = (): { title: string }[] => (Array.isArray(props.record["links"]) ? (props.record["links"] as { title: string }[]) : []);
  return (
    <li>
      <div class="row wrap">
        <Show when={said("title")}>
          <strong>{said("title")}</strong>
        </Show>
        <Show when={said("lang")}>
          <span class="badge">{said("lang")}</span>
        </Show>
        <span class="soft small numbers">#{said("id")}</span>
      </div>
      <p>{said("text")}</p>
      <Show when={links().length > 0}>
        <div class="row wrap small">
          <Icon name="link" />
          <For each={links().slice(0, 8)}>{(link) => <span class="badge">{link.title}</span>}</For>
        </div>
      </Show>
    </li>
  );
}
