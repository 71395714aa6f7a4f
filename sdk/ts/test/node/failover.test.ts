import { once } from "node:events";
import { createServer } from "node:net";

import { Cartwheel, CartwheelError, type ConnectOptions } from "@cartwheel/client";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";

import { startCluster, until, type Cluster } from "../cluster.js";

// A cluster of its own, whose nodes die.
let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster(inject("binary"));
});
afterAll(() => cluster.stop());

describe.each(["unary", "batch", "stream"] as const)("%s", (api) => {
  const connect = (options: ConnectOptions = {}) => Cartwheel.connect(cluster.endpoints, { api, ...options });

  test("increments count once each while a node is killed and comes back", async () => {
    await using db = await connect({ rotate: true, timeoutMs: 20_000 });
    const stock = db.counter("failover", crypto.randomUUID());
    const [victim] = cluster.members;
    let added = 0n;
    let stop = false;
    const callers = Array.from({ length: 8 }, async () => {
      while (!stop) {
        await stock.add(1n);
        added++;
      }
    });
    const progress = async (by: bigint) => {
      const from = added;
      await until(`${by} more increments`, () => added >= from + by);
    };
    await progress(100n);
    await victim?.kill();
    await progress(200n);
    await victim?.restart();
    await progress(100n);
    stop = true;
    await Promise.all(callers);
    expect(await stock.get()).toBe(added);
    expect(db.stats()).toMatchObject({ failures: 0, unknownOutcomes: 0 });
    expect(db.stats().failovers).toBeGreaterThan(0);
  });

  test("a client whose first node is dead connects to the next, and reads what it wrote", async () => {
    const [victim] = cluster.members;
    await victim?.kill();
    try {
      await using db = await connect();
      const cart = db.set("failover", crypto.randomUUID());
      await cart.add("milk");
      expect(await cart.contains("milk")).toBe(true);
    } finally {
      await victim?.restart();
    }
  });

  test("with one node of three left a write of two copies is refused, with numbers, and one of one copy is not", async () => {
    const [first, second, third] = cluster.members;
    await using db = await Cartwheel.connect([first?.api ?? ""], { api, timeoutMs: 1_000 });
    const stock = db.counter("failover", crypto.randomUUID());
    await Promise.all([second?.kill(), third?.kill()]);
    try {
      const err = await stock.add(1n).catch((e: unknown) => e);
      expect(err).toBeInstanceOf(CartwheelError);
      expect(err).toMatchObject({ op: "counter.add", bucket: "failover", reason: "QUORUM_NOT_REACHED", needed: 2, answered: 1 });
      expect(await db.register("failover", crypto.randomUUID()).with({ w: 1 }).set("x")).not.toBe("");
    } finally {
      await Promise.all([second?.restart(), third?.restart()]);
    }
  });
});

test("a node that takes connections and says nothing costs one attempt's time", async () => {
  const silent = createServer(() => {}).listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as { port: number };
  try {
    for (const api of ["unary", "batch", "stream"] as const) {
      await using db = await Cartwheel.connect([`127.0.0.1:${port}`, ...inject("endpoints")], { api, attemptTimeoutMs: 200, rotate: true });
      const stock = db.counter("failover", crypto.randomUUID());
      for (let i = 0; i < 4; i++) await stock.add(1n);
      expect(await stock.get()).toBe(4n);
      expect(db.stats().failures).toBe(0);
    }
  } finally {
    silent.close();
  }
});
