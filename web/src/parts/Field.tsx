import { For, type JSX, Show, createUniqueId } from "solid-js";

interface FieldProps {
  label: string;
  hint?: string;
  problem?: string | null;
}

/** A labelled field; `children` gets the attributes that tie it to its label and hint. */
export function Field(
  props: FieldProps & {
    children: (tie: { id: string; "aria-describedby": string | undefined; "aria-invalid": boolean }) => JSX.Element;
  },
): JSX.Element {
  const id = createUniqueId();
  const described = (): string | undefined => (props.problem || props.hint ? `${id}-hint` : undefined);
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      {props.children({
        id,
        get "aria-describedby"() {
          return described();
        },
        get "aria-invalid"() {
          return Boolean(props.problem);
        },
      })}
      <Show when={props.problem ?? props.hint}>
        <div id={`${id}-hint`} class={props.problem ? "field-problem" : "field-hint"}>
          {props.problem ?? props.hint}
        </div>
      </Show>
    </div>
  );
}

export function Slider(
  props: FieldProps & {
    value: number;
    min: number;
    max: number;
    step?: number;
    /** How the value reads; itself otherwise. */
    shown?: string;
    onInput: (value: number) => void;
    onChange?: (value: number) => void;
  },
): JSX.Element {
  const id = createUniqueId();
  return (
    <div class="field">
      <div class="field-head">
        <label for={id}>{props.label}</label>
        <output for={id} class="numbers small">
          {props.shown ?? props.value}
        </output>
      </div>
      <input
        id={id}
        type="range"
        min={props.min}
        max={props.max}
        step={props.step ?? 1}
        value={props.value}
        aria-valuetext={props.shown}
        aria-describedby={props.hint ? `${id}-hint` : undefined}
        onInput={(event) => props.onInput(event.currentTarget.valueAsNumber)}
        onChange={(event) => props.onChange?.(event.currentTarget.valueAsNumber)}
      />
      <Show when={props.hint}>
        <div id={`${id}-hint`} class="field-hint">
          {props.hint}
        </div>
      </Show>
    </div>
  );
}

/** One of a few, side by side. */
export function Segments<T extends string>(props: {
  label: string;
  value: T;
  options: readonly { value: T; label: string; count?: number }[];
  onChange: (value: T) => void;
}): JSX.Element {
  const move = (event: KeyboardEvent & { currentTarget: HTMLElement }): void => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    const at = props.options.findIndex((option) => option.value === props.value);
    const next = props.options[(at + step + props.options.length) % props.options.length];
    if (!next) return;
    props.onChange(next.value);
    event.currentTarget.querySelector<HTMLElement>(`[data-value="${next.value}"]`)?.focus();
  };
  return (
    <div class="segments" role="radiogroup" aria-label={props.label} onKeyDown={move}>
      <For each={props.options}>
        {(option) => (
          <button
            type="button"
            role="radio"
            data-value={option.value}
            aria-checked={option.value === props.value}
            tabindex={option.value === props.value ? 0 : -1}
            onClick={() => props.onChange(option.value)}
          >
            {option.label}
            <Show when={option.count !== undefined}>
              <span class="count">{option.count}</span>
            </Show>
          </button>
        )}
      </For>
    </div>
  );
}
