import type { Text } from "..";

export default {
  "signin.title": "Sign in",
} satisfies Record<string, Text>;
