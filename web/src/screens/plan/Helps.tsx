/** What a bigger card, fewer bits or a smaller model would do to the same chats: asked for, as it takes a while. */

import { For, type JSX, Show, createEffect, createSignal, on } from "solid-js";
import { type Change, type ChatsPlan, planChats } from "../../api/plan";
import { t } from "../../i18n";
import { Button } from "../../parts/Button";
import { Panel } from "../../parts/Panel";
import { ErrorNote } from "../../parts/States";
import { type Wish, queryOf } from "./wish";
import { longTime, short } from "./words";

export function Helps(props: { wish: Wish }): JSX.Element {
  const [found, setFound] = createSignal<ChatsPlan>();
  const [busy, setBusy] = createSignal(false);
  const [failed, setFailed] = createSignal<unknown>();
  // Another wish: what was found is not of it.
  createEffect(on(() => props.wish, () => (setFound(undefined), setFailed(undefined)), { defer: true }));
  const ask = async (): Promise<void> => {
    const wish = props.wish;
    setBusy(true);
    setFailed(undefined);
    try {
      const { chats, context, answer, think } = wish;
      const plan = await planChats(queryOf(wish), { chats, context, answer, think, search: true });
      if (wish === props.wish) setFound(plan);
    } catch (error) {
      if (wish === props.wish) setFailed(error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Panel title={t("plan.helps")} aside={t("plan.helpsTarget")}>
      <Show
        when={found()}
        fallback={
          <div class="row wrap">
            <Button small busy={busy()} onClick={() => void ask()}>
              {t("plan.helpsAsk")}
            </Button>
            <span class="soft small">{t("plan.helpsText")}</span>
          </div>
        }
      >
        {(plan) => (
          <>
            <p>{plan().largest && plan().largest!.value > 0 ? t("plan.largest", { n: plan().largest!.value }) : t("plan.largestNone")}</p>
            <div class="table-wrap">
              <table class="table">
                <thead>
                  <tr>
                    <th>{t("plan.change")}</th>
                    <th class="number">{t("plan.firstWord")}</th>
                    <th class="number">{t("plan.between")}</th>
                    <th class="number">{t("plan.perSecond")}</th>
                    <th>
                      <span class="visually-hidden">{t("plan.helpsTarget")}</span>
                    </th>
                  </tr>
                </thead>
                <tbody>
                  <For each={plan().changes ?? []}>{(change) => <Row change={change} />}</For>
                </tbody>
              </table>
            </div>
          </>
        )}
      </Show>
      <Show when={failed()}>
        <ErrorNote error={failed()} onRetry={() => void ask()} />
      </Show>
    </Panel>
  );
}

function Row(props: { change: Change }): JSX.Element {
  const shown = (value: number | undefined, say: (value: number) => string): string => (value === undefined ? "" : say(value));
  return (
    <tr>
      <td>
        {props.change.change}
        <Show when={props.change.fits && props.change.why}>
          <div class="soft">{props.change.why}</div>
        </Show>
      </td>
      <td class="number">{shown(props.change.ttft_p95_s, longTime)}</td>
      <td class="number">{shown(props.change.itl_p95_s, longTime)}</td>
      <td class="number">{shown(props.change.tokens_s, short)}</td>
      <td>
        <Show when={props.change.fits} fallback={<span class="badge">{t("plan.noFit")}</span>}>
          <Show when={props.change.meets_targets !== undefined}>
            <span class="badge">
              <span class="dot" classList={{ done: props.change.meets_targets ?? false, failed: !props.change.meets_targets }} />
              {props.change.meets_targets ? t("plan.keeps") : t("plan.keepsNot")}
            </span>
          </Show>
        </Show>
      </td>
    </tr>
  );
}
