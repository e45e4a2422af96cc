import { type JSX, Show, splitProps } from "solid-js";
import { Icon, type IconName } from "./Icon";

export interface ButtonProps extends JSX.ButtonHTMLAttributes<HTMLButtonElement> {
  kind?: "primary" | "danger" | "quiet" | "plain";
  small?: boolean;
  icon?: IconName;
  /** Works: shown, and not to be pressed again. */
  busy?: boolean;
}

export function buttonClass(kind: ButtonProps["kind"] = "plain", small = false, icon = false, more = ""): string {
  return ["button", kind, small ? "small" : "", icon ? "icon" : "", more].filter(Boolean).join(" ");
}

export function Button(props: ButtonProps): JSX.Element {
  const [own, rest] = splitProps(props, ["kind", "small", "icon", "busy", "class", "children", "disabled", "type"]);
  return (
    <button
      type={own.type ?? "button"}
      class={buttonClass(own.kind, own.small, false, own.class)}
      disabled={own.disabled || own.busy}
      aria-busy={own.busy ? "true" : undefined}
      {...rest}
    >
      <Show when={own.busy} fallback={<Show when={own.icon}>{(name) => <Icon name={name()} />}</Show>}>
        <span class="spinner" />
      </Show>
      {own.children}
    </button>
  );
}

/** A button that is a picture; `label` is its name, and its tooltip. */
export function IconButton(props: ButtonProps & { icon: IconName; label: string }): JSX.Element {
  const [own, rest] = splitProps(props, ["kind", "small", "icon", "label", "busy", "class", "disabled", "type"]);
  return (
    <button
      type={own.type ?? "button"}
      class={buttonClass(own.kind ?? "quiet", own.small, true, own.class)}
      aria-label={own.label}
      title={own.label}
      disabled={own.disabled || own.busy}
      {...rest}
    >
      <Show when={own.busy} fallback={<Icon name={own.icon} />}>
        <span class="spinner" />
      </Show>
    </button>
  );
}
