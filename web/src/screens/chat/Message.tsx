/** One row of a chat: a question, an answer, a call of a tool; with what can be done with it. */

import { type JSX, Match, Show, Switch, createMemo, createSignal } from "solid-js";
import { textOf } from "../../api/chats";
import type { Item } from "../../api/types";
import { duration, t } from "../../i18n";
import type { Answer } from "../../live";
import { Button, IconButton } from "../../parts/Button";
import { Icon } from "../../parts/Icon";
import { Markdown, copyText } from "../../parts/Markdown";
import { toast } from "../../parts/Toast";
import type { Thread } from "./thread";

export interface Acts {
  edit: (item: string, text: string) => void;
  regenerate: (item: string) => void;
  fork: (item: string) => void;
  switchTo: (item: string) => void;
  /** The item whose text is being changed. */
  editing: () => string | undefined;
  setEditing: (item: string | undefined) => void;
}

export function Message(props: { row: string; thread: Thread; acts: Acts; last: boolean }): JSX.Element {
  const item = (): Item | undefined => props.thread.item(props.row);
  const answer = (): Answer | undefined => (item() ? undefined : props.thread.answer(props.row));
  const role = createMemo(() => {
    const found = item();
    if (!found) return props.thread.question(props.row) === undefined ? "assistant" : "user";
    return found.type === "message" ? found.role : "tool";
  });
  const text = createMemo(() => {
    const found = item();
    if (found) return textOf(found);
    const said = answer();
    return said ? `${said.skipped ? "… " : ""}${said.text}` : (props.thread.question(props.row) ?? "");
  });
  return (
    <article class={`message ${role()}`} aria-label={t(role() === "user" ? "chat.you" : role() === "assistant" ? "chat.model" : "chat.note")}>
      <Switch fallback={<Aside item={item()} text={text()} />}>
        <Match when={role() === "user"}>
          <Question {...props} item={item()} text={text()} />
        </Match>
        <Match when={role() === "assistant"}>
          <Spoken {...props} item={item()} answer={answer()} text={text()} />
        </Match>
      </Switch>
    </article>
  );
}

interface PartProps {
  row: string;
  thread: Thread;
  acts: Acts;
  last: boolean;
  item: Item | undefined;
  text: string;
}

function Question(props: PartProps): JSX.Element {
  const editing = (): boolean => props.item !== undefined && props.acts.editing() === props.item.id;
  return (
    <Show when={!editing()} fallback={<Edit {...props} />}>
      <div class="bubble">{props.text}</div>
      <Actions {...props}>
        <IconButton
          small
          icon="edit"
          label={t("chat.edit")}
          disabled={props.thread.busy() || !props.item || props.thread.above(props.item.id) === undefined}
          onClick={() => props.acts.setEditing(props.item?.id)}
        />
      </Actions>
    </Show>
  );
}

function Edit(props: PartProps): JSX.Element {
  const [text, setText] = createSignal(props.text);
  const close = (): void => props.acts.setEditing(undefined);
  const send = (): void => {
    if (!props.item || !text().trim() || props.thread.busy()) return;
    close();
    props.acts.edit(props.item.id, text().trim());
  };
  const grow = (area: HTMLTextAreaElement): void => {
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight + 2}px`;
  };
  return (
    <div class="edit">
      <textarea
        ref={(area) =>
          requestAnimationFrame(() => {
            grow(area);
            area.focus({ preventScroll: true });
            area.closest(".edit")?.scrollIntoView({ block: "nearest" });
            area.setSelectionRange(area.value.length, area.value.length);
          })
        }
        class="input"
        aria-label={t("chat.editing")}
        value={text()}
        onInput={(event) => {
          setText(event.currentTarget.value);
          grow(event.currentTarget);
        }}
        onKeyDown={(event) => {
          if (event.key === "Escape") close();
          else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send();
          else return;
          event.preventDefault();
        }}
      />
      <div class="row">
        <span class="soft small grow">{t("chat.editHint")}</span>
        <Button small onClick={close}>
          {t("common.cancel")}
        </Button>
        <Button small kind="primary" disabled={!text().trim()} onClick={send}>
          {t("chat.send")}
        </Button>
      </div>
    </div>
  );
}

function Spoken(props: PartProps & { answer: Answer | undefined }): JSX.Element {
  const writing = (): boolean => props.answer !== undefined && props.answer.end === null;
  const cut = (): boolean => props.item?.type === "message" && props.item.status === "incomplete";
  return (
    <>
      <Show when={props.text} fallback={<Show when={writing()} fallback={<p class="soft">{t("chat.saidNothing")}</p>}>{<Waiting answer={props.answer} />}</Show>}>
        <Markdown text={props.text} writing={writing()} />
      </Show>
      <Show when={cut()}>
        <p class="cut-note soft small">
          <Icon name="info" /> {t("chat.cutOff")}
        </p>
      </Show>
      <Show when={!writing()}>
        <Actions {...props}>
          <IconButton
            small
            icon="retry"
            label={t("chat.regenerate")}
            disabled={props.thread.busy() || !props.item || !props.thread.above(props.item.id)}
            onClick={() => props.item && props.acts.regenerate(props.item.id)}
          />
          <IconButton small icon="fork" label={t("chat.fork")} disabled={!props.item} onClick={() => props.item && props.acts.fork(props.item.id)} />
        </Actions>
      </Show>
    </>
  );
}

/** Its place in the queue, and about how long it is to the first word. */
function Waiting(props: { answer: Answer | undefined }): JSX.Element {
  const place = (): number => (props.answer?.state === "waiting" ? (props.answer.position ?? 0) : 0);
  return (
    <div class="queue-note">
      <span class="typing" aria-hidden="true">
        <i />
        <i />
        <i />
      </span>
      <Show when={place() > 0}>
        <span class="soft small numbers">
          {t("chat.queue", { position: place() })}
          <Show when={props.answer?.estimate_s}>{(seconds) => <> · {t("chat.estimate", { time: duration(seconds()) })}</>}</Show>
        </span>
      </Show>
    </div>
  );
}

function Actions(props: PartProps & { children: JSX.Element }): JSX.Element {
  return (
    <div class="actions" classList={{ always: props.last }}>
      <Branches {...props} />
      <IconButton small icon="copy" label={t("common.copy")} onClick={() => void copyText(props.text).then(() => toast({ text: t("common.copied") }))} />
      {props.children}
    </div>
  );
}

/** The arrows between what stands at this place in the branches of the chat. */
function Branches(props: PartProps): JSX.Element {
  const siblings = (): readonly string[] => props.item?.siblings ?? [];
  const at = (): number => siblings().indexOf(props.item?.id ?? "");
  const go = (by: number): void => {
    const next = siblings()[at() + by];
    if (next) props.acts.switchTo(next);
  };
  return (
    <Show when={siblings().length > 1}>
      <span class="branches" role="group" aria-label={t("chat.branches")}>
        <IconButton small icon="left" label={t("chat.branchBefore")} disabled={at() <= 0 || props.thread.busy()} onClick={() => go(-1)} />
        <span class="numbers small">
          {at() + 1}/{siblings().length}
        </span>
        <IconButton
          small
          icon="right"
          label={t("chat.branchAfter")}
          disabled={at() >= siblings().length - 1 || props.thread.busy()}
          onClick={() => go(1)}
        />
      </span>
    </Show>
  );
}

/** What is neither asked nor answered: instructions, calls of tools and what they gave. */
function Aside(props: { item: Item | undefined; text: string }): JSX.Element {
  const name = (): string => {
    if (props.item?.type === "function_call") return t("chat.toolCall", { name: props.item.name });
    if (props.item?.type === "function_call_output") return t("chat.toolResult");
    return t("chat.system");
  };
  return (
    <details class="aside">
      <summary>{name()}</summary>
      <pre>{props.text}</pre>
    </details>
  );
}
