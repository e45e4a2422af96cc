import type { Text } from "..";

export default {
  "plan.title": "Plan",
} satisfies Record<string, Text>;
