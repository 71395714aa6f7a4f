import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createRouterTransport, type Transport } from "@connectrpc/connect";
import { describe, expect, test, vi } from "vitest";

import { SetServiceAddRequestSchema } from "../../src/gen/cartwheel/v1/set_pb.js";
import { CounterService } from "../../src/gen/cartwheel/v1/counter_pb.js";
import { PipelinedCallSchema, PipelineService } from "../../src/gen/cartwheel/v1/pipeline_pb.js";
import { CartwheelError, type Cartwheel } from "../../src/node.js";
import { pipelined, replyCases, sizeOf } from "../../src/pipeline.js";
import { Fake, refusal, silence } from "./fake.js";

test("a reply has the name of its call", () => {
  const calls = PipelinedCallSchema.oneofs.flatMap((oneof) => oneof.fields.map((f) => f.localName));
  expect(replyCases.filter((name) => name !== "failure")).toEqual(calls);
});

test("what is taken for the size of a message is never less than it is", () => {
  for (const members of [[], [{ member: "milk" }], [{ member: "🛒日本".repeat(99), note: new Uint8Array(70_000), expiresAtMs: 2n ** 63n }]]) {
    const request = create(SetServiceAddRequestSchema, { bucket: "carts", key: "ü", members, options: { w: 3, stamp: 2n ** 64n - 1n, session: { tokens: ["x".repeat(99)] } } });
    expect(sizeOf(request)).toBeGreaterThanOrEqual(toBinary(SetServiceAddRequestSchema, request).length);
  }
});

const many = (db: Cartwheel, count: number) => Promise.all(Array.from({ length: count }, (_, i) => db.counter("stock", String(i)).get()));

describe.each(["batch", "stream"] as const)("%s", (api) => {
  test("calls made in one turn go together, and each gets its own reply", async () => {
    const cluster = new Fake();
    const db = await cluster.connect(["n1"], { api });
    cluster.script = ({ request }) => ({ value: BigInt((request as { key: string }).key) });
    expect(await many(db, 64)).toEqual(Array.from({ length: 64 }, (_, i) => BigInt(i)));
    expect(cluster.messages).toEqual([64]);
  });

  test("a message carries at most 1,000 calls", async () => {
    const cluster = new Fake();
    const db = await cluster.connect(["n1"], { api });
    await many(db, 2_500);
    expect(cluster.messages).toEqual([1_000, 1_000, 500]);
  });

  test("a message carries at most 3.5 MiB, and what is large goes alone", async () => {
    const cluster = new Fake();
    const db = await cluster.connect(["n1"], { api });
    await Promise.all(Array.from({ length: 20 }, (_, i) => db.blob("notes", String(i)).put(new Uint8Array(200 * 1024))));
    expect(cluster.messages.length).toBe(2);
    expect(Math.max(...cluster.messages)).toBe(17);
    cluster.messages.length = 0;
    await db.blob("notes", "large").put(new Uint8Array(1024 * 1024));
    expect(cluster.messages).toEqual([]);
    expect(cluster.of("blob.put")).toHaveLength(21);
  });

  test("a failure is that of a call of its own, and nobody else's", async () => {
    const cluster = new Fake();
    const unary = await cluster.connect(["n1"], { api: "unary" });
    const db = await cluster.connect(["n1"], { api });
    cluster.script = ({ request }) => {
      if ((request as { key: string }).key !== "1") return { value: 7n };
      throw refusal(Code.InvalidArgument, "TOO_LARGE", { limit: 64n, actual: 65n, operation: "counter.get" });
    };
    const [ok, failed, alone] = await Promise.allSettled([
      db.counter("stock", "0").get(), db.counter("stock", "1").get(), unary.counter("stock", "1").get(),
    ]);
    expect(ok).toMatchObject({ status: "fulfilled", value: 7n });
    const { cause: _, ...error } = (alone as PromiseRejectedResult).reason as CartwheelError;
    expect((failed as PromiseRejectedResult).reason).toMatchObject({ ...error, limit: 64, actual: 65 });
  });

  test("an overloaded node's wish to be left alone comes through", async () => {
    const cluster = new Fake();
    const db = await cluster.connect(["n1", "n2"], { api });
    cluster.script = ({ nth }) => {
      if (nth <= 2) throw refusal(Code.ResourceExhausted, "OVERLOADED", {}, { "Grpc-Retry-Pushback-Ms": "150" });
    };
    const began = performance.now();
    await many(db, 2);
    expect(performance.now() - began).toBeGreaterThan(145);
    expect(db.stats()).toMatchObject({ retries: 2, failovers: 2 });
  });

  test("a node that trips over one call is not asked for it again, as with a call of its own", async () => {
    const cluster = new Fake();
    const db = await cluster.connect(["n1", "n2"], { api });
    cluster.script = () => {
      throw new ConnectError("panic", Code.Internal);
    };
    await expect(db.counter("stock", "1").add()).rejects.toMatchObject({ reason: "REFUSED", attempts: 1, outcomeUnknown: true });
  });

  test("a slow call does not hold up those that come after it", async () => {
    const cluster = new Fake();
    const db = await cluster.connect(["n1"], { api });
    cluster.script = ({ request, signal }) => ((request as { key: string }).key === "slow" ? silence(signal) : { value: 1n });
    const controller = new AbortController();
    const slow = db.counter("stock", "slow").with({ signal: controller.signal }).get();
    await vi.waitFor(() => expect(cluster.of("counter.get")).toHaveLength(1));
    for (let i = 0; i < 20; i++) expect(await db.counter("stock", "quick").get()).toBe(1n);
    controller.abort();
    await expect(slow).rejects.toMatchObject({ reason: "CANCELED" });
  });

  test("each call has its own deadline and its own signal, which the node is told of", async () => {
    const cluster = new Fake();
    const db = await cluster.connect(["n1"], { api, attemptTimeoutMs: 200 });
    let release = () => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    cluster.script = ({ request, signal }) => {
      const key = (request as { key: string }).key;
      if (key === "quick") return { value: 1n };
      return key === "later" ? held.then(() => ({ value: 2n })) : silence(signal);
    };
    const controller = new AbortController();
    const later = db.counter("stock", "later").get();
    const calls = Promise.allSettled([
      db.counter("stock", "never").with({ timeoutMs: 40 }).get(),
      db.counter("stock", "called off").with({ signal: controller.signal }).get(),
    ]);
    await vi.waitFor(() => expect(cluster.of("counter.get")).toHaveLength(3));
    controller.abort();
    expect(await calls).toMatchObject([{ reason: { reason: "DEADLINE_PAST" } }, { reason: { reason: "CANCELED" } }]);
    release();
    expect(await later).toBe(2n);
    if (api === "stream") await vi.waitFor(() => expect(cluster.canceled).toHaveLength(2));
  });

  test("a call that nobody waits for any more is not sent", async () => {
    const cluster = new Fake();
    const { transport } = pipelined({ transport: cluster.transport("http://n1"), close: () => undefined }, api);
    const get = (key: string, signal?: AbortSignal) =>
      transport.unary(CounterService.method.get, signal, undefined, undefined, { bucket: "stock", key }, undefined);
    const controller = new AbortController();
    const calls = [get("1"), get("2", controller.signal), get("3", AbortSignal.abort())];
    controller.abort(); // it has been handed over, and waits for its message
    const [first, second, third] = await Promise.allSettled(calls);
    expect(first?.status).toBe("fulfilled");
    for (const call of [second, third]) expect((call as PromiseRejectedResult).reason).toMatchObject({ code: Code.Canceled });
    expect(cluster.messages).toEqual([1]);
  });

  test("when the connection is refused all of its calls go elsewhere, and none may have happened", async () => {
    const cluster = new Fake();
    const db = await cluster.connect(["n1", "n2"], { api });
    cluster.down.add("n1");
    await many(db, 50);
    expect(cluster.asked.filter((a) => a.op !== "cluster.status").map((a) => a.node)).toEqual(Array.from({ length: 50 }, () => "n2"));
    cluster.down.clear();
    const lone = await cluster.connect(["n1"], { api });
    cluster.down.add("n1");
    await expect(lone.counter("stock", "1").with({ timeoutMs: 40 }).add()).rejects.toMatchObject({ reason: "UNREACHABLE", outcomeUnknown: false });
    cluster.down.clear();
    expect(await lone.counter("stock", "1").get()).toBe(0n);
  });

  test("when the connection breaks nobody knows what became of its calls, and they go elsewhere under the same ids", async () => {
    const cluster = new Fake();
    const broken = new Set<AbortController>();
    const breaking = (url: string): Transport => {
      const inside = cluster.transport(url);
      const cut = (signal: AbortSignal | undefined) => {
        const controller = new AbortController();
        broken.add(controller);
        signal?.addEventListener("abort", () => controller.abort(signal.reason));
        return controller.signal;
      };
      return {
        unary: (method, signal, ...rest) => inside.unary(method, cut(signal), ...rest),
        stream: (method, signal, ...rest) => inside.stream(method, cut(signal), ...rest),
      };
    };
    const db = await cluster.connect(["n1", "n2"], { api, transport: breaking });
    cluster.script = ({ node, signal }) => (node === "n1" ? silence(signal) : { value: 1n });
    const calls = Promise.all([db.counter("stock", "1").add(), db.counter("stock", "2").add()]);
    await vi.waitFor(() => expect(cluster.of("counter.add")).toHaveLength(2));
    for (const controller of broken) controller.abort(new ConnectError("connection reset", Code.Aborted));
    expect(await calls).toEqual([1n, 1n]);
    const ids = cluster.of("counter.add").map((a) => (a.request as { options: { operationId: string } }).options.operationId);
    expect(new Set(ids).size).toBe(2);
    expect(ids).toHaveLength(4);
  });

  test("a node that is older than pipelines is called in the old way", async () => {
    const cluster = new Fake();
    const db = await cluster.connect(["n1"], {
      api,
      transport: (url) => {
        const inside = cluster.transport(url);
        const unimplemented = createRouterTransport(() => undefined);
        return {
          unary: (method, ...rest) => (method.parent === PipelineService ? unimplemented : inside).unary(method, ...rest),
          stream: (method, ...rest) => (method.parent === PipelineService ? unimplemented : inside).stream(method, ...rest),
        };
      },
    });
    expect(await many(db, 3)).toEqual([0n, 0n, 0n]);
    expect(db.stats()).toMatchObject({ retries: 0 });
  });

  test("closing ends the calls that are under way", async () => {
    const cluster = new Fake();
    const db = await cluster.connect(["n1"], { api, timeoutMs: 200 });
    cluster.script = ({ signal }) => silence(signal);
    const call = db.counter("stock", "1").with({ timeoutMs: 100 }).get();
    await vi.waitFor(() => expect(cluster.of("counter.get")).toHaveLength(1));
    db.close();
    await expect(call).rejects.toBeInstanceOf(CartwheelError);
  });
});

test("while as many batches are under way as may be, the next one fills", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"], { api: "batch" });
  const held: (() => void)[] = [];
  cluster.script = () => new Promise<void>((resolve) => held.push(resolve));
  const calls: Promise<unknown>[] = [];
  for (let i = 0; i < 10; i++) {
    calls.push(db.counter("stock", String(i)).get());
    await new Promise((resolve) => setTimeout(resolve)); // a turn of its own
  }
  expect(cluster.messages).toEqual([1, 1, 1, 1]);
  held.shift()?.();
  await vi.waitFor(() => expect(cluster.messages).toEqual([1, 1, 1, 1, 6]));
  for (let release = held.shift(); release !== undefined; release = held.shift()) release();
  await vi.waitFor(() => {
    for (let release = held.shift(); release !== undefined; release = held.shift()) release();
    return Promise.all(calls);
  });
});

test("a stream on which nothing is under way ends, and the next call opens another", async () => {
  const cluster = new Fake();
  let streams = 0;
  const db = await cluster.connect(["n1"], {
    api: "stream",
    transport: (url) => {
      const inside = cluster.transport(url);
      return {
        unary: inside.unary.bind(inside),
        stream: (...args) => {
          streams++;
          return inside.stream(...args);
        },
      };
    },
  });
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  await db.counter("stock", "1").get();
  await db.counter("stock", "1").get();
  expect(streams).toBe(1);
  await vi.advanceTimersByTimeAsync(1_100);
  await db.counter("stock", "1").get();
  expect(streams).toBe(2);
  vi.useRealTimers();
});
