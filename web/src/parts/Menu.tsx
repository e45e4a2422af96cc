/**
 * A button with a menu.
 *
 * The library that opens menus takes longer to start than all of a first screen: it comes when one is first reached for.
 */

import { type JSX, Show, createSignal } from "solid-js";
import { Dynamic } from "solid-js/web";
import { buttonClass } from "./Button";
import { Icon, type IconName } from "./Icon";
import { late } from "./late";

export interface MenuProps {
  /** The button's name. */
  label: string;
  icon?: IconName;
  /** What the button shows instead of a picture. */
  trigger?: JSX.Element;
  class?: string;
  small?: boolean;
  children: JSX.Element;
}

export interface MenuItemProps {
  icon?: IconName;
  danger?: boolean;
  disabled?: boolean;
  onSelect: () => void;
  children: JSX.Element;
}

export interface MenuChoiceProps<T extends string> {
  label: string;
  value: T;
  options: readonly { value: T; label: string }[];
  onChange: (value: T) => void;
}

const menus = late(() => import("./OpenMenu"));

export function Menu(props: MenuProps): JSX.Element {
  const [wanted, setWanted] = createSignal(false);
  const open = (): void => {
    setWanted(true);
    menus.want();
  };
  const pressed = (event: KeyboardEvent): void => {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    open();
  };
  return (
    <Show
      when={wanted() && menus.here()}
      fallback={
        <button
          type="button"
          {...menuButton(props)}
          aria-haspopup="menu"
          aria-expanded="false"
          onPointerEnter={menus.want}
          onFocus={menus.want}
          onClick={open}
          onKeyDown={pressed}
        />
      }
    >
      {(found) => <Dynamic component={found().OpenMenu} {...props} />}
    </Show>
  );
}

/** What the button is before its menu has been opened, and after. */
export function menuButton(props: MenuProps): JSX.ButtonHTMLAttributes<HTMLButtonElement> {
  return {
    get class() {
      return props.class ?? buttonClass("quiet", props.small, !props.trigger);
    },
    get "aria-label"() {
      return props.label;
    },
    get title() {
      return props.trigger ? undefined : props.label;
    },
    get children() {
      return props.trigger ?? <Icon name={props.icon ?? "more"} />;
    },
  };
}

// What follows is asked for by open menus alone.

export function MenuItem(props: MenuItemProps): JSX.Element {
  return menus.here()?.MenuItem(props);
}

/** One of several, with a tick. */
export function MenuChoice<T extends string>(props: MenuChoiceProps<T>): JSX.Element {
  return menus.here()?.MenuChoice(props);
}

export function MenuLine(): JSX.Element {
  return menus.here()?.MenuLine();
}
