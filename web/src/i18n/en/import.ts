import type { Text } from "..";

export default {
  "import.title": "Bring your chats",
} satisfies Record<string, Text>;
