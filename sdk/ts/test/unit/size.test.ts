import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Bytes of a script for browsers, as they travel. */
async function size(contents: string): Promise<number> {
  const made = await build({
    stdin: { contents, resolveDir: root, loader: "ts" },
    bundle: true, minify: true, format: "esm", target: "es2022", platform: "browser", write: false, legalComments: "none",
  });
  return gzipSync(made.outputFiles[0]?.contents ?? "", { level: 9 }).length;
}

test("the client of browsers is not much larger than what it is made of", async () => {
  const client = await size(`export * from "./src/browser.js";`);
  // What anybody needs who calls one service of the contract from a browser.
  const bare = await size(`
    import { createClient } from "@connectrpc/connect";
    import { createConnectTransport } from "@connectrpc/connect-web";
    import { SetService } from "./src/gen/cartwheel/v1/set_pb.js";
    export const set = createClient(SetService, createConnectTransport({ baseUrl: "/", useBinaryFormat: true }));`);
  console.log(`browser client ${(client / 1024).toFixed(1)} KiB gzipped, bare Connect with one service ${(bare / 1024).toFixed(1)} KiB`);
  expect(client).toBeLessThan(60 * 1024);
  expect(client - bare).toBeLessThan(20 * 1024);
});
