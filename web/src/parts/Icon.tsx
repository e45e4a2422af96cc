import type { JSX } from "solid-js";

/** Strokes on a 24 by 24 grid. */
const PATHS = {
  plus: "M12 5v14M5 12h14",
  search: "M11 19a8 8 0 1 0 0-16 8 8 0 0 0 0 16ZM21 21l-4.3-4.3",
  menu: "M4 6h16M4 12h16M4 18h16",
  close: "M18 6 6 18M6 6l12 12",
  check: "M20 6 9 17l-5-5",
  chat: "M21 11.5a8.4 8.4 0 0 1-8.5 8.5 8.6 8.6 0 0 1-3.8-.9L3 21l1.9-5.7a8.4 8.4 0 0 1-.9-3.8A8.4 8.4 0 0 1 12.5 3 8.4 8.4 0 0 1 21 11.5Z",
  wall: "M4 4h6.5v6.5H4ZM13.5 4H20v6.5h-6.5ZM4 13.5h6.5V20H4ZM13.5 13.5H20V20h-6.5Z",
  plan: "M3 3v18h18M7 15l4-5 3 3 5-7",
  corpus: "M4 19.5A2.5 2.5 0 0 1 6.5 17H20M6.5 2H20v20H6.5A2.5 2.5 0 0 1 4 19.5v-15A2.5 2.5 0 0 1 6.5 2Z",
  engine: "M6 6h12v12H6ZM9.5 9.5h5v5h-5ZM9 2v4M15 2v4M9 18v4M15 18v4M2 9h4M2 15h4M18 9h4M18 15h4",
  key: "M7.5 20.5a5 5 0 1 0 0-10 5 5 0 0 0 0 10ZM11 12l9-9M16 7l3 3M14 9l2 2",
  import: "M12 3v12M7 10l5 5 5-5M4 20h16",
  export: "M12 15V3M7 8l5-5 5 5M4 20h16",
  send: "M12 20V4M5 11l7-7 7 7",
  stop: "M7 7h10v10H7Z",
  retry: "M21 12a9 9 0 1 1-2.64-6.36L21 8M21 3v5h-5",
  edit: "M12 20h9M16.5 3.5a2.12 2.12 0 0 1 3 3L7 19l-4 1 1-4Z",
  copy: "M9 9h11v11H9ZM5 15H4V4h11v1",
  fork: "M6 3v12M18 9a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM6 21a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM18 9a9 9 0 0 1-9 9",
  left: "M15 18l-6-6 6-6",
  right: "M9 18l6-6-6-6",
  down: "M6 9l6 6 6-6",
  up: "M18 15l-6-6-6 6",
  more: "M12 12.01V12M19 12.01V12M5 12.01V12",
  pin: "M12 17v5M8 3h8M9 3v6l-3 4v2h12v-2l-3-4V3",
  trash: "M4 7h16M10 11v6M14 11v6M6 7l1 13h10l1-13M9 7V4h6v3",
  style: "M4 7h9M17 7h3M4 17h3M11 17h9M15 9.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5ZM9 19.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z",
  settings: "M12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM19 12a7 7 0 0 0-.1-1.2l2-1.6-2-3.4-2.4.9a7 7 0 0 0-2-1.2L14 3h-4l-.5 2.5a7 7 0 0 0-2 1.2l-2.4-.9-2 3.4 2 1.6a7 7 0 0 0 0 2.4l-2 1.6 2 3.4 2.4-.9a7 7 0 0 0 2 1.2L10 21h4l.5-2.5a7 7 0 0 0 2-1.2l2.4.9 2-3.4-2-1.6a7 7 0 0 0 .1-1.2Z",
  user: "M12 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM4 21a8 8 0 0 1 16 0",
  signout: "M9 21H4V3h5M16 17l5-5-5-5M21 12H9",
  warning: "M12 9v4M12 17.01V17M10.3 4 2.3 18a2 2 0 0 0 1.7 3h16a2 2 0 0 0 1.7-3l-8-14a2 2 0 0 0-3.4 0Z",
  info: "M12 16v-4M12 8.01V8M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z",
  broadcast: "M12 14a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM7.8 16.2a6 6 0 0 1 0-8.4M16.2 7.8a6 6 0 0 1 0 8.4M5 19a10 10 0 0 1 0-14M19 5a10 10 0 0 1 0 14",
  keyboard: "M3 6h18v12H3ZM7 10.01V10M12 10.01V10M17 10.01V10M8 14h8",
  sidebar: "M4 4h16v16H4ZM9.5 4v16",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM12 2v2M12 20v2M4.9 4.9l1.4 1.4M17.7 17.7l1.4 1.4M2 12h2M20 12h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4",
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM12 7v5l3 2",
  play: "M7 4v16l13-8Z",
  pause: "M8 5v14M16 5v14",
  file: "M14 3H6v18h12V7ZM14 3v4h4",
  link: "M10 13a5 5 0 0 0 7.5.5l3-3a5 5 0 0 0-7-7l-1.7 1.7M14 11a5 5 0 0 0-7.5-.5l-3 3a5 5 0 0 0 7 7l1.7-1.7",
  external: "M15 3h6v6M10 14 21 3M18 13v8H3V6h8",
  users: "M9 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM2 21a7 7 0 0 1 14 0M16 3.5a4 4 0 0 1 0 7M18 14.5a7 7 0 0 1 4 6.5",
} as const;

export type IconName = keyof typeof PATHS;

/** A picture beside words, or in a button that has a label: itself it says nothing. */
export function Icon(props: { name: IconName; class?: string }): JSX.Element {
  return (
    <svg
      class={`icon icon-${props.name} ${props.class ?? ""}`}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      stroke-width="1.8"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d={PATHS[props.name]} />
    </svg>
  );
}
