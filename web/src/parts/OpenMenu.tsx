/** Menus as they are once one has been reached for: see Menu. */

import { DropdownMenu } from "@kobalte/core/dropdown-menu";
import { type JSX, Show } from "solid-js";
import { Icon } from "./Icon";
import { type MenuChoiceProps, type MenuItemProps, type MenuProps, menuButton } from "./Menu";

/** Begins open, with the focus in it. */
export function OpenMenu(props: MenuProps): JSX.Element {
  return (
    <DropdownMenu defaultOpen gutter={4} preventScroll={false} modal={false}>
      <DropdownMenu.Trigger {...menuButton(props)} />
      <DropdownMenu.Portal>
        <DropdownMenu.Content class="menu">{props.children}</DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu>
  );
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

export function MenuChoice<T extends string>(props: MenuChoiceProps<T>): JSX.Element {
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
