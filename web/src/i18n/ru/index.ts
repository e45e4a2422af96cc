import type { Dictionary } from "../en";
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

const words: Dictionary = { ...shell, ...errors, ...chat, ...wall, ...plan, ...corpus, ...engine, ...signin, ...keys, ...bring };

export default words;
