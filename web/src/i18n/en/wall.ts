import type { Text } from "..";

export default {
  "wall.title": "Wall",
  "wall.live": "Answers that are waiting or being written",
} satisfies Record<string, Text>;
