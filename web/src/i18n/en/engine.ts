import type { Text } from "..";

export default {
  "engine.title": "Engine room",
} satisfies Record<string, Text>;
