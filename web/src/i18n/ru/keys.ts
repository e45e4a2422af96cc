import type { Full } from "../full";
import type en from "../en/keys";

export default {
  "keys.title": "Ключи",
} satisfies Full<typeof en>;
