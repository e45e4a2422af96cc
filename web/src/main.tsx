import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/parts.css";
import "./shell/shell.css";
import { render } from "solid-js/web";
import { askEarly } from "./api/early";
import { loadLanguage } from "./i18n";
import { loadTheme } from "./state/theme";

askEarly(location.pathname);
loadTheme();
// Modules below may put words of the dictionary into constants, so it comes first.
await loadLanguage();
const { App } = await import("./app");
const place = document.getElementById("page");
if (place) render(() => <App />, place);
