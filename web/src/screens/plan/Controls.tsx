/** Model, machine, and the sliders. */

import { For, type JSX, Show, createMemo } from "solid-js";
import type { PlanChoices } from "../../api/plan";
import { bytes, number, t } from "../../i18n";
import { Field, Segments, Slider } from "../../parts/Field";
import { nearest } from "../../parts/scale";
import { BYTES, CHATS, GPUS, type Wish, contexts, family, grouped } from "./wish";
import { longTime, usd } from "./words";

interface Props {
  wish: Wish;
  choices: PlanChoices;
  onChange: (change: Partial<Wish>) => void;
}

const LANGS = ["ru", "en", "zh", "code"] as const;

export function Controls(props: Props): JSX.Element {
  return (
    <form class="plan-controls panel" aria-label={t("plan.whatIf")} onSubmit={(event) => event.preventDefault()}>
      <Machine {...props} />
      <Chats {...props} />
      <Corpus {...props} />
    </form>
  );
}

function Machine(props: Props): JSX.Element {
  const models = createMemo(() => grouped(props.choices.models, (one) => family(one.name)));
  const cards = createMemo(() => grouped(props.choices.hardware, (one) => one.kind));
  const card = createMemo(() => props.choices.hardware.find((one) => one.name === props.wish.hardware));
  return (
    <fieldset>
      <legend>{t("plan.group.machine")}</legend>
      <Field label={t("plan.model")}>
        {(tie) => (
          <select {...tie} class="input" value={props.wish.model} onChange={(event) => props.onChange({ model: event.currentTarget.value })}>
            <For each={models()}>
              {([name, list]) => (
                <optgroup label={name}>
                  <For each={list}>
                    {(one) => (
                      <option value={one.name} selected={one.name === props.wish.model}>
                        {one.name}
                      </option>
                    )}
                  </For>
                </optgroup>
              )}
            </For>
          </select>
        )}
      </Field>
      <Field
        label={t("plan.machine")}
        hint={card() ? [bytes(card()!.memory), card()!.price_usd === null ? "" : t("plan.price", { price: usd(card()!.price_usd!) })].filter(Boolean).join(" · ") : props.choices.here}
      >
        {(tie) => (
          <select {...tie} class="input" value={props.wish.hardware} onChange={(event) => props.onChange({ hardware: event.currentTarget.value })}>
            <option value="" selected={props.wish.hardware === ""}>
              {t("plan.here")}
            </option>
            <For each={cards()}>
              {([kind, list]) => (
                <optgroup label={t(KINDS[kind] ?? "plan.kind.other")}>
                  <For each={list}>
                    {(one) => (
                      <option value={one.name} selected={one.name === props.wish.hardware}>
                        {one.name.replaceAll("-", " ")}
                      </option>
                    )}
                  </For>
                </optgroup>
              )}
            </For>
          </select>
        )}
      </Field>
      <Field label={t("plan.quant")}>
        {(tie) => (
          <select {...tie} class="input" value={props.wish.quant} onChange={(event) => props.onChange({ quant: event.currentTarget.value })}>
            <option value="" selected={props.wish.quant === ""}>
              {t("plan.quantAuto")}
            </option>
            <For each={props.choices.quants}>
              {(one) => (
                <option value={one} selected={one === props.wish.quant}>
                  {one}
                </option>
              )}
            </For>
          </select>
        )}
      </Field>
      <Show when={card() && card()!.kind !== "cpu"}>
        <Stops label={t("plan.gpus")} values={GPUS} value={props.wish.gpus} shown={number} onChange={(gpus) => props.onChange({ gpus })} />
      </Show>
    </fieldset>
  );
}

const KINDS: Record<string, "plan.kind.nvidia" | "plan.kind.amd" | "plan.kind.intel" | "plan.kind.apple" | "plan.kind.npu" | "plan.kind.cpu"> = {
  nvidia: "plan.kind.nvidia",
  amd: "plan.kind.amd",
  "intel-gpu": "plan.kind.intel",
  apple: "plan.kind.apple",
  npu: "plan.kind.npu",
  cpu: "plan.kind.cpu",
};

function Chats(props: Props): JSX.Element {
  const most = createMemo(() => props.choices.models.find((one) => one.name === props.wish.model)?.context ?? 131_072);
  return (
    <fieldset>
      <legend>{t("plan.group.chats")}</legend>
      <Stops label={t("plan.chats")} values={CHATS} value={props.wish.chats} shown={number} onChange={(chats) => props.onChange({ chats })} />
      <Stops
        label={t("plan.context")}
        values={contexts(most())}
        value={props.wish.context}
        shown={(value) => t("plan.tokens", { n: value })}
        onChange={(context) => props.onChange({ context })}
      />
      <Slider
        label={t("plan.answer")}
        value={props.wish.answer}
        min={50}
        max={1000}
        step={50}
        shown={t("plan.tokens", { n: props.wish.answer })}
        onInput={(answer) => props.onChange({ answer })}
      />
      <Slider
        label={t("plan.think")}
        value={props.wish.think}
        min={0}
        max={120}
        step={5}
        shown={props.wish.think === 0 ? t("plan.none") : longTime(props.wish.think)}
        onInput={(think) => props.onChange({ think })}
      />
    </fieldset>
  );
}

function Corpus(props: Props): JSX.Element {
  return (
    <fieldset>
      <legend>{t("plan.group.corpus")}</legend>
      <Stops label={t("plan.bytes")} values={BYTES} value={props.wish.bytes} shown={bytes} onChange={(size) => props.onChange({ bytes: size })} />
      <Segments
        label={t("plan.lang")}
        value={(LANGS as readonly string[]).includes(props.wish.lang) ? (props.wish.lang as (typeof LANGS)[number]) : "ru"}
        options={LANGS.map((value) => ({ value, label: t(`plan.lang.${value}`) }))}
        onChange={(lang) => props.onChange({ lang })}
      />
      <Slider
        label={t("plan.accept")}
        value={Math.round(props.wish.accept * 100)}
        min={20}
        max={100}
        step={5}
        shown={number(props.wish.accept, { style: "percent" })}
        hint={t("plan.acceptHint")}
        onInput={(share) => props.onChange({ accept: share / 100 })}
      />
    </fieldset>
  );
}

/** A slider over given values. */
function Stops(props: { label: string; values: readonly number[]; value: number; shown: (value: number) => string; onChange: (value: number) => void }): JSX.Element {
  return (
    <Slider
      label={props.label}
      value={nearest(props.values, props.value)}
      min={0}
      max={props.values.length - 1}
      shown={props.shown(props.value)}
      onInput={(at) => props.onChange(props.values[at] ?? props.value)}
    />
  );
}

