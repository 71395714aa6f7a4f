import { execFile, spawn, type ChildProcess } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createWriteStream, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { Cartwheel } from "../src/node.js";

const run = promisify(execFile);

/** Builds the node into a directory, unless CARTWHEEL_BINARY names one that is built. */
export async function build(into: string): Promise<string> {
  const given = process.env["CARTWHEEL_BINARY"];
  if (given !== undefined) return given;
  const binary = join(into, "cartwheel");
  await run("go", ["build", "-o", binary, "."], { cwd: new URL("../../..", import.meta.url) });
  return binary;
}

/** A node as a process of its own. It keeps its addresses and its directory through deaths. */
export interface Member {
  /** host:port of its API. */
  readonly api: string;
  /** Ends the process at once, as a crash would. */
  kill(): Promise<void>;
  /** Starts it again, with the same data. */
  restart(): Promise<void>;
  /** What it has logged. */
  log(): string;
}

export interface Cluster {
  readonly members: readonly Member[];
  readonly endpoints: readonly string[];
  stop(): Promise<void>;
}

/** Runs nodes as processes, and returns when each knows, and reaches, all others. */
export async function startCluster(binary: string, nodes = 3): Promise<Cluster> {
  const dir = mkdtempSync(join(tmpdir(), "cartwheel-ts-"));
  const file = join(dir, "cluster.yaml");
  await run(binary, ["init", "--file", file]);
  const members: Process[] = [];
  const stop = async () => {
    await Promise.all(members.map((m) => m.kill()));
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const at = await freeAddresses(3 * nodes);
    for (let i = 0; i < nodes; i++) {
      const [api, peer, gossip] = at.slice(3 * i) as [string, string, string];
      const member = new Process(binary, join(dir, `n${i + 1}`), api,
        ["--cluster", file, "--api", api, "--peer", peer, "--gossip", gossip, "--cors-origin", "http://localhost:*"]);
      members.push(member);
      // One joins after the other, as an operator would do it.
      member.start(i === 0 ? [] : ["--join", at[2] as string]);
      await allReady(members);
    }
  } catch (err) {
    const logs = members.map((m) => m.log()).join("\n");
    await stop();
    throw new Error(`starting a cluster:\n${logs}`, { cause: err });
  }
  return { members, endpoints: members.map((m) => m.api), stop };
}

class Process implements Member {
  #process: ChildProcess | undefined;

  constructor(private readonly binary: string, private readonly dir: string, readonly api: string, private readonly args: string[]) {}

  start(more: string[] = []): void {
    const log = createWriteStream(this.dir + ".log", { flags: "a" });
    const child = spawn(this.binary, ["serve", "--data", this.dir, ...this.args, ...more], { stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    this.#process = child;
  }

  async kill(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }

  async restart(): Promise<void> {
    await this.kill();
    this.start();
    await until(`${this.api} serves again`, async () => (await stateOf(this.api)) !== undefined);
  }

  log(): string {
    return readFileSync(this.dir + ".log", "utf8");
  }
}

/** Waits until every node is ready and reaches all others. */
async function allReady(members: readonly Member[]): Promise<void> {
  await until(`${members.length} nodes are ready`, async () => {
    for (const { api } of members) {
      const status = await stateOf(api);
      if (status?.node.state !== "ready") return false;
      if (status.peers.length !== members.length - 1 || status.peers.some((p) => !p.reachable || p.node.state !== "ready")) return false;
    }
    return true;
  });
}

async function stateOf(api: string) {
  try {
    await using db = await Cartwheel.connect([api], { api: "unary", attempts: 1, timeoutMs: 1_000 });
    return await db.cluster().status();
  } catch {
    return undefined;
  }
}

/** Waits for a condition. */
export async function until(what: string, holds: () => Promise<boolean> | boolean, withinMs = 30_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Addresses of this machine whose ports are free for TCP and UDP, all different. */
export async function freeAddresses(count: number): Promise<string[]> {
  const held: { close(): void }[] = [];
  const ports: number[] = [];
  while (ports.length < count) {
    const tcp = createServer().listen(0, "127.0.0.1");
    await once(tcp, "listening");
    held.push(tcp);
    const { port } = tcp.address() as { port: number };
    const udp = createSocket("udp4");
    const free = await new Promise<boolean>((resolve) => {
      udp.once("error", () => resolve(false));
      udp.bind(port, "127.0.0.1", () => resolve(true));
    });
    if (free) {
      held.push(udp);
      ports.push(port);
    }
  }
  for (const socket of held) socket.close();
  return ports.map((port) => `127.0.0.1:${port}`);
}
