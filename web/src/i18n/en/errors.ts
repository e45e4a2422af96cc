import type { Text } from "..";

export default {
  "error.network": "The server cannot be reached. Is it running?",
  "error.busy": "The server has as much to do as it can take. Try again in a moment.",
  "error.busyFor": "The server has as much to do as it can take. Try again in {seconds} s.",
  "error.context": "This chat no longer fits the model's window. Fork it from an earlier message, or ask something shorter.",
  "error.engine": "The model is not ready. Look at the engine room, or try again in a moment.",
  "error.restarted": "The server was restarted and could not finish this answer.",
  "error.diskFull": "The server's disk is full.",
  "error.forbidden": "You are not allowed to do this.",
  "error.signIn": "Sign in first.",
  "error.chatBusy": "An answer is still being written in this chat.",
  "error.server": "Something went wrong on the server. Its log has more.",
  "error.request": "The server refused this ({status}).",
  "error.retry": "Try again",
  "error.screen": "This screen broke.",
} satisfies Record<string, Text>;
