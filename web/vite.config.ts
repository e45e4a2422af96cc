import { defineConfig } from "vitest/config";
import solid from "vite-plugin-solid";

// During `npm run dev` the API is a server of its own: HUBBUB_URL=http://127.0.0.1:8000 npm run dev
const server = process.env["HUBBUB_URL"] ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [solid({ hot: false })],
  build: {
    outDir: "../src/hubbub/web",
    emptyOutDir: true,
    target: "es2022",
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    // The content security policy takes nothing inline, so nothing may be turned into a data: script or style.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: {
    proxy: Object.fromEntries(["/v1", "/auth", "/health", "/metrics"].map((path) => [path, { target: server, changeOrigin: true }])),
  },
  // Only what needs a document asks for one: it costs more than all the tests.
  test: { environment: "node", include: ["tests/**/*.test.ts"] },
});
