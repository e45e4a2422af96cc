/** The chat: the one that is open, or the one that is about to be. */

import { useNavigate, useParams } from "@solidjs/router";
import { type JSX, Show, createSignal } from "solid-js";
import { createChat } from "../../api/chats";
import * as api from "../../api/chats";
import { t } from "../../i18n";
import { expectAnswer } from "../../live";
import { Button } from "../../parts/Button";
import { ErrorNote } from "../../parts/States";
import { putChats } from "../../state/chats";
import { SidebarButton } from "../../shell/Sidebar";
import { Composer } from "./Composer";
import { OpenChat } from "./OpenChat";
import { ModelName, StyleButton, newStyle, setNewStyle } from "./StyleDrawer";
import { NEW, draft, keepDraft } from "../../state/drafts";
import "./chat.css";

export function ChatScreen(): JSX.Element {
  const params = useParams<{ id?: string }>();
  return (
    <Show when={params.id} keyed fallback={<NewChat />}>
      {(id) => <OpenChat id={id} />}
    </Show>
  );
}

function NewChat(): JSX.Element {
  const navigate = useNavigate();
  const [sending, setSending] = createSignal(false);
  const [failed, setFailed] = createSignal<unknown>();
  // A chat whose first question was refused is used for the next try.
  let made: string | undefined;
  document.title = "Hubbub";
  const send = async (text: string): Promise<boolean> => {
    setSending(true);
    setFailed(undefined);
    try {
      if (!made) {
        const chat = await createChat({ style: newStyle() });
        putChats([chat]);
        made = chat.id;
      }
      const response = await api.ask({ conversation: made, input: text });
      expectAnswer(made, response.id);
      keepDraft(NEW, "");
      setNewStyle({});
      navigate(`/chat/${made}`);
      return true;
    } catch (error) {
      setFailed(error);
      return false;
    } finally {
      setSending(false);
    }
  };
  const tries = (): string[] => [t("chat.try.explain"), t("chat.try.write"), t("chat.try.code"), t("chat.try.plan")];
  const [start, setStart] = createSignal(0);
  return (
    <div class="screen chat">
      <header class="screen-head">
        <SidebarButton />
        <span class="grow" />
        <StyleButton chat={undefined} />
      </header>
      <div class="new-chat">
        <div class="new-chat-inner">
          <h1>{t("chat.welcome")}</h1>
          <Show when={failed()}>
            <ErrorNote error={failed()} onRetry={() => void send(draft(NEW))} />
          </Show>
          <Show when={start() + 1} keyed>
            <Composer chat={NEW} busy={false} sending={sending()} onSend={send}>
              <ModelName />
            </Composer>
          </Show>
          <div class="tries">
            {tries().map((text) => (
              <Button
                kind="plain"
                class="try"
                onClick={() => {
                  keepDraft(NEW, text);
                  setStart((n) => n + 1);
                }}
              >
                {text}
              </Button>
            ))}
          </div>
        </div>
      </div>
    </div>
  );
}
