/**
 * Every chat as a tile, each with what it says just now.
 *
 * A tile is a text node that is set anew, in a box whose size never changes: nothing beside it is laid out again, and what
 * is off the screen is not drawn at all (wall.css).
 */

import { useNavigate } from "@solidjs/router";
import { For, type JSX, Match, Show, Switch, createMemo, createSignal, onMount, untrack } from "solid-js";
import { duration, t } from "../../i18n";
import { answerOf } from "../../live";
import { Button } from "../../parts/Button";
import { Segments } from "../../parts/Field";
import { EmptyState, ErrorNote, Spinner } from "../../parts/States";
import { SidebarButton } from "../../shell/Sidebar";
import { stateOf, titleOf } from "../../shell/ChatRow";
import { chat, chatIds, hasMore, loadError, loadUpTo, loading } from "../../state/chats";
import { BroadcastDialog } from "./BroadcastDialog";
import { Ticker } from "./Ticker";
import "./wall.css";

const FIRST = 250;

type State = ReturnType<typeof stateOf>;
type Filter = "all" | State;
type Size = "small" | "large";
const STATES: readonly State[] = ["running", "waiting", "failed", "idle"];
const SIZE = "hubbub.wall.size";

const same = (a: readonly string[], b: readonly string[]): boolean => a.length === b.length && a.every((id, at) => id === b[at]);

export default function WallScreen(): JSX.Element {
  const [filter, setFilter] = createSignal<Filter>("all");
  const [limit, setLimit] = createSignal(FIRST);
  const [asking, setAsking] = createSignal(false);
  const [size, setSize] = createSignal<Size>(localStorage.getItem(SIZE) === "large" ? "large" : "small");
  onMount(() => {
    document.title = `${t("wall.title")} · Hubbub`;
    void loadUpTo(limit());
  });
  const more = (): void => {
    setLimit((n) => n + FIRST);
    void loadUpTo(limit());
  };
  // By age, which does not change: tiles stay where they are while their chats are written to.
  const all = createMemo(
    () => {
      const ids = [...chatIds()];
      return untrack(() => {
        const made = new Map(ids.map((id) => [id, chat(id)?.created_at ?? 0]));
        return ids.sort((a, b) => (made.get(b) ?? 0) - (made.get(a) ?? 0) || (a < b ? 1 : -1));
      }).slice(0, limit());
    },
    [],
    { equals: same },
  );
  const states = createMemo(() => new Map(all().map((id) => [id, stateOf(id)])), new Map<string, State>(), { equals: sameStates });
  const count = (state: State): number => [...states().values()].filter((one) => one === state).length;
  const shown = createMemo(
    () => all().filter((id) => filter() === "all" || states().get(id) === filter()),
    [],
    { equals: same },
  );
  return (
    <div class="screen wall">
      <header class="screen-head wall-head">
        <SidebarButton />
        <h1>{t("wall.title")}</h1>
        <div class="wall-tools">
          <Segments<Filter>
            label={t("wall.filter")}
            value={filter()}
            options={[
              { value: "all", label: t("wall.all"), count: all().length },
              ...STATES.map((state) => ({ value: state, label: t(`wall.${state}`), count: count(state) })),
            ]}
            onChange={setFilter}
          />
          <Segments<Size>
            label={t("wall.size")}
            value={size()}
            options={[
              { value: "small", label: t("wall.small") },
              { value: "large", label: t("wall.large") },
            ]}
            onChange={(value) => {
              localStorage.setItem(SIZE, value);
              setSize(value);
            }}
          />
        </div>
        <Button kind="primary" icon="broadcast" onClick={() => setAsking(true)}>
          {t("wall.ask")}
        </Button>
      </header>
      <div class="wall-body">
        <Show when={shown().length > 0} fallback={<Nothing filter={filter()} onAsk={() => setAsking(true)} onRetry={() => void loadUpTo(limit())} />}>
          <ul class="tiles" classList={{ large: size() === "large" }} aria-label={t("chat.list")}>
            <For each={shown()}>{(id) => <Tile id={id} />}</For>
          </ul>
          <Show when={hasMore() || chatIds().length > limit()}>
            <div class="wall-more">
              <Button busy={loading()} onClick={more}>
                {t("common.more")}
              </Button>
            </div>
          </Show>
        </Show>
      </div>
      <Show when={asking()}>
        <BroadcastDialog shown={shown()} onClose={() => setAsking(false)} />
      </Show>
    </div>
  );
}

function sameStates(a: ReadonlyMap<string, State>, b: ReadonlyMap<string, State>): boolean {
  if (a.size !== b.size) return false;
  for (const [id, state] of a) if (b.get(id) !== state) return false;
  return true;
}

function Tile(props: { id: string }): JSX.Element {
  const navigate = useNavigate();
  const [asleep, setAsleep] = createSignal(false);
  const state = createMemo(() => stateOf(props.id));
  const place = (): string => {
    const answer = answerOf(props.id);
    if (answer?.state !== "waiting" || answer.end !== null || !answer.position) return "";
    const said = t("chat.queue", { position: answer.position });
    return answer.estimate_s ? `${said} · ${duration(answer.estimate_s)}` : said;
  };
  // Of an answer the end is shown, of anything else the beginning.
  const source = (): string => (!place() && answerOf(props.id)?.text ? (answerOf(props.id)?.response ?? "") : "");
  const text = (): string => (source() && answerOf(props.id)?.text) || place() || (chat(props.id)?.preview ?? "");
  return (
    <li
      ref={(tile) =>
        tile.addEventListener("contentvisibilityautostatechange", (event) =>
          setAsleep((event as Event & { skipped: boolean }).skipped),
        )
      }
      class={`tile ${state()}${source() ? " told" : ""}`}
    >
      <a
        href={`/chat/${props.id}`}
        onClick={(event) => {
          if (event.metaKey || event.ctrlKey) return;
          event.preventDefault();
          navigate(`/chat/${props.id}`);
        }}
      >
        <span class="tile-head">
          <span class={`dot ${state()}`} role="img" aria-label={t(`state.${state()}`)} />
          <span class="tile-title">{titleOf(props.id)}</span>
        </span>
        <span class="tile-text">
          <Ticker source={source()} text={text()} asleep={asleep()} />
        </span>
      </a>
    </li>
  );
}

function Nothing(props: { filter: Filter; onAsk: () => void; onRetry: () => void }): JSX.Element {
  return (
    <Switch
      fallback={
        <EmptyState icon="wall" title={t("wall.empty")} text={t("wall.emptyText")}>
          <Button kind="primary" icon="broadcast" onClick={() => props.onAsk()}>
            {t("wall.ask")}
          </Button>
        </EmptyState>
      }
    >
      <Match when={loadError()}>
        <ErrorNote error={loadError()} onRetry={props.onRetry} />
      </Match>
      <Match when={loading()}>
        <div class="empty">
          <Spinner />
        </div>
      </Match>
      <Match when={props.filter !== "all"}>
        <EmptyState icon="wall" title={t("wall.noneSuch")} />
      </Match>
    </Switch>
  );
}
