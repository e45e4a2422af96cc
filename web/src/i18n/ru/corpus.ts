import type { Full } from "../full";
import type en from "../en/corpus";

export default {
  "corpus.title": "Корпус",
} satisfies Full<typeof en>;
