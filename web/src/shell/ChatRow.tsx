/** One chat in the sidebar: opens it; its menu pins, renames, exports, deletes. */

import { useLocation, useNavigate } from "@solidjs/router";
import { type JSX, Show, createSignal } from "solid-js";
import { exportUrl } from "../api/chats";
import { t } from "../i18n";
import { answerOf } from "../live";
import { Icon } from "../parts/Icon";
import { Menu, MenuItem, MenuLine } from "../parts/Menu";
import { chat, deleteChat, editChat } from "../state/chats";
import { leaveSide } from "./layout";

export const titleOf = (id: string): string => chat(id)?.title || chat(id)?.preview || t("chat.untitled");

/** idle, waiting, running or failed: what its dot shows. */
export function stateOf(id: string): "idle" | "waiting" | "running" | "failed" {
  const answer = answerOf(id);
  if (answer && answer.end === null) return answer.state;
  if (answer?.end?.status === "failed") return "failed";
  const known = chat(id);
  if (known?.state && known.state !== "idle") return known.state;
  return known?.last_response?.status === "failed" ? "failed" : "idle";
}

export function ChatRow(props: { id: string }): JSX.Element {
  const location = useLocation();
  const navigate = useNavigate();
  const [renaming, setRenaming] = createSignal(false);
  const path = (): string => `/chat/${props.id}`;
  const current = (): boolean => location.pathname === path();
  const remove = (): void => {
    if (current()) navigate("/");
    deleteChat(props.id);
  };
  const pressed = (event: KeyboardEvent): void => {
    if (event.key === "F2") setRenaming(true);
    else if (event.key === "Delete") remove();
    else return;
    event.preventDefault();
  };
  return (
    <div class="chat-row" data-current={current() ? "" : undefined}>
      <Show when={!renaming()} fallback={<Rename id={props.id} onDone={() => setRenaming(false)} />}>
        <a
          href={path()}
          aria-current={current() ? "page" : undefined}
          title={titleOf(props.id)}
          onClick={leaveSide}
          onKeyDown={pressed}
        >
          <span class="cut grow">{titleOf(props.id)}</span>
          <Show when={stateOf(props.id) !== "idle"}>
            <span class={`dot ${stateOf(props.id)}`} role="img" aria-label={t(`state.${stateOf(props.id)}`)} />
          </Show>
          <Show when={chat(props.id)?.pinned}>
            <Icon name="pin" class="pinned" />
          </Show>
        </a>
        <Menu small label={t("chat.menuOf", { title: titleOf(props.id) })}>
          <ChatMenuItems id={props.id} onRename={() => setRenaming(true)} onDelete={remove} />
        </Menu>
      </Show>
    </div>
  );
}

/** What can be done with a chat: in the sidebar, and in its own head. */
export function ChatMenuItems(props: { id: string; onRename: () => void; onDelete: () => void }): JSX.Element {
  return (
    <>
      <MenuItem icon="pin" onSelect={() => void editChat(props.id, { pinned: !chat(props.id)?.pinned })}>
        {chat(props.id)?.pinned ? t("chat.unpin") : t("chat.pin")}
      </MenuItem>
      <MenuItem icon="edit" onSelect={() => window.setTimeout(props.onRename)}>
        {t("chat.rename")}
      </MenuItem>
      <MenuLine />
      <MenuItem icon="export" onSelect={() => download(exportUrl(props.id, "markdown"))}>
        {t("chat.exportMarkdown")}
      </MenuItem>
      <MenuItem icon="export" onSelect={() => download(exportUrl(props.id, "json"))}>
        {t("chat.exportJson")}
      </MenuItem>
      <MenuItem icon="export" onSelect={() => download(exportUrl(props.id, "nexus"))}>
        {t("chat.exportNexus")}
      </MenuItem>
      <MenuLine />
      <MenuItem icon="trash" danger onSelect={() => props.onDelete()}>
        {t("chat.delete")}
      </MenuItem>
    </>
  );
}

function download(address: string): void {
  const link = document.createElement("a");
  link.href = address;
  link.download = "";
  link.click();
}

export function Rename(props: { id: string; onDone: () => void }): JSX.Element {
  let done = false;
  const end = (text: string | null): void => {
    if (done) return;
    done = true;
    const title = text?.trim();
    if (title && title !== chat(props.id)?.title) void editChat(props.id, { title });
    props.onDone();
  };
  return (
    <input
      ref={(input) => requestAnimationFrame(() => input.select())}
      class="rename"
      aria-label={t("chat.title")}
      maxlength={200}
      value={chat(props.id)?.title ?? ""}
      onBlur={(event) => end(event.currentTarget.value)}
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.key === "Enter") end(event.currentTarget.value);
        else if (event.key === "Escape") end(null);
      }}
    />
  );
}
