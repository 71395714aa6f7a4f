import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import ts from "typescript";
import { afterAll, beforeAll, expect, test } from "vitest";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
let dir: string;

// The package as it is packed, beside nothing but what it depends on: no types of ours
// may fill in for those that it lacks.
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "cartwheel-types-"));
  const made = join(dir, "made");
  await mkdir(made);
  for (const file of ["package.json", "README.md"]) await cp(join(root, file), join(made, file));
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  await run(process.execPath, [tsc, "-p", join(root, "tsconfig.build.json"), "--outDir", join(made, "dist")]);
  const { stdout } = await run("npm", ["pack", "--json", "--offline", "--pack-destination", dir], { cwd: made });
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  const modules = join(dir, "node_modules");
  await mkdir(join(modules, "@cartwheel/client"), { recursive: true });
  await run("tar", ["-xzf", join(dir, filename), "-C", join(modules, "@cartwheel/client"), "--strip-components", "1"]);
  for (const name of ["@bufbuild/protobuf", "@connectrpc/connect", "@connectrpc/connect-node", "@connectrpc/connect-web", "@types/node", "undici-types"]) {
    await cp(join(root, "node_modules", name), join(modules, name), { recursive: true });
  }
  await writeFile(join(dir, "package.json"), `{ "type": "module" }`);
}, 60_000);
afterAll(() => rm(dir, { recursive: true, force: true }));

/** What the compiler has against a program that uses the package. */
async function complaints(source: string, options: ts.CompilerOptions): Promise<string[]> {
  const file = join(dir, "user.ts");
  await writeFile(file, source);
  const all: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022, strict: true, noEmit: true, skipLibCheck: false, exactOptionalPropertyTypes: true, types: [], ...options,
  };
  const host = ts.createCompilerHost(all);
  host.getCurrentDirectory = () => dir;
  return ts.getPreEmitDiagnostics(ts.createProgram([file], all, host)).map((d) =>
    `${d.file?.fileName.slice(dir.length) ?? ""}: TS${d.code} ${ts.flattenDiagnosticMessageText(d.messageText, "\n")}`);
}

const { NodeNext, ES2022, Node16 } = ts.ModuleKind;
const { Bundler, Node16: node16, NodeNext: nodeNext } = ts.ModuleResolutionKind;

const anywhere = `
  import { Cartwheel, text, type MapChange } from "@cartwheel/client";
  const db = await Cartwheel.connect(["n1"], { timeoutMs: 5 });
  const perhaps: string | undefined = Math.random() > 2 ? "id" : undefined;
  await db.counter("stock", "7").with({ operationId: perhaps }).add();
  const change: MapChange = { field: "milk", increment: 1n };
  await db.map("carts", "42").with({ signal: AbortSignal.timeout(5) }).update(change, { field: "express", flag: true });
  console.log(text((await db.register("names", "42").get()).value ?? new Uint8Array()));
  const closed: Promise<void> = db[Symbol.asyncDispose]();
  await closed;`;
const inNode = `${anywhere}
  await Cartwheel.connect(["n1"], { http2: { ca: "pem", cert: new Uint8Array(), key: ["pem"], rejectUnauthorized: false, maxSessionMemory: 10 } });`;
const withNodeTypes = `${inNode}
  import type { ClientSessionOptions, SecureClientSessionOptions } from "node:http2";
  declare const plain: ClientSessionOptions;
  declare const secure: SecureClientSessionOptions;
  for (const http2 of [plain, secure]) await Cartwheel.connect(["n1"], { http2 });`;

test.each<[string, string, ts.CompilerOptions]>([
  ["bundler, for a browser", anywhere, { module: ES2022, moduleResolution: Bundler }],
  ["bundler, for Node", inNode, { module: ES2022, moduleResolution: Bundler, customConditions: ["node"] }],
  ["node16", inNode, { module: Node16, moduleResolution: node16 }],
  ["nodenext", inNode, { module: NodeNext, moduleResolution: nodeNext }],
  ["node16, with the types of both", withNodeTypes, { module: Node16, moduleResolution: node16, lib: ["lib.es2022.d.ts", "lib.dom.d.ts"], types: ["node"] }],
])("the types of the package compile without skipLibCheck: %s", async (_, source, options) => {
  expect(await complaints(source, options)).toEqual([]);
});

test("without the types of a browser it is Connect alone that misses some", async () => {
  const found = await complaints(withNodeTypes, { module: Node16, moduleResolution: node16, lib: ["lib.es2022.d.ts"], types: ["node"] });
  expect(found.filter((line) => !line.startsWith("/node_modules/@connectrpc/"))).toEqual([]);
});

test("what the types refuse is refused in the package too", async () => {
  const found = await complaints(`
    import type { MapChange } from "@cartwheel/client";
    export const change: MapChange = { field: "x", increment: 1n, flag: true };`, { module: Node16, moduleResolution: node16 });
  expect(found).toHaveLength(1);
  expect(found[0]).toMatch(/^\/user\.ts: TS2322/);
});
