import type { Full } from "../full";
import type en from "../en/wall";

export default {
  "wall.title": "Стена",
  "wall.live": "Ответы, которые ждут или пишутся",
} satisfies Full<typeof en>;
