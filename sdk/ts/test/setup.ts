import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { TestProject } from "vitest/node";

import { build, freeAddresses, startCluster, type Cluster } from "./cluster.js";

declare module "vitest" {
  export interface ProvidedContext {
    /** Of a cluster of three nodes that all tests share: leave it alive. */
    endpoints: string[];
    /** An address at which nobody listens. */
    closed: string;
    /** The node's binary, for tests that need a cluster of their own. */
    binary: string;
  }
}

// Each project sets itself up; they share one build and one cluster.
let shared: Promise<{ dir: string; binary: string; cluster: Cluster }> | undefined;
let users = 0;

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  users++;
  shared ??= (async () => {
    const dir = mkdtempSync(join(tmpdir(), "cartwheel-ts-bin-"));
    const binary = await build(dir);
    return { dir, binary, cluster: await startCluster(binary) };
  })();
  const { dir, binary, cluster } = await shared;
  project.provide("endpoints", [...cluster.endpoints]);
  project.provide("closed", (await freeAddresses(1))[0] as string);
  project.provide("binary", binary);
  return async () => {
    if (--users > 0) return;
    await cluster.stop();
    rmSync(dir, { recursive: true, force: true });
  };
}
