/** The start of a corpus: from a worked recipe by a form, or by its text. Both change the same recipe. */

import { useNavigate } from "@solidjs/router";
import { For, type JSX, Show, Suspense, createEffect, createMemo, createSignal, lazy, on, onCleanup, onMount } from "solid-js";
import { type Recipe, type RecipeChecked, checkRecipe, createCorpus, listCorpora, listRecipes } from "../../api/corpora";
import { bytes, t } from "../../i18n";
import { Button } from "../../parts/Button";
import { Field, Segments, Slider } from "../../parts/Field";
import { Icon } from "../../parts/Icon";
import { Panel } from "../../parts/Panel";
import { ErrorNote, Spinner } from "../../parts/States";
import { nearest, stops } from "../../parts/scale";
import { baseModels } from "../../state/models";
import { Screen } from "../Screen";
import { freeName, quoted, sizeOf, topValue, withTop } from "./toml";
import { amount } from "./words";

const Editor = lazy(() => import("./RecipeEditor"));
const SIZES = stops(1e4, 1e10, [1, 2, 5]);
const USUAL = 1e6;
const PAUSE_MS = 350;

export default function Start(): JSX.Element {
  const navigate = useNavigate();
  const [recipes, setRecipes] = createSignal<Recipe[]>();
  const [taken, setTaken] = createSignal<string[]>([]);
  const [failed, setFailed] = createSignal<unknown>();
  const [text, setText] = createSignal("");
  const [chosen, setChosen] = createSignal("");
  const [name, setName] = createSignal("");
  /** Bytes; undefined: what the recipe says, which counts records or tokens. */
  const [size, setSize] = createSignal<number | undefined>(USUAL);
  const [seed, setSeed] = createSignal("");
  const [way, setWay] = createSignal<"form" | "text">("form");
  const [checked, setChecked] = createSignal<RecipeChecked>();
  const [checking, setChecking] = createSignal(false);
  const [starting, setStarting] = createSignal(false);
  const [refused, setRefused] = createSignal<unknown>();

  const pick = (recipe: Recipe): void => {
    setChosen(recipe.name);
    setText(recipe.recipe);
    setName(freeName(recipe.name, taken()));
    setSize(sizeOf(recipe.bytes) ?? USUAL);
    setSeed(topValue(recipe.recipe, "seed"));
  };
  // Who writes a target or a seed into the text means it: the form follows.
  const edit = (now: string): void => {
    const target = topValue(now, "target");
    if (target !== topValue(text(), "target")) setSize(target ? sizeOf(target) : USUAL);
    const start = topValue(now, "seed");
    if (start !== topValue(text(), "seed")) setSeed(start);
    setText(now);
  };
  const amountTold = (): string | undefined => {
    const target = size();
    return target === undefined ? undefined : String(Math.round(target));
  };
  const load = (): void => {
    setFailed(undefined);
    Promise.all([listRecipes(), listCorpora()]).then(([found, corpora]) => {
      setTaken(corpora.map((one) => one.name));
      setRecipes(found);
      if (found[0]) pick(found[0]);
    }, setFailed);
  };
  onMount(load);

  // The check is of the newest text; an older answer is dropped.
  createEffect(
    on([text, amountTold], ([now, told]) => {
      // From here on what was found is of another text.
      setChecking(now.trim() !== "");
      if (!now.trim()) return;
      let gone = false;
      const timer = window.setTimeout(() => {
        checkRecipe(now, told).then(
          (found) => {
            if (gone) return;
            setChecked(found);
            setRefused(undefined);
            setChecking(false);
          },
          (error: unknown) => {
            if (gone) return;
            setRefused(error);
            setChecking(false);
          },
        );
      }, PAUSE_MS);
      onCleanup(() => {
        gone = true;
        window.clearTimeout(timer);
      });
    }),
  );

  const problems = createMemo(() => checked()?.problems ?? []);
  const nameProblem = (): string | null => {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name())) return t("corpus.nameProblem");
    return taken().includes(name()) ? t("corpus.nameTaken") : null;
  };
  const start = async (): Promise<void> => {
    setStarting(true);
    setRefused(undefined);
    const told = amountTold();
    try {
      const made = await createCorpus({
        name: name(),
        recipe: text(),
        ...(told ? { bytes: told } : {}),
        ...(/^\d+$/.test(seed()) ? { seed: Number(seed()) } : {}),
      });
      navigate(`/corpus/${encodeURIComponent(made.name)}`);
    } catch (error) {
      setRefused(error);
      setStarting(false);
    }
  };
  return (
    <Screen title={t("corpus.new")}>
      <Show
        when={recipes()}
        fallback={
          <div class="empty">
            <Show when={failed()} fallback={<Spinner />}>
              <ErrorNote error={failed()} onRetry={load} />
            </Show>
          </div>
        }
      >
        {(list) => (
          <form
            class="start"
            onSubmit={(event) => {
              event.preventDefault();
              void start();
            }}
          >
            <fieldset class="recipes" aria-label={t("corpus.recipe")}>
              <For each={list()}>
                {(recipe) => (
                  <label class="recipe card" classList={{ chosen: chosen() === recipe.name }}>
                    <input type="radio" name="recipe" class="visually-hidden" checked={chosen() === recipe.name} onChange={() => pick(recipe)} />
                    <span class="row">
                      <Icon name={recipe.linked ? "link" : "file"} />
                      <strong class="cut">{recipe.name}</strong>
                    </span>
                    <span class="soft small">{recipe.description}</span>
                    <span class="row wrap">
                      <For each={recipe.languages}>{(lang) => <span class="badge">{lang}</span>}</For>
                      <Show when={recipe.linked}>
                        <span class="badge">{t("corpus.linked")}</span>
                      </Show>
                    </span>
                  </label>
                )}
              </For>
            </fieldset>
            <div class="start-columns">
              <div class="stack">
                <Panel title={t("corpus.run")}>
                  <Field label={t("corpus.name")} problem={nameProblem()} hint={t("corpus.nameHint")}>
                    {(tie) => <input {...tie} class="input" value={name()} onInput={(event) => setName(event.currentTarget.value.trim())} autocomplete="off" spellcheck={false} />}
                  </Field>
                  <Slider
                    label={t("corpus.size")}
                    value={nearest(SIZES, size() ?? USUAL)}
                    min={0}
                    max={SIZES.length - 1}
                    shown={size() === undefined ? topValue(text(), "target") : bytes(size() ?? 0)}
                    hint={t("corpus.sizeHint")}
                    onInput={(at) => setSize(SIZES[at] ?? USUAL)}
                  />
                  <Field label={t("corpus.model")}>
                    {(tie) => (
                      <select {...tie} class="input" onChange={(event) => setText(withTop(text(), "model", event.currentTarget.value && quoted(event.currentTarget.value)))}>
                        <option value="" selected={topValue(text(), "model") === ""}>
                          {t("corpus.modelAny")}
                        </option>
                        <For each={baseModels()}>
                          {(model) => (
                            <option value={model.id} selected={topValue(text(), "model") === model.id}>
                              {model.id}
                            </option>
                          )}
                        </For>
                      </select>
                    )}
                  </Field>
                  <Field label={t("corpus.seed")} hint={t("corpus.seedHint")}>
                    {(tie) => <input {...tie} class="input numbers" inputmode="numeric" value={seed()} onInput={(event) => setSeed(event.currentTarget.value.replace(/\D/g, "").slice(0, 15))} />}
                  </Field>
                  <Show when={refused()}>
                    <ErrorNote error={refused()} />
                  </Show>
                  <div class="row">
                    <Button type="submit" kind="primary" icon="play" busy={starting()} disabled={checking() || !checked()?.ok || nameProblem() !== null}>
                      {t("corpus.start")}
                    </Button>
                    <span class="soft small" role="status">
                      {checking() ? t("corpus.checking") : problems().length > 0 ? t("corpus.problems", { n: problems().length }) : checked()?.ok ? t("corpus.sound") : ""}
                    </span>
                  </div>
                </Panel>
              </div>
              <Panel
                title={way() === "form" ? t("corpus.preview") : t("corpus.recipe")}
                aside={
                  <Segments
                    label={t("corpus.view")}
                    value={way()}
                    options={[
                      { value: "form", label: t("corpus.preview") },
                      { value: "text", label: t("corpus.recipeText") },
                    ]}
                    onChange={setWay}
                  />
                }
              >
                <Show when={way() === "text"} fallback={<Preview checked={checked()} onText={() => setWay("text")} />}>
                  <Suspense fallback={<Spinner />}>
                    <Editor value={text()} problems={problems()} onInput={edit} />
                  </Suspense>
                </Show>
              </Panel>
            </div>
          </form>
        )}
      </Show>
    </Screen>
  );
}

/** The first prompts as they would be sent. */
function Preview(props: { checked: RecipeChecked | undefined; onText: () => void }): JSX.Element {
  return (
    <Show when={props.checked} fallback={<Spinner />}>
      {(checked) => (
        <Show
          when={checked().ok}
          fallback={
            <div class="note bad" role="alert">
              <Icon name="warning" />
              <div class="note-text">{t("corpus.problems", { n: checked().problems.length })}</div>
              <Button small onClick={() => props.onText()}>
                {t("corpus.show")}
              </Button>
            </div>
          }
        >
          <p class="soft small">
            {[checked().description, amount(checked().target, checked().unit), checked().languages.join(", "), t("corpus.steps", { n: checked().steps.length })].filter(Boolean).join(" · ")}
          </p>
          <ol class="prompts">
            <For each={checked().prompts}>
              {(prompt) => (
                <li>
                  <div class="soft small numbers">
                    {t("corpus.item", { n: String(prompt.item) })}
                    {prompt.title ? ` · ${prompt.title}` : ""}
                  </div>
                  <For each={prompt.messages}>{(message) => <pre>{message.content.trim()}</pre>}</For>
                </li>
              )}
            </For>
          </ol>
        </Show>
      )}
    </Show>
  );
}

