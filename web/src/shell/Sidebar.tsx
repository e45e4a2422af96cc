/** Brand, ways, search, chats, settings. */

import { A, useLocation, useNavigate } from "@solidjs/router";
import { For, type JSX, Show, createEffect, createMemo, createSignal, on, onCleanup, untrack } from "solid-js";
import { listChats } from "../api/chats";
import { request } from "../api/http";
import { session } from "../api/session";
import type { Chat } from "../api/types";
import { LANGUAGES, type Language, chooseLanguage, language, t } from "../i18n";
import { counts } from "../live";
import { IconButton } from "../parts/Button";
import { Icon, type IconName } from "../parts/Icon";
import { Menu, MenuChoice, MenuItem, MenuLine } from "../parts/Menu";
import { ErrorNote, Spinner } from "../parts/States";
import { type ListHandle, VirtualList } from "../parts/VirtualList";
import { chat, chatIds, hasMore, loadError, loadMore, loading, putChats } from "../state/chats";
import { type Theme, chooseTheme, theme } from "../state/theme";
import { ChatRow } from "./ChatRow";
import { MOD, places } from "./Shortcuts";
import { isNarrow, leaveSide, setHelpOpen, setSideOpen, sideOpen } from "./layout";

const SCREENS: readonly [path: string, icon: IconName, label: Parameters<typeof t>[0]][] = [
  ["/wall", "wall", "nav.wall"],
  ["/plan", "plan", "nav.plan"],
  ["/corpus", "corpus", "nav.corpus"],
  ["/engine", "engine", "nav.engine"],
];
const TOUCH = window.matchMedia("(hover: none)").matches;
const SEARCH_PAUSE_MS = 180;

/** While the sidebar is closed: opens it, and begins a chat. */
export function SidebarButton(): JSX.Element {
  const location = useLocation();
  const navigate = useNavigate();
  return (
    <Show when={!sideOpen() || isNarrow()}>
      <div class="row side-closed">
        <IconButton icon={isNarrow() ? "menu" : "sidebar"} label={t("nav.open")} onClick={() => setSideOpen(true)} />
        <Show when={location.pathname.startsWith("/chat/")}>
          <IconButton icon="plus" label={t("chat.new")} onClick={() => navigate("/")} />
        </Show>
      </div>
    </Show>
  );
}

export function Sidebar(): JSX.Element {
  const location = useLocation();
  const [search, setSearch] = createSignal("");
  return (
    <aside class="side" aria-label={t("nav.label")}>
      <div class="side-top">
        <A href="/" class="brand" onClick={leaveSide}>
          <img src="/icon.svg" alt="" />
          Hubbub
        </A>
        <IconButton icon={isNarrow() ? "close" : "sidebar"} label={t("nav.close")} onClick={() => setSideOpen(false)} />
      </div>
      <nav class="side-do" aria-label={t("nav.label")}>
        <A href="/" class="side-link" aria-current={location.pathname === "/" ? "page" : undefined} onClick={leaveSide} end>
          <Icon name="plus" />
          {t("chat.new")}
        </A>
        <For each={SCREENS}>
          {([path, icon, label]) => (
            <A href={path} class="side-link" onClick={leaveSide}>
              <Icon name={icon} />
              <span class="grow">{t(label)}</span>
              <Show when={path === "/wall" && counts().running + counts().waiting > 0}>
                <span class="badge numbers" title={t("wall.live")}>
                  <span class="dot running" />
                  {counts().running + counts().waiting}
                </span>
              </Show>
            </A>
          )}
        </For>
      </nav>
      <Search value={search()} onInput={setSearch} />
      <div class="side-list">
        <Show when={search().trim()} fallback={<ChatList />}>
          <Results query={search().trim()} onDone={() => setSearch("")} />
        </Show>
      </div>
      <Foot />
    </aside>
  );
}

function Search(props: { value: string; onInput: (text: string) => void }): JSX.Element {
  let input!: HTMLInputElement;
  places.search = () => {
    input.focus();
    input.select();
  };
  const pressed = (event: KeyboardEvent): void => {
    if (event.key === "Escape") {
      props.onInput("");
      places.compose?.();
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      document.querySelector<HTMLElement>(".side-list a")?.focus();
    }
  };
  return (
    <div class="side-search" role="search">
      <Icon name="search" />
      <input
        ref={input}
        type="search"
        placeholder={TOUCH ? t("chat.search") : `${t("chat.search")}  ${MOD}+K`}
        aria-label={t("chat.search")}
        value={props.value}
        onInput={(event) => props.onInput(event.currentTarget.value)}
        onKeyDown={pressed}
      />
    </div>
  );
}

const DAY_S = 86_400;

/** The heading a chat stands under: `#` and a key of the dictionary. */
function group(one: Chat, now: number): string {
  if (one.pinned) return "#chat.group.pinned";
  const midnight = new Date(now * 1000).setHours(0, 0, 0, 0) / 1000;
  if (one.updated_at >= midnight) return "#chat.group.today";
  if (one.updated_at >= midnight - DAY_S) return "#chat.group.yesterday";
  if (one.updated_at >= midnight - 7 * DAY_S) return "#chat.group.week";
  return "#chat.group.older";
}

function ChatList(): JSX.Element {
  const rows = createMemo(() => {
    const now = Date.now() / 1000;
    const all: string[] = [];
    let last = "";
    // The order changes with all that decides a heading: following each of thousands of chats is not needed.
    for (const id of chatIds()) {
      const one = untrack(() => chat(id));
      if (!one) continue;
      const heading = untrack(() => group(one, now));
      if (heading !== last) all.push(heading);
      last = heading;
      all.push(id);
    }
    return all;
  });
  let handle: ListHandle | undefined;
  const step = (event: KeyboardEvent): void => {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const links = [...document.querySelectorAll<HTMLElement>(".side-list a")];
    const at = links.indexOf(document.activeElement as HTMLElement);
    if (at < 0) return;
    event.preventDefault();
    links[at + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
  };
  return (
    <Show
      when={rows().length > 0}
      fallback={
        <div class="side-message">
          <Show when={loadError()} fallback={<Show when={loading()} fallback={t("chat.none")}>{<Spinner />}</Show>}>
            <ErrorNote error={loadError()} onRetry={() => void loadMore()} />
          </Show>
        </div>
      }
    >
      <nav class="side-list-inner" aria-label={t("chat.list")} onKeyDown={step}>
        <VirtualList
          ref={(given) => (handle = given)}
          data={rows()}
          itemSize={34}
          onNearEnd={() => hasMore() && void loadMore()}
        >
          {(row) => (row.startsWith("#") ? <div class="side-heading">{t(row.slice(1) as Parameters<typeof t>[0])}</div> : <ChatRow id={row} />)}
        </VirtualList>
      </nav>
      <Fill rows={rows().length} handle={() => handle} />
    </Show>
  );
}

/** Loads on while the list is shorter than its place. */
function Fill(props: { rows: number; handle: () => ListHandle | undefined }): JSX.Element {
  createEffect(
    on(
      () => props.rows,
      () => {
        const list = props.handle();
        if (list && list.scrollSize < 2 * list.viewportSize && hasMore() && !loadError()) void loadMore();
      },
    ),
  );
  return null;
}

function Results(props: { query: string; onDone: () => void }): JSX.Element {
  const navigate = useNavigate();
  const [found, setFound] = createSignal<readonly Chat[]>();
  const [failed, setFailed] = createSignal<unknown>();
  createEffect(() => {
    const query = props.query;
    const stop = new AbortController();
    const timer = window.setTimeout(() => {
      listChats({ search: query, limit: 50 }, stop.signal).then(
        (page) => {
          putChats(page.data);
          setFailed(undefined);
          setFound(page.data);
        },
        (error: unknown) => !stop.signal.aborted && setFailed(error),
      );
    }, SEARCH_PAUSE_MS);
    onCleanup(() => {
      window.clearTimeout(timer);
      stop.abort();
    });
  });
  const step = (event: KeyboardEvent & { currentTarget: HTMLElement }): void => {
    const links = [...event.currentTarget.querySelectorAll<HTMLElement>("a")];
    const at = links.indexOf(document.activeElement as HTMLElement);
    if (event.key === "ArrowDown") links[at + 1]?.focus();
    else if (event.key === "ArrowUp") at > 0 ? links[at - 1]?.focus() : places.search?.();
    else if (event.key === "Escape") props.onDone();
    else return;
    event.preventDefault();
  };
  return (
    <nav class="side-list-inner scrolls" aria-label={t("chat.results")} onKeyDown={step}>
      <Show when={failed()}>
        <ErrorNote error={failed()} />
      </Show>
      <Show when={found()} fallback={<div class="side-message">{failed() ? "" : <Spinner />}</div>}>
        {(list) => (
          <>
            <div class="side-heading" role="status">
              {list().length === 0 ? t("chat.foundNone") : t("chat.found", { n: list().length })}
            </div>
            <For each={list()}>
              {(one) => (
                <a
                  class="found"
                  href={`/chat/${one.id}`}
                  onClick={(event) => {
                    event.preventDefault();
                    navigate(`/chat/${one.id}`);
                    leaveSide();
                  }}
                >
                  <span class="cut">{one.title || t("chat.untitled")}</span>
                  <span class="found-snippet">
                    <Marked text={one.snippet ?? one.preview} words={props.query} />
                  </span>
                </a>
              )}
            </For>
          </>
        )}
      </Show>
    </nav>
  );
}

/** The text with the words that were looked for marked. */
function Marked(props: { text: string; words: string }): JSX.Element {
  const parts = createMemo(() => {
    const words = props.words.split(/\s+/).filter(Boolean).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    return words.length === 0 ? [props.text] : props.text.split(new RegExp(`(${words.join("|")})`, "gi"));
  });
  return <For each={parts()}>{(part, at) => (at() % 2 === 1 ? <mark>{part}</mark> : part)}</For>;
}

function Foot(): JSX.Element {
  const navigate = useNavigate();
  /** Who has signed in, where that is needed. */
  const who = (): string | undefined => (session()?.mode === "open" ? undefined : (session()?.user ?? undefined));
  const go = (path: string): void => {
    navigate(path);
    leaveSide();
  };
  const signOut = async (): Promise<void> => {
    await request("DELETE", "/v1/session").catch(() => undefined);
    window.location.assign("/sign-in");
  };
  return (
    <div class="side-foot">
      <Menu
        label={who() ? `${who()} · ${t("nav.settings")}` : t("nav.settings")}
        class="side-link grow"
        trigger={
          <>
            <Icon name="settings" />
            <span class="cut">{who() ?? t("nav.settings")}</span>
          </>
        }
      >
        <MenuChoice<Theme>
          label={t("theme.label")}
          value={theme()}
          options={[
            { value: "system", label: t("theme.system") },
            { value: "light", label: t("theme.light") },
            { value: "dark", label: t("theme.dark") },
          ]}
          onChange={chooseTheme}
        />
        <MenuLine />
        <MenuChoice<Language>
          label={t("language.label")}
          value={language()}
          options={(Object.keys(LANGUAGES) as Language[]).map((value) => ({ value, label: LANGUAGES[value] }))}
          onChange={chooseLanguage}
        />
        <MenuLine />
        <MenuItem icon="import" onSelect={() => go("/import")}>
          {t("nav.import")}
        </MenuItem>
        <MenuItem icon="key" onSelect={() => go("/keys")}>
          {t("nav.keys")}
        </MenuItem>
        <MenuItem icon="keyboard" onSelect={() => setHelpOpen(true)}>
          {t("help.title")}
        </MenuItem>
        <Show when={session()?.mode !== "open"}>
          <MenuLine />
          <MenuItem icon="signout" onSelect={() => void signOut()}>
            {t("nav.signOut")}
          </MenuItem>
        </Show>
      </Menu>
    </div>
  );
}
