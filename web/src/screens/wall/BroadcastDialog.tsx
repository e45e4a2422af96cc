/** One prompt to many chats; with names in braces and a table, a prompt of its own to each. */

import { For, type JSX, Show, createMemo, createSignal } from "solid-js";
import * as api from "../../api/chats";
import type { BroadcastOut } from "../../api/types";
import { t } from "../../i18n";
import { expectAnswer } from "../../live";
import { Button } from "../../parts/Button";
import { Dialog } from "../../parts/Dialog";
import { Field, Segments } from "../../parts/Field";
import { Icon } from "../../parts/Icon";
import { ErrorNote } from "../../parts/States";
import { toast } from "../../parts/Toast";
import { filled, namesIn, tableOf, valuesOf } from "./table";

const MOST = 1000;
const PREVIEWS = 3;

export function BroadcastDialog(props: { shown: readonly string[]; onClose: () => void }): JSX.Element {
  const [to, setTo] = createSignal<"new" | "shown">("new");
  const [count, setCount] = createSignal(20);
  const [template, setTemplate] = createSignal("");
  const [pasted, setPasted] = createSignal("");
  const [system, setSystem] = createSignal("");
  const [longest, setLongest] = createSignal<number>();
  const [failed, setFailed] = createSignal<unknown>();
  const [refused, setRefused] = createSignal<BroadcastOut["refused"]>([]);
  const [sending, setSending] = createSignal(false);

  // Those that are shown now: the filter may let others in while the prompt is being written.
  const targets = [...props.shown];
  const names = createMemo(() => namesIn(template()));
  const table = createMemo(() => tableOf(pasted(), names()));
  const values = createMemo(() => (names().length > 0 ? valuesOf(table()) : []));
  const many = (): number => {
    if (to() === "shown") return names().length > 0 ? Math.min(targets.length, values().length) : targets.length;
    return names().length > 0 ? values().length : count();
  };
  const problem = createMemo(() => {
    if (names().length === 0) return null;
    const short = table().rows.findIndex((row) => names().some((name) => !row[table().names.indexOf(name)]));
    if (values().length === 0) return t("wall.tableEmpty");
    if (short >= 0) return t("wall.tableShort", { row: short + 1 });
    return many() > MOST ? t("wall.tooMany", { most: MOST }) : null;
  });
  const ready = (): boolean => template().trim() !== "" && many() > 0 && many() <= MOST && problem() === null;
  const previews = createMemo(() => values().slice(0, PREVIEWS).map((row) => filled(template(), row)));

  const send = async (): Promise<void> => {
    if (!ready() || sending()) return;
    setSending(true);
    setFailed(undefined);
    try {
      const most = longest();
      const said = await api.broadcast({
        template: template(),
        ...(to() === "new" ? { new: many() } : { chats: targets.slice(0, many()) }),
        ...(names().length > 0 ? { values: values().slice(0, many()) } : {}),
        ...(to() === "new" && system().trim() ? { style: { system_prompt: system().trim() } } : {}),
        ...(most === undefined ? {} : { max_output_tokens: most }),
      });
      for (const one of said.accepted) expectAnswer(one.chat, one.response);
      if (said.accepted.length > 0) toast({ text: t("wall.asked", { n: said.accepted.length }) });
      setRefused(said.refused);
      if (said.refused.length === 0) props.onClose();
    } catch (error) {
      setFailed(error);
    } finally {
      setSending(false);
    }
  };

  return (
    <Dialog
      open
      wide
      onClose={props.onClose}
      title={t("wall.askTitle")}
      description={t("wall.askText")}
      foot={
        <>
          <Button onClick={props.onClose}>{t("common.cancel")}</Button>
          <Button kind="primary" icon="broadcast" busy={sending()} disabled={!ready()} onClick={() => void send()}>
            {t("wall.askN", { n: many() })}
          </Button>
        </>
      }
    >
      <div class="stack broadcast">
        <Show when={failed()}>
          <ErrorNote error={failed()} />
        </Show>
        <Refused list={refused()} />
        <Field label={t("wall.prompt")} hint={t("wall.promptHint", { example: "{{name}}" })}>
          {(tie) => (
            <textarea
              {...tie}
              class="input"
              rows={4}
              autofocus
              value={template()}
              placeholder={t("wall.promptExample")}
              onInput={(event) => setTemplate(event.currentTarget.value)}
              onKeyDown={(event) => {
                if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void send();
              }}
            />
          )}
        </Field>
        <Show when={names().length > 0}>
          <Field label={t("wall.table")} hint={t("wall.tableHint", { names: names().join(", ") })} problem={pasted() ? problem() : null}>
            {(tie) => (
              <textarea
                {...tie}
                class="input code"
                rows={6}
                spellcheck={false}
                value={pasted()}
                placeholder={`${names().join("\t")}\n…`}
                onInput={(event) => setPasted(event.currentTarget.value)}
              />
            )}
          </Field>
          <Show when={previews().length > 0 && problem() === null}>
            <section class="previews" aria-label={t("wall.preview")}>
              <h3>{t("wall.preview")}</h3>
              <ol>
                <For each={previews()}>{(text) => <li>{text}</li>}</For>
              </ol>
              <Show when={values().length > PREVIEWS}>
                <p class="soft small">{t("wall.previewMore", { n: values().length - PREVIEWS })}</p>
              </Show>
            </section>
          </Show>
        </Show>
        <div class="row wrap broadcast-to">
          <Segments<"new" | "shown">
            label={t("wall.to")}
            value={to()}
            options={[
              { value: "new", label: t("wall.toNew") },
              { value: "shown", label: t("wall.toShown"), count: targets.length },
            ]}
            onChange={setTo}
          />
          <Show when={to() === "new" && names().length === 0}>
            <label class="row">
              <span class="small">{t("wall.howMany")}</span>
              <input
                class="input number"
                type="number"
                min={1}
                max={MOST}
                value={count()}
                onInput={(event) => setCount(Math.floor(event.currentTarget.valueAsNumber) || 0)}
              />
            </label>
          </Show>
          <label class="row">
            <span class="small">{t("style.maxTokens")}</span>
            <input
              class="input number"
              type="number"
              min={1}
              placeholder={t("common.default")}
              value={longest() ?? ""}
              onInput={(event) => {
                const value = event.currentTarget.valueAsNumber;
                setLongest(Number.isInteger(value) && value > 0 ? value : undefined);
              }}
            />
          </label>
        </div>
        <Show when={to() === "new"}>
          <Field label={t("wall.system")}>
            {(tie) => (
              <textarea {...tie} class="input" rows={2} value={system()} onInput={(event) => setSystem(event.currentTarget.value)} />
            )}
          </Field>
        </Show>
      </div>
    </Dialog>
  );
}

function Refused(props: { list: BroadcastOut["refused"] }): JSX.Element {
  return (
    <Show when={props.list.length > 0}>
      <div class="note warn" role="alert">
        <Icon name="warning" />
        <div class="note-text">
          {t("wall.refused", { n: props.list.length })} {props.list[0]?.error.message}
        </div>
      </div>
    </Show>
  );
}
