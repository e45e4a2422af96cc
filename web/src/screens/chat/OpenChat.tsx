import { useNavigate } from "@solidjs/router";
import { type JSX, Show, createEffect, createSignal } from "solid-js";
import { forkChat, textOf } from "../../api/chats";
import { ApiError, words } from "../../api/http";
import { number, t } from "../../i18n";
import { Button } from "../../parts/Button";
import { Menu } from "../../parts/Menu";
import { copyText } from "../../parts/Markdown";
import { EmptyState, ErrorNote } from "../../parts/States";
import { toast } from "../../parts/Toast";
import { ChatMenuItems, Rename, titleOf } from "../../shell/ChatRow";
import { places } from "../../shell/Shortcuts";
import { SidebarButton } from "../../shell/Sidebar";
import { chat, deleteChat, putChats } from "../../state/chats";
import { windowOf } from "../../state/models";
import { Composer } from "./Composer";
import type { Acts } from "./Message";
import { Messages } from "./Messages";
import { ModelName, StyleButton } from "./StyleDrawer";
import { type Thread, createThread } from "./thread";

export function OpenChat(props: { id: string }): JSX.Element {
  const thread = createThread(props.id);
  const navigate = useNavigate();
  const [refused, setRefused] = createSignal<{ error: unknown; again: () => void }>();
  const [editing, setEditing] = createSignal<string>();
  createEffect(() => {
    document.title = `${titleOf(props.id)} · Hubbub`;
  });

  const dared = async (act: () => Promise<unknown>): Promise<boolean> => {
    setRefused(undefined);
    try {
      await act();
      return true;
    } catch (error) {
      setRefused({ error, again: () => void dared(act) });
      return false;
    }
  };
  const acts: Acts = {
    editing,
    setEditing: (item) => {
      setEditing(item);
      if (item === undefined) places.compose?.();
    },
    edit: (item, text) => void dared(() => thread.ask(text, thread.above(item) ?? "")),
    regenerate: (item) => {
      const question = thread.above(item);
      if (question) void dared(() => thread.again(question));
    },
    fork: (item) =>
      void dared(async () => {
        const twin = await forkChat(props.id, item);
        putChats([twin]);
        navigate(`/chat/${twin.id}`);
        toast({ text: t("chat.forked") });
      }),
    switchTo: (item) => void dared(() => thread.switchTo(item)),
  };
  const lastOf = (role: string): string | undefined =>
    [...thread.rows()].reverse().find((row) => {
      const item = thread.item(row);
      return item?.type === "message" && item.role === role;
    });
  const editLast = (): void => {
    const row = lastOf("user");
    const item = row === undefined ? undefined : thread.item(row);
    if (item && !thread.busy()) setEditing(item.id);
  };
  const retry = (): void => {
    const row = lastOf("user");
    const item = row === undefined ? undefined : thread.item(row);
    if (item) void dared(() => thread.again(item.id));
  };
  places.copyLast = () => {
    const row = lastOf("assistant");
    const item = row === undefined ? undefined : thread.item(row);
    if (item) void copyText(textOf(item)).then(() => toast({ text: t("common.copied") }));
  };

  const missing = (): boolean => {
    const error = thread.failed();
    return error instanceof ApiError && error.status === 404;
  };
  return (
    <div class="screen chat">
      <Head id={props.id} />
      <Show
        when={!missing()}
        fallback={
          <EmptyState icon="chat" title={t("chat.missing")} text={t("chat.missingText")}>
            <Button kind="primary" onClick={() => navigate("/")}>
              {t("chat.new")}
            </Button>
          </EmptyState>
        }
      >
        <Show when={thread.loaded()} fallback={<Loading thread={thread} />}>
          <Messages thread={thread} acts={acts} />
        </Show>
        <p class="visually-hidden" role="status">
          {thread.busy() ? t("chat.thinking") : thread.loaded() ? t("chat.ready") : ""}
        </p>
        <div class="chat-foot">
          <Show when={!refused() && thread.trouble()}>
            {(trouble) => (
              <div class="read">
                <ErrorNote error={new Error(trouble().message || t("chat.failed"))} onRetry={retry} />
              </div>
            )}
          </Show>
          <Show when={refused()}>
            {(one) => (
              <div class="read">
                <ErrorNote error={new Error(words(one().error))} onRetry={one().again} />
              </div>
            )}
          </Show>
          <div class="read">
            <Composer
              chat={props.id}
              busy={thread.busy()}
              onSend={async (text) => {
                setRefused(undefined);
                try {
                  await thread.ask(text);
                  return true;
                } catch (error) {
                  setRefused({ error, again: () => void dared(() => thread.ask(text)) });
                  return false;
                }
              }}
              onStop={() => void dared(thread.stop)}
              onEditLast={editLast}
            >
              <ModelName chat={props.id} />
              <ContextMeter id={props.id} />
            </Composer>
          </div>
        </div>
      </Show>
    </div>
  );
}

function Head(props: { id: string }): JSX.Element {
  const navigate = useNavigate();
  const [renaming, setRenaming] = createSignal(false);
  const remove = (): void => {
    navigate("/");
    deleteChat(props.id);
  };
  return (
    <header class="screen-head">
      <SidebarButton />
      <Show when={!renaming()} fallback={<Rename id={props.id} onDone={() => setRenaming(false)} />}>
        <h1 class="chat-title cut" title={t("chat.renameHint")} onDblClick={() => setRenaming(true)}>
          {titleOf(props.id)}
        </h1>
      </Show>
      <span class="grow" />
      <StyleButton chat={props.id} />
      <Menu label={t("chat.menu")}>
        <ChatMenuItems id={props.id} onRename={() => setRenaming(true)} onDelete={remove} />
      </Menu>
    </header>
  );
}

function Loading(props: { thread: Thread }): JSX.Element {
  return (
    <div class="messages read">
      <Show
        when={!props.thread.failed()}
        fallback={
          <div class="loading-failed">
            <ErrorNote error={props.thread.failed()} onRetry={props.thread.reload} />
          </div>
        }
      >
        <div class="loading" role="status" aria-label={t("common.loading")}>
          <div class="skeleton right" />
          <div class="skeleton" />
          <div class="skeleton" />
          <div class="skeleton short" />
        </div>
      </Show>
    </div>
  );
}

/** How much of the model's window the chat takes. */
function ContextMeter(props: { id: string }): JSX.Element {
  const used = (): number => chat(props.id)?.context_tokens ?? 0;
  const size = (): number => windowOf(chat(props.id)?.style.model) ?? 0;
  const share = (): number => Math.min(used() / size(), 1);
  const says = (): string => t("chat.context", { used: number(used()), size: number(size()) });
  const compact = (value: number): string => number(value, { notation: "compact", maximumFractionDigits: 1 });
  return (
    <Show when={used() > 0 && size() > 0}>
      <span class="meter numbers" classList={{ full: share() > 0.85 }} title={says()}>
        <svg viewBox="0 0 20 20" role="meter" aria-label={says()} aria-valuemin={0} aria-valuemax={size()} aria-valuenow={used()}>
          <circle cx="10" cy="10" r="8" />
          <circle class="used" cx="10" cy="10" r="8" pathLength={100} stroke-dasharray={`${Math.max(share() * 100, 1.5)} 100`} />
        </svg>
        <span aria-hidden="true">
          {compact(used())} / {compact(size())}
        </span>
      </span>
    </Show>
  );
}
