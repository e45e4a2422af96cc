import { Route, Router } from "@solidjs/router";
import { type JSX, lazy } from "solid-js";
import { render } from "solid-js/web";
import { loadSession } from "./api/session";
import { NotFound } from "./screens/NotFound";
import { ChatScreen } from "./screens/chat/ChatScreen";
import { Shell } from "./shell/Shell";
import { loadTheme } from "./state/theme";

const Wall = lazy(() => import("./screens/wall/WallScreen"));
const Plan = lazy(() => import("./screens/plan/PlanScreen"));
const Corpus = lazy(() => import("./screens/corpus/CorpusScreen"));
const Engine = lazy(() => import("./screens/engine/EngineScreen"));
const Keys = lazy(() => import("./screens/keys/KeysScreen"));
const Import = lazy(() => import("./screens/import/ImportScreen"));
const SignIn = lazy(() => import("./screens/signin/SignInScreen"));

/** Milliseconds that a first sight waits for who it is for: what is drawn before would be thrown away. */
const PATIENCE_MS = 150;

export async function show(place: HTMLElement): Promise<void> {
  loadTheme();
  const who = loadSession().catch(() => undefined);
  await Promise.race([who, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))]);
  render(() => <App />, place);
}

function App(): JSX.Element {
  return (
    <Router root={Shell}>
      <Route path={["/", "/chat/:id"]} component={ChatScreen} />
      <Route path="/wall" component={Wall} />
      <Route path="/plan" component={Plan} />
      <Route path={["/corpus", "/corpus/:name"]} component={Corpus} />
      <Route path="/engine" component={Engine} />
      <Route path="/keys" component={Keys} />
      <Route path="/import" component={Import} />
      <Route path="/sign-in" component={SignIn} />
      <Route path="*" component={NotFound} />
    </Router>
  );
}
