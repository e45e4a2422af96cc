import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/parts.css";
import "./shell/shell.css";
import { askEarly } from "./api/early";
import { loadLanguage } from "./i18n";

// Nothing but this runs until the program is there: what it will need is on its way by then.
askEarly(location.pathname);
// Modules below may put words of the dictionary into constants, so it comes first.
await loadLanguage();
const { show } = await import("./app");
const place = document.getElementById("page");
if (place) await show(place);
