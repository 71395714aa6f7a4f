import type { Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { Cartwheel, CartwheelError, type Api } from "@cartwheel/client";
import { expect, inject, test } from "vitest";

/** A client of a real node, and what it asks of its transport. */
async function counted(api: Api): Promise<{ db: Cartwheel; asked: Record<string, number> }> {
  const asked: Record<string, number> = {};
  const count = (name: string) => (asked[name] = (asked[name] ?? 0) + 1);
  const transport = (baseUrl: string): Transport => {
    const inside = createConnectTransport({ baseUrl, httpVersion: "2" });
    return {
      unary: (method, ...rest) => {
        count(`${method.parent.name}.${method.name}`);
        return inside.unary(method, ...rest);
      },
      stream: (method, ...rest) => {
        count(`${method.parent.name}.${method.name}`);
        return inside.stream(method, ...rest);
      },
    };
  };
  return { db: await Cartwheel.connect(inject("endpoints"), { api, transport }), asked };
}

test.each<[Api, Record<string, number>]>([
  ["unary", { "ClusterService.Status": 1, "CounterService.Add": 20, "CounterService.Get": 1 }],
  ["batch", { "ClusterService.Status": 1, "PipelineService.Batch": 2 }],
  ["stream", { "ClusterService.Status": 1, "PipelineService.Stream": 1 }],
])("what travels by %s is what should, against a real node", async (api, want) => {
  const { db, asked } = await counted(api);
  const stock = db.counter("pipeline", crypto.randomUUID());
  await Promise.all(Array.from({ length: 20 }, () => stock.add(1n)));
  expect(await stock.get()).toBe(20n);
  expect(asked).toEqual(want);
  db.close();
});

test("an error is the same, in whatever way its call travels", async () => {
  const key = crypto.randomUUID();
  const mistakes: ((db: Cartwheel) => Promise<unknown>)[] = [
    (db) => db.set("pipeline", key).add("m".repeat(4_097)),
    (db) => db.set("", key).add("milk"),
    (db) => db.set("pipeline", key).removeWith("AAAA", "milk"),
    (db) => db.set("pipeline", key).page({ cursor: "AAAA" }),
    (db) => db.counter("pipeline", key).with({ w: 4 }).add(1n),
    (db) => db.counter("pipeline", key).with({ operationId: "mine" }).add(1n),
    (db) => db.map("pipeline", key).update({ field: "a", increment: 0 }),
    (db) => db.blob("pipeline", key).put(new Uint8Array(1024 * 1024 + 1)),
    (db) => db.set("pipeline", key).addMembers(...Array.from({ length: 6 }, (_, i) => ({ member: `m${i}`, note: new Uint8Array(1024 * 1024) }))),
  ];
  const clients = await Promise.all((["unary", "batch", "stream"] as const).map((api) => counted(api)));
  for (const make of mistakes) {
    const errors = await Promise.all(clients.map(async ({ db }) => {
      const err = await make(db).then(() => undefined, (e: unknown) => e);
      expect(err, make.toString()).toBeInstanceOf(CartwheelError);
      const { message, cause: _, operationId: __, ...rest } = err as CartwheelError;
      return { message, ...rest };
    }));
    expect(errors[1]).toEqual(errors[0]);
    expect(errors[2]).toEqual(errors[0]);
  }
  for (const { db } of clients) db.close();
});

test("a call that is called off on a stream leaves the others alone, and the stream in use", async () => {
  const { db, asked } = await counted("stream");
  const stock = db.counter("pipeline", crypto.randomUUID());
  for (let round = 0; round < 20; round++) {
    const controller = new AbortController();
    const calls = Promise.allSettled(Array.from({ length: 10 }, (_, i) => (i % 2 === 0 ? stock : stock.with({ signal: controller.signal })).get()));
    if (round % 2 === 0) await new Promise((resolve) => setTimeout(resolve)); // some are on their way
    controller.abort();
    for (const [i, call] of (await calls).entries()) if (i % 2 === 0) expect(call).toEqual({ status: "fulfilled", value: 0n });
  }
  expect(asked).toEqual({ "ClusterService.Status": 1, "PipelineService.Stream": 1 });
  db.close();
});

test("large values come and go beside small ones", async () => {
  for (const api of ["batch", "stream"] as const) {
    const { db } = await counted(api);
    const large = crypto.getRandomValues(new Uint8Array(60_000));
    const keys = Array.from({ length: 60 }, () => crypto.randomUUID());
    await Promise.all(keys.map((key, i) => db.register("pipeline", key).set(i % 2 === 0 ? large : "small")));
    const values = await Promise.all(keys.map((key) => db.register("pipeline", key).get()));
    for (const [i, { value }] of values.entries()) expect(value?.length).toBe(i % 2 === 0 ? large.length : 5);
    db.close();
  }
});
