/** Corpora: all of them, one of them, or the start of a new one. */

import "./corpus.css";
import { A, useNavigate, useParams, useSearchParams } from "@solidjs/router";
import { For, type JSX, Match, Show, Suspense, Switch, lazy } from "solid-js";
import { type Corpus, listCorpora } from "../../api/corpora";
import { bytes, number, t, when } from "../../i18n";
import { Button, buttonClass } from "../../parts/Button";
import { Meter } from "../../parts/Figures";
import { Icon } from "../../parts/Icon";
import { EmptyState, ErrorNote, Spinner } from "../../parts/States";
import { poll } from "../../parts/poll";
import { Screen } from "../Screen";
import { StateBadge, amount, remaining, share } from "./words";

const Run = lazy(() => import("./Run"));
const Start = lazy(() => import("./Start"));
const LIST_MS = 3000;

export default function CorpusScreen(): JSX.Element {
  const params = useParams<{ name?: string }>();
  const [search] = useSearchParams<{ start?: string }>();
  return (
    <Switch fallback={<List />}>
      <Match when={params.name}>
        {(name) => (
          <Suspense fallback={<Waiting />}>
            <Show when={name()} keyed>
              {(one) => <Run name={one} />}
            </Show>
          </Suspense>
        )}
      </Match>
      <Match when={search.start !== undefined}>
        <Suspense fallback={<Waiting />}>
          <Start />
        </Suspense>
      </Match>
    </Switch>
  );
}

function Waiting(): JSX.Element {
  return (
    <Screen title={t("corpus.title")}>
      <div class="empty">
        <Spinner />
      </div>
    </Screen>
  );
}

function List(): JSX.Element {
  const navigate = useNavigate();
  const found = poll(listCorpora, () => LIST_MS);
  return (
    <Screen
      title={t("corpus.title")}
      actions={
        <Show when={(found.value()?.length ?? 0) > 0}>
          <Button kind="primary" icon="plus" onClick={() => navigate("/corpus?start")}>
            {t("corpus.new")}
          </Button>
        </Show>
      }
    >
      <Show when={found.error()}>
        <ErrorNote error={found.error()} onRetry={found.refresh} />
      </Show>
      <Show
        when={found.value()}
        fallback={
          <Show when={!found.error()}>
            <div class="empty">
              <Spinner />
            </div>
          </Show>
        }
      >
        {(list) => (
          <Show
            when={list().length > 0}
            fallback={
              <EmptyState icon="corpus" title={t("corpus.none")} text={t("corpus.noneText")}>
                <A class={buttonClass("primary")} href="/corpus?start">
                  <Icon name="plus" />
                  {t("corpus.new")}
                </A>
              </EmptyState>
            }
          >
            <ul class="corpus-list">
              <For each={list()}>{(one) => <Row corpus={one} />}</For>
            </ul>
          </Show>
        )}
      </Show>
    </Screen>
  );
}

function Row(props: { corpus: Corpus }): JSX.Element {
  const live = (): Corpus["progress"] => props.corpus.progress;
  return (
    <li>
      <A class="card corpus-row" href={`/corpus/${encodeURIComponent(props.corpus.name)}`}>
        <span class="row">
          <strong class="cut">{props.corpus.name}</strong>
          <StateBadge corpus={props.corpus} />
          <span class="grow" />
          <span class="soft small">{when(props.corpus.created_at)}</span>
        </span>
        <Meter label={t("corpus.progress")} share={share(live())} tone={props.corpus.state === "finished" ? "good" : props.corpus.state === "failed" ? "bad" : undefined} />
        <span class="row wrap soft small numbers">
          <Show when={live()} fallback={props.corpus.bytes ? t("corpus.target", { size: props.corpus.bytes }) : ""}>
            {(one) => (
              <>
                <span>{t("corpus.of", { done: amount(one().amount, one().unit), target: amount(one().target, one().unit) })}</span>
                <Show when={props.corpus.state === "running"}>
                  <span>{t("corpus.perSecond", { size: bytes(one().bytes_s) })}</span>
                  <span>{remaining(one())}</span>
                </Show>
                <span>{t("corpus.accepted", { share: number(one().accept_rate, { style: "percent" }) })}</span>
              </>
            )}
          </Show>
        </span>
        <Show when={props.corpus.reason && props.corpus.state !== "finished"}>
          <span class="soft small">{props.corpus.reason}</span>
        </Show>
      </A>
    </li>
  );
}
