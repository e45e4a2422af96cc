import type { Full } from "../full";
import chat from "./chat";
import corpus from "./corpus";
import engine from "./engine";
import errors from "./errors";
import bring from "./import";
import keys from "./keys";
import plan from "./plan";
import shell from "./shell";
import signin from "./signin";
import wall from "./wall";

const words = { ...shell, ...errors, ...chat, ...wall, ...plan, ...corpus, ...engine, ...signin, ...keys, ...bring };

export type Key = keyof typeof words;
export type Dictionary = Full<typeof words>;
export default words;
