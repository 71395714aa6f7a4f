import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import ts from "typescript";
import { expect, inject, test } from "vitest";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");

/** The blocks of a language. */
function blocks(language: string): string[] {
  return [...readme.matchAll(new RegExp("^```" + language + "\n(.*?)^```$", "gms"))].map((m) => m[1] as string);
}

// As a stranger would: against the package as it is built, by its own name.
test("the first session of the README runs as it stands, and prints what it says", async () => {
  await run("npm", ["run", "build", "--silent"], { cwd: root });
  const [session = ""] = blocks("js");
  const [output] = blocks("text");
  const endpoints = inject("endpoints");
  const here = session.replace(/127\.0\.0\.1:740(\d)/g, (_, n) => endpoints[Number(n) - 1] as string);
  expect(here).not.toBe(session);
  const file = `${root}dist/first-session.mjs`;
  await writeFile(file, here);
  try {
    const { stdout, stderr } = await run(process.execPath, [file], { cwd: root, timeout: 20_000 });
    expect({ stdout, stderr }).toEqual({ stdout: output, stderr: "" });
  } finally {
    await rm(file);
  }
});

test("a process that does not close its client exits all the same", async () => {
  const file = `${root}dist/not-closed.mjs`;
  await writeFile(file, `
    import { Cartwheel } from "@cartwheel/client";
    const db = await Cartwheel.connect(${JSON.stringify(inject("endpoints"))});
    await db.counter("likes", "not-closed").add();
    console.log("done");`);
  try {
    const { stdout } = await run(process.execPath, [file], { cwd: root, timeout: 20_000 });
    expect(stdout).toBe("done\n");
  } finally {
    await rm(file);
  }
});

test("what else the README shows is TypeScript that compiles", () => {
  const shown = blocks("ts").map((block) => `{\n${block}\n}`).join("\n");
  const source = `import { Cartwheel, CartwheelError, isReason } from "../src/node.js";\ndeclare const db: Cartwheel;\n${shown}\nexport {};\n`;
  const name = `${root}test/readme-blocks.ts`;
  const { options } = ts.parseJsonConfigFileContent(ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile).config, ts.sys, root);
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  host.getSourceFile = (file, ...rest) => (file === name ? ts.createSourceFile(file, source, ts.ScriptTarget.ES2022) : getSourceFile.call(host, file, ...rest));
  host.fileExists = (file) => file === name || fileExists.call(host, file);
  host.readFile = (file) => (file === name ? source : readFile.call(host, file));
  const found = ts.getPreEmitDiagnostics(ts.createProgram([name], options, host));
  expect(found.map((d) => ts.flattenDiagnosticMessageText(d.messageText, "\n"))).toEqual([]);
  expect(blocks("ts").length).toBeGreaterThan(1);
});
