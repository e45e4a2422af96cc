import type { Full } from "../full";
import type en from "../en/import";

export default {
  "import.title": "Перенести чаты",
} satisfies Full<typeof en>;
