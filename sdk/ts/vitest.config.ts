import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { playwright } from "@vitest/browser-playwright";
import { defineConfig } from "vitest/config";

const source = (file: string) => fileURLToPath(new URL(`src/${file}`, import.meta.url));

/** The browser of this machine, or that which CHROMIUM names: none is ever downloaded. */
const browser = process.env["CHROMIUM"] ?? [
  "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
].find((path) => existsSync(path)) ?? "/usr/bin/chromium";

// What runs in both is written once, against the package's name.
const both = ["test/*.test.ts"];

export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: ["test/unit/*.test.ts"], testTimeout: 30_000 } },
      {
        resolve: { alias: { "@cartwheel/client": source("node.ts") } },
        test: { name: "node", include: [...both, "test/node/*.test.ts"], globalSetup: "test/setup.ts", testTimeout: 60_000, hookTimeout: 60_000 },
      },
      {
        resolve: { alias: { "@cartwheel/client": source("browser.ts") } },
        server: { fs: { allow: [".."] } }, // the table of behaviour cases
        test: {
          name: "browser", include: both, globalSetup: "test/setup.ts", testTimeout: 60_000, hookTimeout: 60_000,
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            provider: playwright({
              launchOptions: {
                executablePath: browser,
                // Its sandbox does not work for root, nor in most containers; the pages are ours.
                args: ["--no-sandbox"],
              },
            }),
            instances: [{ browser: "chromium" }],
          },
        },
      },
    ],
  },
});
