import type { Full } from "../full";
import type en from "../en/plan";

export default {
  "plan.title": "План",
} satisfies Full<typeof en>;
