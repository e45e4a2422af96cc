/** What is around every screen: the sidebar, notices, toasts, keys. Sign-in stands alone. */

import { useLocation, useNavigate, type RouteSectionProps } from "@solidjs/router";
import { ErrorBoundary, type JSX, Match, Show, Suspense, Switch, createEffect, createSignal, on, onCleanup, onMount } from "solid-js";
import { signedOut } from "../api/http";
import { inside, loadSession, session } from "../api/session";
import { t } from "../i18n";
import { online, startLive, stopLive } from "../live";
import { ErrorNote, Spinner } from "../parts/States";
import { Toasts, settleToasts } from "../parts/Toast";
import { followChats, loadMore } from "../state/chats";
import { loadModels } from "../state/models";
import { Shortcuts, useShortcuts } from "./Shortcuts";
import { Sidebar } from "./Sidebar";
import { isNarrow, setSideOpen, sideOpen } from "./layout";

export function Shell(props: RouteSectionProps): JSX.Element {
  const [failed, setFailed] = createSignal<unknown>();
  const navigate = useNavigate();
  const location = useLocation();
  const ask = (): void => {
    setFailed(undefined);
    loadSession().catch(setFailed);
  };
  if (!session()) onMount(ask);
  createEffect(() => {
    const who = session();
    if (!who) return;
    const away = signedOut() || !inside(who);
    if (away && location.pathname !== "/sign-in") navigate("/sign-in", { replace: true });
  });
  return (
    <Switch
      fallback={
        <div class="empty">
          <Spinner />
        </div>
      }
    >
      <Match when={failed()}>
        <div class="empty">
          <ErrorNote error={failed()} onRetry={ask} />
        </div>
      </Match>
      <Match when={session() && location.pathname === "/sign-in"}>
        <Suspense>{props.children}</Suspense>
        <Toasts />
      </Match>
      <Match when={session() && !signedOut() && inside(session()!)}>
        <Inside>{props.children}</Inside>
      </Match>
    </Switch>
  );
}

function Inside(props: { children: JSX.Element }): JSX.Element {
  const stopFollowing = followChats();
  const location = useLocation();
  startLive();
  void loadMore();
  void loadModels();
  useShortcuts();
  window.addEventListener("pagehide", settleToasts);
  onCleanup(() => {
    settleToasts();
    stopLive();
    stopFollowing();
    window.removeEventListener("pagehide", settleToasts);
  });
  return (
    <div class="shell">
      <a class="button primary skip" href="#content" rel="external" onClick={toContent}>
        {t("nav.skip")}
      </a>
      <Show when={sideOpen()}>
        <Show when={isNarrow()}>
          <button type="button" class="side-veil" aria-label={t("nav.close")} onClick={() => setSideOpen(false)} />
        </Show>
        <Sidebar />
      </Show>
      <main class="shell-main" id="content" tabindex="-1">
        <Show when={online() === false}>
          <div class="shell-notice" role="status">
            {t("live.offline")}
          </div>
        </Show>
        <ErrorBoundary
          fallback={(error: unknown, reset) => {
            createEffect(on(() => location.pathname, reset, { defer: true }));
            return (
              <div class="empty">
                <h2>{t("error.screen")}</h2>
                <ErrorNote error={error} onRetry={reset} />
              </div>
            );
          }}
        >
          <Suspense
            fallback={
              <div class="empty">
                <Spinner />
              </div>
            }
          >
            {props.children}
          </Suspense>
        </ErrorBoundary>
      </main>
      <Shortcuts />
      <Toasts />
    </div>
  );
}

function toContent(event: MouseEvent): void {
  event.preventDefault();
  document.getElementById("content")?.focus();
}
