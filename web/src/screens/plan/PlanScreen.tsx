/** What would fit, how fast, how long: the planner, asked anew as the sliders move. */

import "./plan.css";
import { type JSX, Show, createSignal, onCleanup, onMount } from "solid-js";
import { createStore, unwrap } from "solid-js/store";
import { type PlanChoices, planChats, planChoices, planCorpus, planMemory, planScenarios } from "../../api/plan";
import { t } from "../../i18n";
import { latest } from "../../parts/latest";
import { ErrorNote, Spinner } from "../../parts/States";
import { Screen } from "../Screen";
import { Controls } from "./Controls";
import { Results, type Shown } from "./Results";
import { type Wish, fitting, keepWish, keptWish, queryOf } from "./wish";

const PAUSE_MS = 250;

export default function PlanScreen(): JSX.Element {
  const [choices, setChoices] = createSignal<PlanChoices>();
  const [failed, setFailed] = createSignal<unknown>();
  const load = (): void => {
    setFailed(undefined);
    planChoices().then(setChoices, setFailed);
  };
  onMount(load);
  return (
    <Screen title={t("plan.title")}>
      <Show
        when={choices()}
        fallback={
          <div class="empty">
            <Show when={failed()} fallback={<Spinner label={t("plan.starting")} />}>
              <ErrorNote error={failed()} onRetry={load} />
            </Show>
          </div>
        }
      >
        {(known) => <Planner choices={known()} />}
      </Show>
    </Screen>
  );
}

function Planner(props: { choices: PlanChoices }): JSX.Element {
  const [wish, setWish] = createSignal<Wish>(fitting(keptWish(), props.choices));
  const [shown, setShown] = createStore<Shown>({});
  const [busy, setBusy] = createSignal(false);
  const asked = latest<Wish>(
    [
      async (want) => {
        const memory = await planMemory(queryOf(want), want.context);
        return () => setShown({ memory, failed: undefined, wish: want });
      },
      async (want) => {
        const corpus = await planCorpus(queryOf(want), want.bytes, want.lang, want.accept);
        return () => setShown({ corpus });
      },
      async (want) => {
        const chats = await planChats(queryOf(want), talk(want));
        return () => setShown({ chats, chatsOf: want });
      },
      async (want) => {
        if (shown.scenarios?.bytes === want.bytes && shown.scenarios.lang === want.lang) return () => undefined;
        const scenarios = await planScenarios(want.bytes, want.lang);
        return () => setShown({ scenarios });
      },
      async (want) => {
        const { curve } = await planChats(queryOf(want), { ...talk(want), curve: true });
        return () => setShown({ curve, curveOf: want });
      },
    ],
    {
      busy: setBusy,
      pauseMs: PAUSE_MS,
      failed: (failed) => {
        setShown({ failed });
        // It does not even fit: what was shown is of another wish.
        if (unwrap(shown.wish) !== wish()) setShown({ memory: undefined, corpus: undefined, chats: undefined, curve: undefined });
      },
    },
  );
  onMount(() => asked.want(wish()));
  onCleanup(asked.stop);
  const change = (part: Partial<Wish>): void => {
    const next = fitting({ ...wish(), ...part }, props.choices);
    setWish(next);
    keepWish(next);
    asked.want(next);
  };
  return (
    <div class="plan">
      <Controls wish={wish()} choices={props.choices} onChange={change} />
      <Results wish={wish()} shown={shown} busy={busy()} onRetry={() => asked.want(wish())} />
    </div>
  );
}

const talk = (want: Wish): { chats: number; context: number; answer: number; think: number } => ({
  chats: want.chats,
  context: want.context,
  answer: want.answer,
  think: want.think,
});
