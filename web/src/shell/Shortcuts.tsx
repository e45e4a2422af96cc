/** The keys of the whole page, and the list of them. */

import { useLocation, useNavigate } from "@solidjs/router";
import { For, type JSX, onCleanup, onMount } from "solid-js";
import { t } from "../i18n";
import { Dialog } from "../parts/Dialog";
import { chatIds } from "../state/chats";
import { helpOpen, setHelpOpen, setSideOpen, sideOpen } from "./layout";

const MAC = /Mac|iPhone|iPad/.test(navigator.platform);
export const MOD = MAC ? "⌘" : "Ctrl";

/** What has the focus when a chat is open, and what search has; set by those who draw them. */
export const places: { search?: () => void; compose?: () => void; copyLast?: () => void } = {};

export function useShortcuts(): void {
  const navigate = useNavigate();
  const location = useLocation();
  const step = (by: number): void => {
    const ids = chatIds();
    const at = ids.indexOf(location.pathname.replace("/chat/", ""));
    const next = ids[at < 0 ? 0 : Math.min(Math.max(at + by, 0), ids.length - 1)];
    if (next) navigate(`/chat/${next}`);
  };
  const search = (): void => {
    setSideOpen(true);
    requestAnimationFrame(() => places.search?.());
  };
  const byKey: Record<string, () => void> = {
    "mod+k": search,
    "mod+shift+o": () => navigate("/"),
    "mod+b": () => setSideOpen(!sideOpen()),
    "mod+shift+c": () => places.copyLast?.(),
    "mod+/": () => setHelpOpen(!helpOpen()),
    "alt+arrowup": () => step(-1),
    "alt+arrowdown": () => step(1),
    "alt+w": () => navigate("/wall"),
    "shift+escape": () => places.compose?.(),
  };
  const pressed = (event: KeyboardEvent): void => {
    const act = byKey[nameOf(event)] ?? (event.key === "?" && !typing(event) ? () => setHelpOpen(true) : undefined);
    if (!act || event.defaultPrevented) return;
    event.preventDefault();
    act();
  };
  onMount(() => document.addEventListener("keydown", pressed));
  onCleanup(() => document.removeEventListener("keydown", pressed));
}

/** Letters by their place on the keyboard: they are the same keys under a Russian layout. */
function nameOf(event: KeyboardEvent): string {
  const letter = /^Key([A-Z])$/.exec(event.code)?.[1];
  const key = event.code === "Slash" ? "/" : (letter ?? event.key);
  const mod = MAC ? event.metaKey : event.ctrlKey;
  return [mod && "mod", event.altKey && "alt", event.shiftKey && "shift", key.toLowerCase()].filter(Boolean).join("+");
}

function typing(event: KeyboardEvent): boolean {
  const target = event.target;
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

export function Shortcuts(): JSX.Element {
  const rows = (): [string, string[]][] => [
    [t("help.newChat"), [MOD, "Shift", "O"]],
    [t("help.search"), [MOD, "K"]],
    [t("help.sidebar"), [MOD, "B"]],
    [t("help.previous"), ["Alt", "↑"]],
    [t("help.next"), ["Alt", "↓"]],
    [t("help.compose"), ["Shift", "Esc"]],
    [t("help.send"), ["Enter"]],
    [t("help.newline"), ["Shift", "Enter"]],
    [t("help.editLast"), ["↑"]],
    [t("help.stop"), ["Esc"]],
    [t("help.copyLast"), [MOD, "Shift", "C"]],
    [t("help.wall"), ["Alt", "W"]],
    [t("help.help"), [MOD, "/"]],
  ];
  return (
    <Dialog open={helpOpen()} onClose={() => setHelpOpen(false)} title={t("help.title")}>
      <dl class="shortcuts">
        <For each={rows()}>
          {([label, keys]) => (
            <>
              <dt>{label}</dt>
              <dd>
                <For each={keys}>{(key) => <kbd>{key}</kbd>}</For>
              </dd>
            </>
          )}
        </For>
      </dl>
    </Dialog>
  );
}
