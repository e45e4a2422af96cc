import type { Text } from "..";

export default {
  "keys.title": "Keys",
} satisfies Record<string, Text>;
