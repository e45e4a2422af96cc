import { DropdownMenu } from "@kobalte/core/dropdown-menu";
import { type JSX, Show } from "solid-js";
import { buttonClass } from "./Button";
import { Icon, type IconName } from "./Icon";

export interface MenuProps {
  /** The button's name. */
  label: string;
  icon?: IconName;
  /** What the button shows instead of a picture. */
  trigger?: JSX.Element;
  class?: string;
  small?: boolean;
  children: JSX.Element;
  onOpenChange?: (open: boolean) => void;
}

export function Menu(props: MenuProps): JSX.Element {
  return (
    <DropdownMenu gutter={4} preventScroll={false} modal={false} {...(props.onOpenChange ? { onOpenChange: props.onOpenChange } : {})}>
      <DropdownMenu.Trigger
        class={props.class ?? buttonClass("quiet", props.small, !props.trigger)}
        aria-label={props.label}
        title={props.trigger ? undefined : props.label}
      >
        {props.trigger ?? <Icon name={props.icon ?? "more"} />}
      </DropdownMenu.Trigger>
      <DropdownMenu.Portal>
        <DropdownMenu.Content class="menu">{props.children}</DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu>
  );
}

export interface MenuItemProps {
  icon?: IconName;
  danger?: boolean;
  disabled?: boolean;
  onSelect: () => void;
  children: JSX.Element;
}

export function MenuItem(props: MenuItemProps): JSX.Element {
  return (
    <DropdownMenu.Item
      class={props.danger ? "menu-item danger" : "menu-item"}
      disabled={props.disabled ?? false}
      onSelect={() => props.onSelect()}
    >
      <Show when={props.icon}>{(name) => <Icon name={name()} />}</Show>
      {props.children}
    </DropdownMenu.Item>
  );
}

/** One of several, with a tick. */
export function MenuChoice<T extends string>(props: {
  label: string;
  value: T;
  options: readonly { value: T; label: string }[];
  onChange: (value: T) => void;
}): JSX.Element {
  return (
    <DropdownMenu.RadioGroup value={props.value} onChange={(value) => props.onChange(value as T)}>
      <DropdownMenu.GroupLabel as="div" class="menu-label">
        {props.label}
      </DropdownMenu.GroupLabel>
      {props.options.map((option) => (
        <DropdownMenu.RadioItem class="menu-item" value={option.value}>
          <span class="grow">{option.label}</span>
          <DropdownMenu.ItemIndicator>
            <Icon name="check" />
          </DropdownMenu.ItemIndicator>
        </DropdownMenu.RadioItem>
      ))}
    </DropdownMenu.RadioGroup>
  );
}

export function MenuLine(): JSX.Element {
  return <DropdownMenu.Separator class="menu-line" />;
}
