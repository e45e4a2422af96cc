import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";
import solid from "vite-plugin-solid";

// During `npm run dev` the API is a server of its own: HUBBUB_URL=http://127.0.0.1:8000 npm run dev
const server = process.env["HUBBUB_URL"] ?? "http://127.0.0.1:8000";

/** The frame of the page comes after its words; the browser need not wait for these to fetch it. */
function fetchedAhead(module: string): Plugin {
  return {
    name: "fetched-ahead",
    transformIndexHtml: {
      order: "post",
      handler: (_html, { bundle }) => {
        const names = new Set<string>();
        const styles = new Set<string>();
        const add = (name: string): void => {
          const chunk = bundle?.[name];
          if (chunk?.type !== "chunk" || names.has(name)) return;
          names.add(name);
          chunk.viteMetadata?.importedCss.forEach((file) => styles.add(file));
          chunk.imports.forEach(add);
        };
        for (const chunk of Object.values(bundle ?? {})) {
          if (chunk.type === "chunk" && chunk.facadeModuleId?.endsWith(module)) add(chunk.fileName);
        }
        return [
          ...[...names].map((name) => ({ tag: "link", attrs: { rel: "modulepreload", crossorigin: true, href: `/${name}` } })),
          ...[...styles].map((name) => ({ tag: "link", attrs: { rel: "stylesheet", crossorigin: true, href: `/${name}` } })),
        ].map((tag) => ({ ...tag, injectTo: "head" as const }));
      },
    },
  };
}

export default defineConfig({
  plugins: [solid({ hot: false }), fetchedAhead("/src/app.tsx")],
  build: {
    outDir: "../src/hubbub/web",
    emptyOutDir: true,
    target: "es2022",
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    // The content security policy takes nothing inline, so nothing may be turned into a data: script or style.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
    // The first screen is two programs: what runs at once, and all the rest. Every file more costs a first visit its time.
    rolldownOptions: {
      output: {
        codeSplitting: {
          groups: [
            { name: "early", test: /src[\\/](api[\\/](early|paths)|i18n[\\/]index)\.ts$|preload-helper/, priority: 2 },
            { name: "app", test: /src[\\/]app\.tsx$/, priority: 1 },
          ],
        },
      },
    },
  },
  server: {
    proxy: Object.fromEntries(["/v1", "/auth", "/health", "/metrics"].map((path) => [path, { target: server, changeOrigin: true }])),
  },
  // Only what needs a document asks for one: it costs more than all the tests.
  test: { environment: "node", include: ["tests/**/*.test.ts"] },
});
