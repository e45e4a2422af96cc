/** How a chat is answered: its system prompt, model, adapter and sampling; and the styles saved for others. */

import { For, type JSX, Show, createMemo, createResource, createSignal } from "solid-js";
import * as api from "../../api/chats";
import type { Style } from "../../api/types";
import { number, t } from "../../i18n";
import { Button, IconButton } from "../../parts/Button";
import { Dialog } from "../../parts/Dialog";
import { Field, Slider } from "../../parts/Field";
import { ErrorNote } from "../../parts/States";
import { chat, putChats } from "../../state/chats";
import { adapters, baseModels, loadModels } from "../../state/models";

/** The style of the chat that does not exist yet. */
const [newStyle, setNewStyle] = createSignal<Partial<Style>>({});
export { newStyle, setNewStyle };

const EMPTY: Style = { system_prompt: null, model: null, temperature: null, top_p: null, max_tokens: null, adapter: null };
const styleOf = (id: string | undefined): Style => ({ ...EMPTY, ...(id === undefined ? newStyle() : chat(id)?.style) });
const changed = (style: Style): boolean => Object.values(style).some((value) => value !== null && value !== "");

/** The model that answers, where there are several to choose from or an adapter is on. */
export function ModelName(props: { chat?: string }): JSX.Element {
  const name = createMemo(() => {
    const style = styleOf(props.chat);
    return [style.model ?? baseModels()[0]?.id ?? "", style.adapter ?? ""].filter(Boolean).join(" + ");
  });
  return (
    <Show when={name()}>
      <span class="model-name cut" title={t("style.model")}>
        {name()}
      </span>
    </Show>
  );
}

export function StyleButton(props: { chat: string | undefined }): JSX.Element {
  const [open, setOpen] = createSignal(false);
  return (
    <>
      <IconButton
        icon="style"
        label={t("style.open")}
        class={changed(styleOf(props.chat)) ? "marked" : ""}
        onClick={() => setOpen(true)}
      />
      <Show when={open()}>
        <StyleDrawer chat={props.chat} onClose={() => setOpen(false)} />
      </Show>
    </>
  );
}

function StyleDrawer(props: { chat: string | undefined; onClose: () => void }): JSX.Element {
  const [style, setStyle] = createSignal<Style>(styleOf(props.chat));
  const [failed, setFailed] = createSignal<unknown>();
  const [saving, setSaving] = createSignal(false);
  void loadModels();
  const set = (change: Partial<Style>): void => void setStyle((before) => ({ ...before, ...change }));
  const save = async (): Promise<void> => {
    setSaving(true);
    setFailed(undefined);
    try {
      if (props.chat === undefined) setNewStyle(Object.fromEntries(Object.entries(style()).filter(([, value]) => value !== null)));
      else putChats([await api.editChat(props.chat, { style: style() })]);
      props.onClose();
    } catch (error) {
      setFailed(error);
    } finally {
      setSaving(false);
    }
  };
  return (
    <Dialog
      open
      side
      onClose={props.onClose}
      title={t("style.title")}
      description={t("style.description")}
      foot={
        <>
          <Button kind="quiet" onClick={() => setStyle(EMPTY)} disabled={!changed(style())}>
            {t("style.reset")}
          </Button>
          <span class="grow" />
          <Button onClick={props.onClose}>{t("common.cancel")}</Button>
          <Button kind="primary" busy={saving()} onClick={() => void save()}>
            {t("common.save")}
          </Button>
        </>
      }
    >
      <div class="stack style-form">
        <Show when={failed()}>
          <ErrorNote error={failed()} />
        </Show>
        <Saved style={style()} onChoose={(saved) => setStyle({ ...EMPTY, ...saved })} />
        <Field label={t("style.system")} hint={t("style.systemHint")}>
          {(tie) => (
            <textarea
              {...tie}
              class="input"
              rows={6}
              value={style().system_prompt ?? ""}
              placeholder={t("style.systemExample")}
              onInput={(event) => set({ system_prompt: event.currentTarget.value || null })}
            />
          )}
        </Field>
        <Choice
          label={t("style.model")}
          value={style().model}
          options={baseModels().map((model) => model.id)}
          none={t("style.modelDefault")}
          onChange={(model) => set({ model })}
        />
        <Show when={adapters().length > 0 || style().adapter}>
          <Choice
            label={t("style.adapter")}
            value={style().adapter}
            options={adapters().map((model) => model.id)}
            none={t("style.adapterNone")}
            onChange={(adapter) => set({ adapter })}
          />
        </Show>
        <h3>{t("style.sampling")}</h3>
        <Sampled
          label={t("style.temperature")}
          hint={t("style.temperatureHint")}
          value={style().temperature}
          otherwise={0.7}
          min={0}
          max={2}
          step={0.05}
          onChange={(temperature) => set({ temperature })}
        />
        <Sampled
          label={t("style.topP")}
          hint={t("style.topPHint")}
          value={style().top_p}
          otherwise={1}
          min={0.05}
          max={1}
          step={0.05}
          onChange={(top_p) => set({ top_p })}
        />
        <Field label={t("style.maxTokens")} hint={t("style.maxTokensHint")}>
          {(tie) => (
            <input
              {...tie}
              class="input"
              type="number"
              min={1}
              step={1}
              inputmode="numeric"
              placeholder={t("common.default")}
              value={style().max_tokens ?? ""}
              onInput={(event) => {
                const value = event.currentTarget.valueAsNumber;
                set({ max_tokens: Number.isInteger(value) && value > 0 ? value : null });
              }}
            />
          )}
        </Field>
      </div>
    </Dialog>
  );
}

function Choice(props: {
  label: string;
  value: string | null;
  options: readonly string[];
  none: string;
  onChange: (value: string | null) => void;
}): JSX.Element {
  const options = (): string[] => [...new Set([...props.options, ...(props.value ? [props.value] : [])])];
  return (
    <Field label={props.label}>
      {(tie) => (
        <select {...tie} class="input" onChange={(event) => props.onChange(event.currentTarget.value || null)}>
          <option value="" selected={!props.value}>
            {props.none}
          </option>
          <For each={options()}>
            {(name) => (
              <option value={name} selected={props.value === name}>
                {name}
              </option>
            )}
          </For>
        </select>
      )}
    </Field>
  );
}

/** A slider that can be left to the server. */
function Sampled(props: {
  label: string;
  hint: string;
  value: number | null;
  otherwise: number;
  min: number;
  max: number;
  step: number;
  onChange: (value: number | null) => void;
}): JSX.Element {
  return (
    <div class="sampled">
      <Slider
        label={props.label}
        hint={props.hint}
        value={props.value ?? props.otherwise}
        shown={props.value === null ? t("common.default") : number(props.value)}
        min={props.min}
        max={props.max}
        step={props.step}
        onInput={(value) => props.onChange(Math.round(value * 100) / 100)}
      />
      <IconButton
        small
        icon="retry"
        label={t("style.toDefault", { name: props.label })}
        disabled={props.value === null}
        onClick={() => props.onChange(null)}
      />
    </div>
  );
}

/** Styles kept under a name: taken, kept, thrown away. */
function Saved(props: { style: Style; onChoose: (style: Partial<Style>) => void }): JSX.Element {
  const [styles, { refetch }] = createResource(async () => api.listStyles().catch(() => [] as api.SavedStyle[]));
  const [name, setName] = createSignal("");
  const [failed, setFailed] = createSignal<unknown>();
  const act = async (work: () => Promise<unknown>): Promise<void> => {
    setFailed(undefined);
    try {
      await work();
      await refetch();
    } catch (error) {
      setFailed(error);
    }
  };
  const keep = (): void =>
    void act(async () => {
      await api.saveStyle(name().trim(), props.style);
      setName("");
    });
  return (
    <section class="saved" aria-label={t("style.saved")}>
      <h3>{t("style.saved")}</h3>
      <Show when={(styles()?.length ?? 0) > 0} fallback={<p class="soft small">{t("style.savedNone")}</p>}>
        <ul>
          <For each={styles()}>
            {(saved) => (
              <li class="chip">
                <button type="button" onClick={() => props.onChoose(saved.style)}>
                  {saved.name}
                </button>
                <IconButton
                  small
                  icon="close"
                  label={t("style.forget", { name: saved.name })}
                  onClick={() => void act(() => api.deleteStyle(saved.name))}
                />
              </li>
            )}
          </For>
        </ul>
      </Show>
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault();
          if (name().trim()) keep();
        }}
      >
        <input
          class="input"
          aria-label={t("style.name")}
          placeholder={t("style.name")}
          maxlength={64}
          value={name()}
          onInput={(event) => setName(event.currentTarget.value)}
        />
        <Button type="submit" disabled={!name().trim() || !changed(props.style)}>
          {t("style.keep")}
        </Button>
      </form>
      <Show when={failed()}>
        <ErrorNote error={failed()} />
      </Show>
    </section>
  );
}
