import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, expect, test, vi } from "vitest";

import { CartwheelError, isReason } from "../../src/node.js";
import { Fake, refusal, silence, type Asked } from "./fake.js";

afterEach(() => vi.useRealTimers());

const failure = async (promise: Promise<unknown>): Promise<CartwheelError> => {
  const err = await promise.then(() => undefined, (e: unknown) => e);
  expect(err).toBeInstanceOf(CartwheelError);
  return err as CartwheelError;
};
const operations = (asked: Asked[]) => asked.map((a) => (a.request as { options: { operationId: string } }).options.operationId);

test("a mutation that got no answer is tried at the next endpoint under the same id", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1", "n2", "n3"]);
  cluster.script = ({ node }) => {
    if (node !== "n3") throw new ConnectError("reset", Code.Aborted);
    return { value: 5n };
  };
  expect(await db.counter("stock", "1").add(5)).toBe(5n);
  const asked = cluster.of("counter.add");
  expect(asked.map((a) => a.node)).toEqual(["n1", "n2", "n3"]);
  expect(new Set(operations(asked)).size).toBe(1);
  expect(operations(asked)[0]).toMatch(/^[0-9a-f]{32}-1-17000000000\d\d$/);
  expect(db.stats()).toMatchObject({ operations: 2, attempts: 4, retries: 2, retriedOperations: 1, failovers: 2, failures: 0 });
});

test("two operations never have the same id", async () => {
  const cluster = new Fake();
  const [a, b] = [await cluster.connect(["n1"]), await cluster.connect(["n1"])];
  await Promise.all([a, b, a, b].map((db) => db.counter("stock", "1").add()));
  expect(new Set(operations(cluster.of("counter.add"))).size).toBe(4);
});

test("an endpoint that failed is asked last until it has cooled down", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1", "n2"], { rotate: true, cooldownMs: 200 });
  const stock = db.counter("stock", "1");
  let down = true;
  cluster.script = ({ node }) => {
    if (down && node === "n1") throw new ConnectError("reset", Code.Aborted);
  };
  for (let i = 0; i < 6; i++) await stock.get();
  expect(cluster.of("counter.get").filter((a) => a.node === "n1")).toHaveLength(1);
  down = false;
  await expect.poll(async () => {
    await stock.get();
    return cluster.of("counter.get").at(-1)?.node;
  }).toBe("n1");
});

test("an endpoint that answers has cooled down", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1", "n2"], { rotate: true, cooldownMs: 60_000 });
  cluster.script = ({ nth }) => {
    if (nth <= 2) throw new ConnectError("reset", Code.Aborted);
  };
  for (let i = 0; i < 5; i++) await db.counter("stock", "1").get();
  const [first, second, ...rest] = cluster.of("counter.get").map((a) => a.node);
  expect(first).not.toBe(second);
  expect(new Set(rest).size).toBe(1);
});

test("without rotation calls stay with the endpoint that answers", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1", "n2"]);
  cluster.script = ({ node, nth }) => {
    if (node === "n1" && nth === 1) throw new ConnectError("reset", Code.Aborted);
  };
  for (let i = 0; i < 4; i++) await db.counter("stock", "1").get();
  expect(cluster.of("counter.get").map((a) => a.node)).toEqual(["n1", "n2", "n2", "n2", "n2"]);
});

test("what a node refuses for good is not tried again, and nothing happened", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1", "n2"]);
  cluster.script = () => {
    throw refusal(Code.InvalidArgument, "TOO_LARGE", { limit: 64n, actual: 65n });
  };
  const err = await failure(db.set("carts", "42").add("milk"));
  expect(err).toMatchObject({ op: "set.add", bucket: "carts", key: "42", reason: "TOO_LARGE", limit: 64, actual: 65, attempts: 1, outcomeUnknown: false });
  expect(err.message).toBe("set.add carts/42: TOO_LARGE, limit 64, got 65: TOO_LARGE");
});

test("an error tells operation, key and numbers, and that nobody knows the outcome", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1", "n2"], { timeoutMs: 60 });
  cluster.script = () => {
    throw refusal(Code.Unavailable, "QUORUM_NOT_REACHED", { needed: 2, answered: 1, outcomeUnknown: true });
  };
  const err = await failure(db.counter("stock", "1").add(1));
  expect(err.message).toMatch(/^counter\.add stock\/1: QUORUM_NOT_REACHED, needed 2, got 1; outcome unknown; tried \d+ times: /);
  expect(isReason(err, "QUORUM_NOT_REACHED", "UNREACHABLE")).toBe(true);
  expect(err).toMatchObject({ outcomeUnknown: true, needed: 2, answered: 1 });
  expect(err.operationId).toBe(operations(cluster.of("counter.add"))[0]);
  expect(db.stats()).toMatchObject({ failures: 1, unknownOutcomes: 1 });
});

test("of a read, and of what was never sent, the outcome is known", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"], { timeoutMs: 40 });
  cluster.script = () => {
    throw new ConnectError("reset", Code.Aborted);
  };
  expect(await failure(db.counter("stock", "1").get())).toMatchObject({ reason: "UNREACHABLE", outcomeUnknown: false, operationId: undefined });
  cluster.down.add("n1");
  expect(await failure(db.counter("stock", "1").add())).toMatchObject({ reason: "UNREACHABLE", outcomeUnknown: false });
});

test("silence until the deadline is told as such, unless a node had said more", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1", "n2"], { attemptTimeoutMs: 30, timeoutMs: 100 });
  cluster.script = ({ signal }) => silence(signal);
  expect(await failure(db.counter("stock", "1").add())).toMatchObject({ reason: "DEADLINE_PAST", outcomeUnknown: true });
  cluster.script = ({ node, signal }) => {
    if (node === "n1") throw refusal(Code.Unavailable, "QUORUM_NOT_REACHED", { needed: 2, answered: 0 });
    return silence(signal);
  };
  expect(await failure(db.counter("stock", "1").add())).toMatchObject({ reason: "QUORUM_NOT_REACHED", outcomeUnknown: true });
});

test("silence explains less than any word that was heard before it", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1", "n2"], { attemptTimeoutMs: 30, timeoutMs: 100 });
  cluster.script = ({ nth, signal }) => {
    if (nth === 1) throw new ConnectError("reset", Code.Aborted);
    return silence(signal);
  };
  const err = await failure(db.counter("stock", "1").get());
  expect(err.reason).toBe("UNREACHABLE");
  expect(err.message).toMatch(/: reset$/);
});

test("each call may have less time than the client gives it", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  cluster.script = ({ signal }) => silence(signal);
  const began = performance.now();
  expect(await failure(db.counter("stock", "1").with({ timeoutMs: 50 }).get())).toMatchObject({ reason: "DEADLINE_PAST" });
  expect(performance.now() - began).toBeLessThan(1_500);
});

test("an aborted signal ends a call at once, under way or between attempts", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  for (const script of [
    ({ signal }: Asked) => silence(signal),
    () => {
      throw new ConnectError("reset", Code.Aborted);
    },
  ]) {
    cluster.script = script;
    const controller = new AbortController();
    const call = failure(db.counter("stock", "1").with({ signal: controller.signal }).add());
    await vi.waitFor(() => expect(cluster.of("counter.add").length).toBeGreaterThan(0));
    controller.abort();
    expect(await call).toMatchObject({ reason: "CANCELED", outcomeUnknown: true });
    cluster.asked.length = 0;
    expect(await failure(db.counter("stock", "1").with({ signal: controller.signal }).add())).toMatchObject({ reason: "CANCELED", attempts: 0, outcomeUnknown: false });
    expect(cluster.asked).toEqual([]);
  }
});

test("a signal that is a timeout is a deadline", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  cluster.script = ({ signal }) => silence(signal);
  expect(await failure(db.counter("stock", "1").with({ signal: AbortSignal.timeout(30) }).get())).toMatchObject({ reason: "DEADLINE_PAST" });
});

test("a client of one attempt makes one", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1", "n2"], { attempts: 1 });
  cluster.down.add("n1");
  expect(await failure(db.counter("stock", "1").add())).toMatchObject({ reason: "UNREACHABLE", attempts: 1 });
});

test("an overloaded node is left alone for as long as it asks, and then another is asked", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1", "n2"]);
  cluster.script = ({ nth }) => {
    if (nth === 1) throw refusal(Code.ResourceExhausted, "OVERLOADED", {}, { "Grpc-Retry-Pushback-Ms": "150" });
  };
  const began = performance.now();
  await db.counter("stock", "1").add();
  expect(performance.now() - began).toBeGreaterThan(145);
  expect(cluster.of("counter.add").map((a) => a.node)).toEqual(["n1", "n2"]);
});

test("a call that cannot outlive the wait fails at once as overloaded, with nothing done", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  cluster.script = () => {
    throw refusal(Code.ResourceExhausted, "OVERLOADED", {}, { "Grpc-Retry-Pushback-Ms": "1500" });
  };
  const began = performance.now();
  expect(await failure(db.counter("stock", "1").with({ timeoutMs: 1_000 }).add())).toMatchObject({ reason: "OVERLOADED", attempts: 1, outcomeUnknown: false });
  expect(performance.now() - began).toBeLessThan(900);
});

test("everybody is asked once for something fresher, and the best is told", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1", "n2"]);
  cluster.script = () => {
    throw refusal(Code.FailedPrecondition, "TOO_STALE", { limit: 5n, actual: 70n, staleness: { boundMs: 70n, unreachable: ["n3"] } });
  };
  const err = await failure(db.counter("stock", "1").with({ maxStalenessMs: 5.9 }).get());
  expect(err).toMatchObject({ reason: "TOO_STALE", attempts: 2, staleness: { boundMs: 70, reachableBoundMs: undefined, unreachable: ["n3"] } });
  expect(err.message).toContain("asked for at most 5 ms, the best is at most 70 ms behind (but for n3, which cannot be reached)");
  expect(cluster.of("counter.get").map((a) => (a.request as { options: { maxStalenessMs: bigint } }).options.maxStalenessMs)).toEqual([5n, 5n]);
});

test("an id of the client's own making that is refused as too old is replaced once, under a clock asked anew", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  cluster.script = ({ op, nth }) => {
    if (op === "counter.add" && nth === 1) throw refusal(Code.FailedPrecondition, "OPERATION_EXPIRED");
  };
  cluster.time += 3_600_000;
  await db.counter("stock", "1").add();
  const [first, second] = operations(cluster.of("counter.add"));
  expect(first).toMatch(/-1-17000000000\d\d$/);
  expect(second).toMatch(/-2-17000036000\d\d$/);
});

test("one that was given, or may have been seen before, is not replaced", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  cluster.script = ({ op }) => {
    if (op === "counter.add") throw refusal(Code.FailedPrecondition, "OPERATION_EXPIRED");
  };
  const given = `${"0".repeat(32)}-1-1`;
  expect(await failure(db.counter("stock", "1").with({ operationId: given }).add()))
    .toMatchObject({ reason: "OPERATION_EXPIRED", operationId: given, outcomeUnknown: true, attempts: 1 });
  cluster.script = ({ op, nth }) => {
    if (op !== "counter.add") return;
    throw nth === 2 ? new ConnectError("reset", Code.Aborted) : refusal(Code.FailedPrecondition, "OPERATION_EXPIRED");
  };
  expect(await failure(db.counter("stock", "1").add())).toMatchObject({ reason: "OPERATION_EXPIRED", attempts: 2, outcomeUnknown: true });
});

test("the clock of the server is asked for again after three minutes", async () => {
  vi.useFakeTimers({ toFake: ["performance", "Date"] });
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  const issued = () => Number(operations(cluster.of("counter.add")).at(-1)?.split("-")[2]);
  vi.advanceTimersByTime(179_000);
  await db.counter("stock", "1").add();
  expect(cluster.of("cluster.status")).toHaveLength(1);
  expect(issued()).toBe(1_700_000_179_000);
  cluster.time += 200_000; // it is not the time that passed here
  vi.advanceTimersByTime(2_000);
  await Promise.all([db.counter("stock", "1").add(), db.counter("stock", "1").add()]);
  expect(cluster.of("cluster.status")).toHaveLength(2);
  expect(issued()).toBe(1_700_000_200_000);
  expect(db.serverTime().getTime()).toBe(1_700_000_200_000);
});

test("the highest stamp that was seen goes along with every request", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  const stamps: bigint[] = [];
  cluster.script = ({ request, nth }) => {
    stamps.push((request as { options: { stamp: bigint } }).options.stamp);
    return { info: { stamp: nth === 1 ? 900n : 7n } };
  };
  for (let i = 0; i < 3; i++) await db.register("notes", "1").set("x");
  expect(stamps).toEqual([0n, 900n, 900n]);
});

test("what no protocol can carry is refused before anything is sent", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  expect(await failure(db.set("carts", "\ud800").add("milk"))).toMatchObject({ reason: "INVALID_NAME", attempts: 0 });
  expect(await failure(db.set("carts", "42").add("\udc00"))).toMatchObject({ reason: "INVALID_NAME" });
  expect(await failure(db.map("carts", "42").update({ field: "\ud800", flag: true }))).toMatchObject({ reason: "INVALID_NAME" });
  expect(await failure(db.counter("stock", "1").add(2n ** 63n))).toMatchObject({ reason: "INVALID_OPTION", op: "counter.add" });
  expect(await failure(db.counter("stock", "1").add(0.5))).toMatchObject({ reason: "INVALID_OPTION" });
  expect(cluster.asked.filter((a) => a.op !== "cluster.status")).toEqual([]);
  await db.set("carts", "42").add("🛒"); // a whole pair is a character
});

test("connecting needs one endpoint that answers, and a list of them that is one", async () => {
  const cluster = new Fake();
  cluster.down.add("n1");
  await cluster.connect(["n1", "n2"]);
  expect(await failure(cluster.connect(["n1"], { timeoutMs: 30 }))).toMatchObject({ op: "connect", reason: "UNREACHABLE" });
  await expect(cluster.connect([])).rejects.toThrow("no endpoints");
  await expect(cluster.connect(["ftp://n1"])).rejects.toThrow('endpoint 1 of 1 is "ftp://n1", and not');
});

test("a reply that leaves out members is not believed", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1", "n2"]);
  cluster.script = ({ node }) => ({ contains: node === "n1" ? [true] : [true, false] });
  expect(await db.set("carts", "42").containsEach("a", "b")).toMatchObject({ found: [true, false] });
});

test("an update of a blob that ends with siblings says so, and that its value is stored", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"], { timeoutMs: 120 });
  cluster.script = ({ op, signal }) => (op === "blob.get" && cluster.of("blob.put").length > 0 ? silence(signal) : undefined);
  expect(await failure(db.blob("notes", "1").update(() => "x"))).toMatchObject({ op: "blob.update", reason: "SIBLINGS_LEFT" });
  cluster.script = () => undefined;
  await expect(db.blob("notes", "1").update(() => Promise.reject(new Error("mine")))).rejects.toThrow(/^mine$/);
});

test("every attempt is shown to who observes", async () => {
  const cluster = new Fake();
  const seen: string[] = [];
  const db = await cluster.connect(["n1", "n2"], { onAttempt: (a) => seen.push(`${a.op} ${a.number} ${a.endpoint} ${a.error?.message ?? "ok"}`) });
  cluster.script = ({ nth }) => {
    if (nth === 1) throw new ConnectError("reset", Code.Aborted);
  };
  await db.counter("stock", "1").add();
  expect(seen).toEqual(["cluster.status 1 http://n1 ok", "counter.add 1 http://n1 [aborted] reset", "counter.add 2 http://n2 ok"]);
});

test("a client that was closed asks nobody any more, for calls under way neither", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1", "n2"]);
  cluster.script = () => {
    db.close();
    throw new ConnectError("reset", Code.Aborted);
  };
  const err = await failure(db.counter("stock", "1").add());
  expect([err.reason, err.outcomeUnknown, err.attempts]).toEqual(["CANCELED", true, 1]);
  const later = await failure(db.counter("stock", "1").add());
  expect([later.reason, later.outcomeUnknown, later.attempts]).toEqual(["CANCELED", false, 0]);
  expect(cluster.of("counter.add")).toHaveLength(1);
});

test("an error says each thing once", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  cluster.script = ({ op }) => {
    const detail = { operation: op, bucket: "carts", key: "42" };
    const [reason, text, numbers] = op === "set.add"
      ? ["TOO_LARGE", "set.add carts/42: member 2 of 2: too long", { limit: 4n, actual: 5n }] as const
      : ["CONTEXT_MALFORMED", "set.remove carts/42: context: 2 bytes, at least 21 are needed", { limit: 21n, actual: 2n }] as const;
    throw new ConnectError(text, Code.InvalidArgument, {}, refusal(Code.InvalidArgument, reason, { ...detail, ...numbers }).details as never);
  };
  const large = await failure(db.set("carts", "42").add("tea", "milk!"));
  expect(large.message).toBe("set.add carts/42: TOO_LARGE, limit 4, got 5: member 2 of 2: too long");
  const cut = await failure(db.set("carts", "42").remove("tea"));
  expect(cut.message).toBe("set.remove carts/42: CONTEXT_MALFORMED: context: 2 bytes, at least 21 are needed");
  expect(cut).toMatchObject({ limit: 21, actual: 2 });
  const name = await failure(db.set("carts", "42").add("\udc00"));
  expect(name.message).toBe('set.add carts/42: INVALID_NAME: names are UTF-8, and "\\udc00" has half of a surrogate pair');
});
