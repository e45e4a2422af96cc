/** Chats in: drop files, see what became of each. Chats out: all of them as one archive. */

import "./import.css";
import { A } from "@solidjs/router";
import { For, type JSX, Show, createSignal } from "solid-js";
import { listChats } from "../../api/chats";
import { type ExportFormat, type Imported, exportAllUrl, importFile } from "../../api/exchange";
import { bytes, number, t } from "../../i18n";
import { Button, buttonClass } from "../../parts/Button";
import { Icon } from "../../parts/Icon";
import { Panel } from "../../parts/Panel";
import { ErrorNote, Spinner } from "../../parts/States";
import { putChats } from "../../state/chats";
import { Screen } from "../Screen";
import { type Dropped, dropped, picked, takes } from "./files";

interface Sent extends Dropped {
  state: "waiting" | "sending" | "done" | "failed";
  result?: Imported;
  error?: unknown;
}

export default function ImportScreen(): JSX.Element {
  const [files, setFiles] = createSignal<readonly Sent[]>([]);
  let running = false;
  const change = (one: Sent, to: Partial<Sent>): void => void setFiles((all) => all.map((other) => (other.file === one.file ? { ...other, ...to } : other)));
  /** One file at a time: the server keeps each chat as it comes. */
  const send = async (): Promise<void> => {
    if (running) return;
    running = true;
    for (;;) {
      const next = files().find((one) => one.state === "waiting");
      if (!next) break;
      change(next, { state: "sending" });
      try {
        change(next, { state: "done", result: await importFile(next.name, next.file) });
        // The live stream does not tell of them.
        listChats({}).then((page) => putChats(page.data), () => undefined);
      } catch (error) {
        change(next, { state: "failed", error });
      }
    }
    running = false;
  };
  const add = (found: readonly Dropped[]): void => {
    setFiles((all) => [...all, ...found.map((one): Sent => ({ ...one, state: "waiting" }))]);
    void send();
  };
  return (
    <Screen title={t("import.title")}>
      <div class="bring">
        <Drop onFiles={add} />
        <Show when={files().length > 0}>
          <Panel title={t("import.files")} aside={<Sum files={files()} />}>
            <ul class="bring-files">
              <For each={files()}>{(one) => <FileRow one={one} onRetry={() => (change(one, { state: "waiting", error: undefined }), void send())} />}</For>
            </ul>
          </Panel>
        </Show>
        <Export />
      </div>
    </Screen>
  );
}

function Drop(props: { onFiles: (files: readonly Dropped[]) => void }): JSX.Element {
  let input!: HTMLInputElement;
  const [over, setOver] = createSignal(false);
  const [nothing, setNothing] = createSignal(false);
  const take = (found: readonly Dropped[]): void => {
    const good = found.filter((one) => takes(one.name));
    setNothing(found.length > 0 && good.length === 0);
    if (good.length > 0) props.onFiles(good);
  };
  return (
    <div
      class="bring-drop"
      classList={{ over: over() }}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        if (event.dataTransfer) void dropped(event.dataTransfer).then(take);
      }}
    >
      <Icon name="import" />
      <h2>{t("import.drop")}</h2>
      <p class="soft">{t("import.kinds")}</p>
      <input
        ref={input}
        type="file"
        class="visually-hidden"
        multiple
        accept=".json,.zip,.md"
        tabindex="-1"
        aria-label={t("import.choose")}
        onChange={() => {
          take(picked(input.files));
          input.value = "";
        }}
      />
      <Button kind="primary" onClick={() => input.click()}>
        {t("import.choose")}
      </Button>
      <Show when={nothing()}>
        <p class="field-problem" role="alert">
          {t("import.nothing")}
        </p>
      </Show>
    </div>
  );
}

function Sum(props: { files: readonly Sent[] }): JSX.Element {
  const sum = (pick: (one: Imported) => number): number => props.files.reduce((total, one) => total + (one.result ? pick(one.result) : 0), 0);
  return (
    <span role="status">
      {t("import.sum", { n: sum((one) => one.created) })} · {t("import.updated", { n: sum((one) => one.updated) })} · {t("import.messages", { n: sum((one) => one.items) })}
    </span>
  );
}

function FileRow(props: { one: Sent; onRetry: () => void }): JSX.Element {
  return (
    <li>
      <div class="row">
        <Icon name="file" />
        <span class="grow cut">{props.one.name}</span>
        <span class="soft small numbers">{bytes(props.one.file.size)}</span>
        <Show when={props.one.state === "sending"}>
          <Spinner label={t("import.reading")} />
        </Show>
        <Show when={props.one.state === "waiting"}>
          <span class="badge">{t("import.waiting")}</span>
        </Show>
      </div>
      <Show when={props.one.error}>
        <ErrorNote error={props.one.error} onRetry={props.onRetry} />
      </Show>
      <Show when={props.one.result}>{(result) => <Outcome result={result()} />}</Show>
    </li>
  );
}

function Outcome(props: { result: Imported }): JSX.Element {
  const rest = (counts: Record<string, number>): string =>
    Object.entries(counts)
      .map(([name, count]) => `${name.replaceAll("_", " ")} (${number(count)})`)
      .join(", ");
  const nothing = (): boolean => props.result.created + props.result.updated + props.result.unchanged === 0;
  return (
    <div class="bring-outcome">
      <p class="row wrap small">
        <Show
          when={!nothing()}
          fallback={
            <span class="row">
              <span class="dot failed" />
              {t("import.noChats")}
            </span>
          }
        >
          <span class="badge good">
            <Icon name="check" />
            {t("import.sum", { n: props.result.created })}
          </span>
          <Show when={props.result.updated > 0}>
            <span class="badge">{t("import.updated", { n: props.result.updated })}</span>
          </Show>
          <Show when={props.result.unchanged > 0}>
            <span class="badge">{t("import.unchanged", { n: props.result.unchanged })}</span>
          </Show>
          <span class="soft">{t("import.messages", { n: props.result.items })}</span>
          <Show when={props.result.chats[0]}>{(first) => <A href={`/chat/${first()}`}>{t("import.open")}</A>}</Show>
        </Show>
      </p>
      <Show when={Object.keys(props.result.left_out).length > 0}>
        <p class="soft small">{t("import.leftOut", { what: rest(props.result.left_out) })}</p>
      </Show>
      <Show when={Object.keys(props.result.passed_over).length > 0}>
        <p class="soft small">{t("import.passedOver", { what: rest(props.result.passed_over) })}</p>
      </Show>
      <Show when={props.result.problem_count > 0}>
        <details class="note warn small">
          <summary>{t("import.problems", { n: props.result.problem_count })}</summary>
          <ul>
            <For each={props.result.problems.slice(0, 100)}>
              {(problem) => (
                <li>
                  <strong>{[problem.file, problem.chat].filter(Boolean).join(" · ")}</strong> {problem.message}
                </li>
              )}
            </For>
            <Show when={props.result.problem_count > Math.min(100, props.result.problems.length)}>
              <li class="soft">{t("import.moreProblems", { n: props.result.problem_count - Math.min(100, props.result.problems.length) })}</li>
            </Show>
          </ul>
        </details>
      </Show>
    </div>
  );
}

const FORMATS: readonly ExportFormat[] = ["markdown", "json", "nexus"];

function Export(): JSX.Element {
  return (
    <Panel title={t("import.export")} aside={t("import.exportAside")}>
      <ul class="bring-formats">
        <For each={FORMATS}>
          {(format) => (
            <li>
              <div class="grow">
                <strong>{t(`import.format.${format}`)}</strong>
                <p class="soft small">{t(`import.formatText.${format}`)}</p>
              </div>
              <a class={buttonClass("plain", true)} href={exportAllUrl(format)} download="" rel="external" aria-label={t("import.downloadAs", { format: t(`import.format.${format}`) })}>
                <Icon name="import" />
                {t("import.download")}
              </a>
            </li>
          )}
        </For>
      </ul>
    </Panel>
  );
}
