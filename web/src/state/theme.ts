/** Light, dark, or as the system is. */

import { createSignal } from "solid-js";

export type Theme = "system" | "light" | "dark";
const STORED = "hubbub.theme";

const read = (): Theme => {
  const stored = localStorage.getItem(STORED);
  return stored === "light" || stored === "dark" ? stored : "system";
};

const [theme, setTheme] = createSignal<Theme>("system");
export { theme };

export function loadTheme(): void {
  show(read());
}

export function chooseTheme(name: Theme): void {
  if (name === "system") localStorage.removeItem(STORED);
  else localStorage.setItem(STORED, name);
  show(name);
}

function show(name: Theme): void {
  setTheme(name);
  if (name === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = name;
}
