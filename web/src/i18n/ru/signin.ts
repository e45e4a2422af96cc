import type { Full } from "../full";
import type en from "../en/signin";

export default {
  "signin.title": "Вход",
} satisfies Full<typeof en>;
