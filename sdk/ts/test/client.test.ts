import { Cartwheel, CartwheelError, isReason, type Attempt, type ConnectOptions, type Info } from "@cartwheel/client";
import { afterAll, beforeAll, expect, inject, test } from "vitest";

// What a table of cases cannot say, in Node and in a browser.
let db: Cartwheel;
const attempts: Attempt[] = [];
const key = () => crypto.randomUUID();

beforeAll(async () => {
  db = await Cartwheel.connect(inject("endpoints"), { onAttempt: (attempt) => attempts.push(attempt) });
});
afterAll(() => db.close());

test("a listing can be walked twice, and asks for no page that nobody wants", async () => {
  const cart = db.set("client", key());
  await cart.add("a", "b", "c", "d", "e");
  const members = cart.members({ pageSize: 2 });
  for (let walk = 0; walk < 2; walk++) {
    const seen: string[] = [];
    for await (const { member } of members) seen.push(member);
    expect(seen).toEqual(["a", "b", "c", "d", "e"]);
  }
  attempts.length = 0;
  for await (const { member } of members) if (member === "b") break;
  expect(attempts.map((a) => a.op)).toEqual(["set.members"]);
});

test("a walk goes on where a page left off, and its contexts remove what it showed", async () => {
  const cart = db.set("client", key());
  await cart.add("a", "b", "c", "d");
  const first = await cart.page({ pageSize: 2 });
  const rest: string[] = [];
  for await (const page of cart.pages({ cursor: first.next })) rest.push(...page.members.map((m) => m.member));
  expect(rest).toEqual(["c", "d"]);
  await cart.add("b"); // somebody adds it again
  await cart.removeWith(first.context, "a", "b");
  expect((await cart.containsEach("a", "b")).found).toEqual([false, true]);
});

test("a set field that is longer than a page is one field", async () => {
  const map = db.map("client", key());
  await map.update(...["x1", "x2", "x3", "x4", "x5"].map((add) => ({ field: "tags", add })), { field: "z", flag: true }, { field: "a", increment: 1 });
  const fields = [];
  for await (const field of map.fields({ pageSize: 2 })) fields.push(field.kind === "set" ? field.members.map((m) => m.member) : field.field);
  expect(fields).toEqual(["a", ["x1", "x2", "x3", "x4", "x5"], "z"]);
  const shown = await map.get({ pageSize: 2 });
  expect(shown.members("tags").map((m) => m.member)).toEqual(["x1", "x2", "x3", "x4", "x5"]);
  await map.update({ field: "tags", add: "x6" });
  await map.delete(shown.context); // of several pages, and good for all of them
  expect((await map.get()).fields).toEqual([{ kind: "set", field: "tags", members: [{ member: "x6" }] }]);
});

test("absent fields read as nothing, and none asked for is a mistake", async () => {
  const map = db.map("client", key());
  const shown = await map.getFields({ kind: "counter", field: "a" });
  expect([shown.counter("a"), shown.register("a"), shown.members("a"), shown.flag("a")]).toEqual([0n, undefined, [], false]);
  await expect(map.getFields()).rejects.toMatchObject({ reason: "INVALID_OPTION", op: "map.get" });
});

test("endpoints at which nobody listens cost nothing but their turn", async () => {
  const closed = inject("closed");
  const lucky = await Cartwheel.connect([closed, ...inject("endpoints")], { rotate: true });
  const stock = lucky.counter("client", key());
  await Promise.all(Array.from({ length: 40 }, () => stock.add(1n)));
  expect(await stock.get()).toBe(40n);
  expect(lucky.stats()).toMatchObject({ failures: 0 });
  expect(lucky.stats().failovers).toBeGreaterThan(0);
  await expect(Cartwheel.connect([closed], { timeoutMs: 300 })).rejects.toMatchObject({ reason: "UNREACHABLE", endpoint: `http://${closed}` });
  lucky.close();
});

test("a signal ends a call, and calls beside it go on", async () => {
  const stock = db.counter("client", key());
  const controller = new AbortController();
  const calls = [stock.add(1n), stock.with({ signal: controller.signal }).add(10n), stock.add(100n)];
  controller.abort();
  const [one, off, hundred] = await Promise.allSettled(calls);
  expect([one?.status, hundred?.status]).toEqual(["fulfilled", "fulfilled"]);
  expect(isReason((off as PromiseRejectedResult).reason, "CANCELED")).toBe(true);
});

test("an operation carried out again by its id counts once, whichever node is asked", async () => {
  const it = key();
  const stock = db.counter("client", it);
  let info: Info | undefined;
  expect(await stock.with({ onInfo: (i) => (info = i) }).add(5n)).toBe(5n);
  expect(info).toMatchObject({ attempts: 1, saturated: false, sessionOverflow: false });
  const operationId = info?.operationId ?? "";
  for (const endpoint of inject("endpoints")) {
    const another = await Cartwheel.connect([endpoint]);
    expect(await another.counter("client", it).with({ operationId }).add(5n)).toBe(5n);
    another.close();
  }
  expect(await stock.get()).toBe(5n);
});

test("a read says how far behind it may be", async () => {
  const stock = db.counter("client", key());
  let info: Info | undefined;
  await stock.with({ onInfo: (i) => (info = i) }).get();
  expect(info?.staleness.boundMs).toBeTypeOf("number");
  expect(info?.staleness.unreachable).toEqual([]);
  expect(info?.replicas).toBeGreaterThan(1);
});

test("the cluster says who it is", async () => {
  const status = await db.cluster().status();
  expect(status).toMatchObject({ n: 3, r: 2, w: 2, q: 256 });
  expect(Math.abs(status.serverTime.getTime() - db.serverTime().getTime())).toBeLessThan(2_000);
  const members = await db.cluster().members();
  expect(members.map((m) => m.apiAddress).sort()).toEqual([...inject("endpoints")].sort());
  const { owners } = await db.cluster().locate("map", "carts", "42");
  expect([...owners].sort()).toEqual(members.map((m) => m.id).sort());
});

test("many calls at the same time are each answered, in whatever way they travel", async () => {
  const apis = typeof document === "undefined" ? (["unary", "batch", "stream"] as const) : (["unary", "batch"] as const);
  for (const api of apis) {
    const other = await Cartwheel.connect(inject("endpoints"), { api });
    const stock = other.counter("client", key());
    if (typeof document !== "undefined") performance.clearResourceTimings();
    const values = await Promise.all(Array.from({ length: 300 }, () => stock.add(1n)));
    expect(new Set(values).size).toBeGreaterThan(1);
    expect(await stock.get(), api).toBe(300n);
    if (typeof document !== "undefined" && api === "batch") {
      // A session has 32 calls under way at most, so there are ten messages of them or so.
      const requests = performance.getEntriesByType("resource").map((r) => r.name.replace(/.*\//, "")).filter((name) => name === "Batch" || name === "Add");
      expect(requests.length).toBeLessThan(60);
      expect(new Set(requests)).toEqual(new Set(["Batch"]));
    }
    other.close();
  }
});

// What somebody writes whom no compiler holds. Nobody listens there: what is refused is
// refused at once, and by name.
const inBrowser = typeof document !== "undefined";
test.each<[unknown, unknown, RegExp]>([
  ["127.0.0.1:7401", {}, /^connect: INVALID_OPTION: endpoints is "127\.0\.0\.1:7401", and not an array/],
  [undefined, {}, /endpoints is undefined/],
  [[], {}, /no endpoints/],
  [["127.0.0.1:0", ""], {}, /endpoint 2 of 2 is "", and not host:port or an http or https URL/],
  [["://h:1"], {}, /endpoint 1 of 1 is ":\/\/h:1"/],
  [[" 127.0.0.1:1"], {}, /endpoint 1 of 1 is " 127/],
  [[7401], {}, /endpoint 1 of 1 is 7401/],
  [[null], {}, /endpoint 1 of 1 is null/],
  [["ftp://h:1"], {}, /endpoint 1 of 1 is "ftp:\/\/h:1"/],
  [["h:1?x"], {}, /endpoint 1 of 1 is "h:1\?x"/],
  [["x".repeat(99) + ":port"], {}, /endpoint 1 of 1 is "x{64}…"/],
  [["127.0.0.1:0"], null, /options is null, and not an object/],
  [["127.0.0.1:0"], 500, /options is 500/],
  [["127.0.0.1:0"], { timeout: 500 }, /there is no option "timeout"; there are timeoutMs, attemptTimeoutMs, /],
  [["127.0.0.1:0"], { toString: 5 }, /there is no option "toString"/],
  [["127.0.0.1:0"], { timeoutMs: -1 }, /timeoutMs is -1, and not a number of milliseconds, 0 at least/],
  [["127.0.0.1:0"], { timeoutMs: NaN }, /timeoutMs is NaN/],
  [["127.0.0.1:0"], { timeoutMs: Infinity }, /timeoutMs is Infinity/],
  [["127.0.0.1:0"], { timeoutMs: "500" }, /timeoutMs is "500", and not a number/],
  [["127.0.0.1:0"], { timeoutMs: null }, /timeoutMs is null/],
  [["127.0.0.1:0"], { timeoutMs: true }, /timeoutMs is true/],
  [["127.0.0.1:0"], { attemptTimeoutMs: 0 }, /attemptTimeoutMs is 0, and not a number of milliseconds above 0/],
  [["127.0.0.1:0"], { attemptTimeoutMs: 2 ** 31 }, /attemptTimeoutMs is 2147483648/],
  [["127.0.0.1:0"], { attempts: 1.5 }, /attempts is 1\.5, and not a whole number/],
  [["127.0.0.1:0"], { attempts: -1 }, /attempts is -1/],
  [["127.0.0.1:0"], { cooldownMs: NaN }, /cooldownMs is NaN/],
  [["127.0.0.1:0"], { rotate: "yes" }, /rotate is "yes", and not a boolean/],
  [["127.0.0.1:0"], { sessions: 0 }, /sessions is 0/],
  [["127.0.0.1:0"], { api: "grpc" }, /api is "grpc", and not "unary" or "batch"/],
  [["127.0.0.1:0"], { signal: {} }, /signal is Object, and not an AbortSignal/],
  [["127.0.0.1:0"], { onAttempt: console }, /onAttempt is .*, and not a function/],
  [["127.0.0.1:0"], { transport: "http" }, /transport is "http"/],
  inBrowser
    ? [["127.0.0.1:0"], { http2: {} }, /there is no option "http2"/]
    : [["127.0.0.1:0"], { http2: "ca" }, /http2 is "ca", and not an object/],
  ...(inBrowser ? [[["127.0.0.1:0"], { api: "stream" }, /api is "stream", and not "unary" or "batch"$/]] as [unknown, unknown, RegExp][] : []),
])("a client cannot be made of %j and %j", async (endpoints, options, why) => {
  const began = performance.now();
  const err = await Cartwheel.connect(endpoints as string[], options as ConnectOptions).then(() => undefined, (e: unknown) => e);
  expect(err).toBeInstanceOf(CartwheelError);
  expect(err).toMatchObject({ op: "connect", reason: "INVALID_OPTION", attempts: 0, outcomeUnknown: false });
  expect((err as CartwheelError).message).toMatch(why);
  expect(performance.now() - began).toBeLessThan(1_000);
});

test("options that are undefined are the defaults, and zeros are numbers", async () => {
  const none = { timeoutMs: undefined, attemptTimeoutMs: undefined, attempts: undefined, cooldownMs: undefined, rotate: undefined, sessions: undefined, api: undefined, signal: undefined, onAttempt: undefined, transport: undefined } as unknown as ConnectOptions;
  const other = await Cartwheel.connect(inject("endpoints").map((address) => `http://${address}/`), none);
  expect(await other.counter("client", key()).add(2n)).toBe(2n);
  other.close();
  (await Cartwheel.connect(inject("endpoints"), { attempts: 0, cooldownMs: 0, timeoutMs: 5_000.5 })).close();
});
