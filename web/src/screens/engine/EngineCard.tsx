/** One engine: its health and load, its log, and what an admin does with it. */

import { For, type JSX, Show, createEffect, createSignal, on } from "solid-js";
import { words } from "../../api/http";
import { type Engine, type EngineGauges, drainEngine, engineLog, restartEngine } from "../../api/room";
import { bytes, number, t } from "../../i18n";
import { Button } from "../../parts/Button";
import { Confirm } from "../../parts/Confirm";
import { Dialog } from "../../parts/Dialog";
import { Meter, Spark } from "../../parts/Figures";
import { Icon } from "../../parts/Icon";
import { ErrorNote, Spinner } from "../../parts/States";
import { toast } from "../../parts/Toast";
import { poll } from "../../parts/poll";
import { percent, rate, seconds } from "./words";

interface Props {
  engine: Engine;
  gauges: EngineGauges | undefined;
  admin: boolean;
  onChanged: () => void;
}

export function EngineCard(props: Props): JSX.Element {
  const [sure, setSure] = createSignal<"drain" | "restart">();
  const [force, setForce] = createSignal(false);
  const [busy, setBusy] = createSignal(false);
  const [log, setLog] = createSignal(false);
  const act = async (what: () => Promise<Engine>): Promise<void> => {
    setBusy(true);
    try {
      await what();
      props.onChanged();
    } catch (error) {
      toast({ text: words(error), bad: true });
    } finally {
      setBusy(false);
      setSure(undefined);
    }
  };
  return (
    <article class="panel engine-card" aria-label={props.engine.id}>
      <div class="row wrap">
        <h3 class="cut">{props.engine.id}</h3>
        <Health engine={props.engine} />
        <span class="grow" />
        <span class="soft small">{props.engine.kind}</span>
      </div>
      <div class="small cut" title={props.engine.models.join(", ")}>
        {props.engine.models.join(", ") || t("engine.noModel")}
        <Show when={props.engine.adapters.length > 0}>
          <span class="soft"> · {t("engine.adapters", { n: props.engine.adapters.length })}</span>
        </Show>
      </div>
      <Show when={props.engine.trouble}>
        <div class="note bad small">
          <Icon name="warning" />
          <div class="note-text">{props.engine.trouble}</div>
        </div>
      </Show>
      <Load engine={props.engine} gauges={props.gauges} />
      <Show when={props.admin}>
        <div class="row wrap">
          <Show
            when={props.engine.draining}
            fallback={
              <Button small icon="pause" onClick={() => setSure("drain")}>
                {t("engine.drain")}
              </Button>
            }
          >
            <Button small kind="primary" icon="play" busy={busy()} onClick={() => void act(() => drainEngine(props.engine.id, true))}>
              {t("engine.undrain")}
            </Button>
          </Show>
          <Show when={props.engine.can_restart}>
            <Button small icon="retry" disabled={props.engine.restarting} onClick={() => setSure("restart")}>
              {t("engine.restart")}
            </Button>
          </Show>
          <Button small kind="quiet" icon="file" onClick={() => setLog(true)}>
            {t("engine.log")}
          </Button>
        </div>
      </Show>
      <Confirm
        open={sure() === "drain"}
        title={t("engine.drainTitle", { name: props.engine.id })}
        text={t("engine.drainText")}
        action={t("engine.drain")}
        busy={busy()}
        onClose={() => setSure(undefined)}
        onConfirm={() => void act(() => drainEngine(props.engine.id, false))}
      />
      <Confirm
        open={sure() === "restart"}
        title={t("engine.restartTitle", { name: props.engine.id })}
        text={force() ? t("engine.restartForceText") : t("engine.restartText", { n: props.engine.running })}
        action={t("engine.restart")}
        danger={force()}
        busy={busy()}
        onClose={() => setSure(undefined)}
        onConfirm={() => void act(() => restartEngine(props.engine.id, force()))}
      >
        <label class="row engine-force">
          <input type="checkbox" checked={force()} onChange={(event) => setForce(event.currentTarget.checked)} />
          {t("engine.force")}
        </label>
      </Confirm>
      <Dialog open={log()} onClose={() => setLog(false)} title={t("engine.logOf", { name: props.engine.id })} description={t("engine.logText")} wide>
        <Log id={props.engine.id} />
      </Dialog>
    </article>
  );
}

function Health(props: { engine: Engine }): JSX.Element {
  const state = (): "restarting" | "draining" | "ready" | "down" =>
    props.engine.restarting ? "restarting" : props.engine.draining ? "draining" : props.engine.ready ? "ready" : "down";
  return (
    <span class="badge">
      <span class="dot" classList={{ done: state() === "ready", failed: state() === "down", waiting: state() === "restarting" || state() === "draining" }} />
      {t(`engine.state.${state()}`)}
    </span>
  );
}

function Load(props: { engine: Engine; gauges: EngineGauges | undefined }): JSX.Element {
  const facts = (): [string, string][] => {
    const one = props.engine;
    const all: [string, string][] = [
      [t("engine.running"), one.max_sequences ? `${number(one.running)} / ${number(one.max_sequences)}` : number(one.running)],
      [t("engine.waiting"), number(one.waiting)],
      [t("engine.tokensOut"), rate(props.gauges?.now.output_tokens_s)],
      [t("engine.ttft"), seconds(props.gauges?.now.ttft_p95_s)],
      [t("engine.itl"), seconds(props.gauges?.now.itl_p95_s)],
      [t("engine.window"), one.context_window ? number(one.context_window) : "–"],
    ];
    if (one.rss_bytes !== null) all.push([t("engine.rss"), bytes(one.rss_bytes)]);
    if (one.restarts !== null) all.push([t("engine.restarts"), number(one.restarts)]);
    if (one.pid !== null) all.push([t("engine.pid"), String(one.pid)]);
    if (one.cost_usd !== null && one.cost_usd !== undefined) all.push([t("engine.cost"), number(one.cost_usd, { style: "currency", currency: "USD" })]);
    return all;
  };
  return (
    <>
      <div>
        <div class="row small">
          <span class="grow soft">{t("engine.kvFill")}</span>
          <span class="numbers">
            {percent(props.engine.kv_used)}
            <Show when={props.engine.kv_tokens > 0}>
              <span class="soft"> {t("engine.ofTokens", { n: props.engine.kv_tokens })}</span>
            </Show>
          </span>
        </div>
        <Meter thin label={t("engine.kvFill")} share={props.engine.kv_used} tone={props.engine.kv_used > 0.9 ? "warn" : undefined} />
      </div>
      <dl class="engine-facts">
        <For each={facts()}>
          {([label, value]) => (
            <div>
              <dt class="soft">{label}</dt>
              <dd class="numbers">{value}</dd>
            </div>
          )}
        </For>
      </dl>
      <Show when={props.gauges}>{(gauges) => <Spark values={gauges().history.output_tokens_s} />}</Show>
    </>
  );
}

/** The end of its log, read again and again; it stays at its end unless somebody scrolls up. */
function Log(props: { id: string }): JSX.Element {
  let place!: HTMLPreElement;
  let atEnd = true;
  const lines = poll(() => engineLog(props.id), () => 3000);
  createEffect(
    on(lines.value, () => {
      if (atEnd) queueMicrotask(() => place?.scrollTo({ top: place.scrollHeight }));
    }),
  );
  return (
    <>
      <Show when={lines.error()}>
        <ErrorNote error={lines.error()} onRetry={lines.refresh} />
      </Show>
      <Show when={lines.value()} fallback={<Show when={!lines.error()}>{<Spinner />}</Show>}>
        {(found) => (
          <Show when={found().length > 0} fallback={<p class="soft">{t("engine.logNone")}</p>}>
            <pre
              ref={place}
              class="engine-log"
              tabindex="0"
              aria-label={t("engine.log")}
              onScroll={() => (atEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 40)}
            >
              {found().join("\n")}
            </pre>
          </Show>
        )}
      </Show>
    </>
  );
}
