import type { Full } from "../full";
import type en from "../en/engine";

export default {
  "engine.title": "Машинное отделение",
} satisfies Full<typeof en>;
