import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test, vi } from "vitest";

import { CartwheelError, type CallOptions, type Cartwheel, type MapChange, type SetChange } from "../../src/node.js";
import { Fake, silence } from "./fake.js";

/** What somebody writes whom no compiler holds. */
const loose = <T>(value: unknown): T => value as T;

const failure = async (call: Promise<unknown>): Promise<CartwheelError> => {
  const err = await call.then(() => undefined, (e: unknown) => e);
  expect(err).toBeInstanceOf(CartwheelError);
  return err as CartwheelError;
};

/** Fails the call as an invalid option, with nothing sent but the question what time it is. */
async function refused(call: (db: Cartwheel) => Promise<unknown>, why: RegExp): Promise<void> {
  const cluster = new Fake();
  const err = await failure(call(await cluster.connect(["n1"])));
  expect(err).toMatchObject({ reason: "INVALID_OPTION", attempts: 0, outcomeUnknown: false });
  expect(err.message).toMatch(why);
  expect(cluster.asked.filter((a) => a.op !== "cluster.status")).toEqual([]);
}

test("the types refuse a change that is two", () => {
  const fine: (MapChange | SetChange)[] = [
    { field: "x", increment: 1n }, { field: "x", flag: true, expiresAt: new Date() }, { field: "x", remove: "flag" }, { add: "milk" }, { remove: "milk" },
  ];
  const wrong: (MapChange | SetChange)[] = [
    // @ts-expect-error increment or flag
    { field: "x", increment: 1n, flag: true },
    // @ts-expect-error assign or remove
    { field: "x", assign: "y", remove: "register" },
    // @ts-expect-error add or removeMember
    { field: "x", add: "a", removeMember: "b" },
    // @ts-expect-error none
    { field: "x" },
    // @ts-expect-error a member of a set is added or removed
    { add: "milk", remove: "eggs" },
  ];
  expect([fine.length, wrong.length]).toEqual([5, 5]);
});

test.each<[string, unknown, RegExp]>([
  ["two kinds", { field: "x", increment: 1n, flag: true }, /^map\.update carts\/42: INVALID_OPTION: change 2 .* "increment" and "flag"/],
  ["no kind", { field: "x" }, /change 2 .* none/],
  ["an unknown name", { field: "x", increment: 1n, expiresIn: 5 }, /"expiresIn"/],
  ["an unknown kind to remove", { field: "x", remove: "countr" }, /"countr"/],
  ["a kind that every object has", { field: "x", remove: "toString" }, /"toString"/],
  ["a flag that is no boolean", { field: "x", flag: "no" }, /flag/],
  ["nothing to assign", { field: "x", assign: null }, /Uint8Array/],
  ["no time", { field: "x", flag: true, expiresAt: new Date(NaN) }, /expiresAt/],
  ["not an object", undefined, /change 2/],
])("a change of a map with %s is refused with all that comes with it", async (_, change, why) => {
  await refused((db) => db.map("carts", "42").update({ field: "y", flag: true }, loose(change)), why);
});

test.each<[string, unknown, RegExp]>([
  ["that is two", { add: "milk", remove: "eggs" }, /^set\.update carts\/42: INVALID_OPTION: change 2 .* "add" and "remove"/],
  ["that is none", {}, /change 2 .* none/],
  ["with an unknown name", { add: "milk", note: "x" }, /"note"/],
])("a change of a set %s is refused with all that comes with it", async (_, change, why) => {
  await refused((db) => db.set("carts", "42").update({ add: "tea" }, loose(change)), why);
});

test("a kind of change that is undefined is none", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  await db.map("carts", "42").update({ field: "x", increment: undefined, flag: true });
  await db.set("carts", "42").update({ add: undefined, remove: "eggs" });
  expect(cluster.of("map.update")[0]?.request.changes[0].change).toEqual({ case: "flag", value: true });
  expect(cluster.of("set.update")[0]?.request.changes[0].change).toEqual({ case: "remove", value: "eggs" });
});

test.each([undefined, null, 7, {}, [1], new ArrayBuffer(1)])("what is neither bytes nor text is not written: %s", async (value) => {
  const why = /Uint8Array/;
  await refused((db) => db.blob("notes", "1").put(loose(value)), why);
  await refused((db) => db.register("names", "1").set(loose(value)), why);
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  const err = await failure(db.blob("notes", "1").update(() => loose(value)));
  expect(err).toMatchObject({ op: "blob.update", reason: "INVALID_OPTION", outcomeUnknown: false });
  expect(err.message).toMatch(/^blob\.update notes\/1: INVALID_OPTION: .*Uint8Array/);
  expect(cluster.of("blob.put")).toEqual([]);
});

test("empty bytes and an empty text are values", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  for (const empty of ["", new Uint8Array(), Buffer.alloc(0)]) await db.blob("notes", "1").put(empty);
  expect(cluster.of("blob.put")).toHaveLength(3);
});

test.each<[Record<string, unknown>, RegExp]>([
  [{ expiresInMs: -1 }, /expiresInMs/],
  [{ expiresInMs: NaN }, /expiresInMs/],
  [{ expiresInMs: Infinity }, /expiresInMs/],
  [{ expiresInMs: 1e300 }, /expiresInMs/],
  [{ expiresInMs: "30" }, /expiresInMs/],
  [{ expiresAt: new Date(NaN) }, /expiresAt/],
  [{ expiresAt: 1_700_000_000_000 }, /expiresAt/],
  [{ timeoutMs: NaN }, /timeoutMs/],
  [{ timeoutMs: -1 }, /timeoutMs/],
  [{ timeoutMs: Infinity }, /timeoutMs/],
  [{ maxStalenessMs: NaN }, /maxStalenessMs/],
  [{ maxStalenessMs: -5 }, /maxStalenessMs/],
  [{ w: -1 }, /w is/],
  [{ w: 1.5 }, /w is/],
  [{ r: Infinity }, /r is/],
  [{ r: 2 ** 32 }, /r is/],
  [{ expiresIn: 5 }, /no option "expiresIn"/],
  [{ toString: 5 }, /no option "toString"/],
  [{ W: 3 }, /no option "W"/],
])("the option %o is refused, of whatever call", async (options, why) => {
  const given = loose<CallOptions>(options);
  await refused((db) => db.counter("stock", "1").with(given).add(), why);
  await refused((db) => db.counter("stock", "1").with(given).with({ fast: true }).get(), why);
  await refused((db) => db.blob("notes", "1").with(given).update(() => "x"), why);
});

test("options that are undefined are those of the client, and zeros are numbers", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  const none = { w: undefined, r: undefined, fast: undefined, timeoutMs: undefined, expiresAt: undefined, expiresInMs: undefined } as unknown as CallOptions;
  await db.counter("stock", "1").with(none).add();
  await db.counter("stock", "1").with({ w: 0, r: 0, maxStalenessMs: 0, expiresInMs: 0 }).add();
  expect(cluster.of("counter.add")).toHaveLength(2);
});

test("an option that is undefined leaves what the handle has, its session too", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  const stock = db.counter("stock", "1").with({ w: 3 });
  const same = stock.with({ session: undefined, w: undefined });
  expect(same.session).toBe(stock.session);
  await same.add();
  expect(cluster.of("counter.add")[0]?.request.options).toMatchObject({ w: 3, session: { tokens: [] } });
  expect(stock.with({ session: null }).session).toBeUndefined();
});

test("no time at all is a deadline that is past", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  expect(await failure(db.counter("stock", "1").with({ timeoutMs: 0 }).add())).toMatchObject({ reason: "DEADLINE_PAST", attempts: 0, outcomeUnknown: false });
});

// Reasons that look like errors of a connection are not taken for one.
const reasons = [
  new Error("mine"), "a word", new ConnectError("mine", Code.InvalidArgument),
  Object.assign(new Error("connect ECONNREFUSED"), { syscall: "connect" }),
];

test.each(reasons)("why a caller called off is kept as the cause: %s", async (reason) => {
  for (const api of ["unary", "batch", "stream"] as const) {
    for (const attempts of [0, 1]) {
      const cluster = new Fake();
      const db = await cluster.connect(["n1"], { api, attempts });
      const stock = db.counter("stock", "1");
      const before = await failure(stock.with({ signal: AbortSignal.abort(reason) }).add());
      expect(before).toMatchObject({ reason: "CANCELED", attempts: 0, outcomeUnknown: false });
      expect(before.cause).toBe(reason);
      cluster.script = ({ signal }) => silence(signal);
      const controller = new AbortController();
      const under = failure(stock.with({ signal: controller.signal }).add());
      await vi.waitFor(() => expect(cluster.of("counter.add")).toHaveLength(1));
      controller.abort(reason);
      expect(await under).toMatchObject({ reason: "CANCELED", attempts: 1, outcomeUnknown: true });
      expect((await under).cause).toBe(reason);
      expect((await failure(db.blob("notes", "1").with({ signal: AbortSignal.abort(reason) }).update(() => "x"))).cause).toBe(reason);
    }
  }
});

test.each(["unary", "batch", "stream"] as const)("after close a call is refused, and one under way ends at once: %s", async (api) => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1", "n2"], { api });
  const stock = db.counter("stock", "1");
  cluster.script = ({ signal }) => silence(signal);
  const under = [failure(stock.add()), failure(db.counter("stock", "2").get())];
  await vi.waitFor(() => expect(cluster.asked.filter((a) => a.op.startsWith("counter."))).toHaveLength(2));
  const began = performance.now();
  db.close();
  const [add, get] = await Promise.all(under);
  expect(performance.now() - began).toBeLessThan(1_500);
  expect(add).toMatchObject({ reason: "CANCELED", attempts: 1, outcomeUnknown: true });
  expect(get).toMatchObject({ reason: "CANCELED", attempts: 1, outcomeUnknown: false });
  cluster.asked.length = 0;
  for (const call of [stock.get(), stock.add(), db.set("carts", "42").add("milk"), db.blob("notes", "1").update(() => "x"), db.cluster().status()]) {
    const err = await failure(call);
    expect(err).toMatchObject({ reason: "CANCELED", attempts: 0, outcomeUnknown: false });
    expect(err.message).toMatch(/: CANCELED: the client was closed$/);
  }
  expect(cluster.asked).toEqual([]);
  db.close(); // once more does nothing
});

test.each<[Record<string, unknown>, RegExp]>([
  [{ pageSize: -1 }, /pageSize is -1, and not a whole number/],
  [{ pageSize: 1.5 }, /pageSize is 1\.5/],
  [{ pageSize: "5" }, /pageSize is "5"/],
  [{ pageSize: null }, /pageSize is null/],
  [{ prefix: 5 }, /prefix is 5, and not a string/],
  [{ cursor: {} }, /cursor is Object/],
  [{ limit: 5 }, /no option "limit"/],
])("a listing with %o is refused, and not tried until its deadline", async (options, why) => {
  await refused((db) => db.set("carts", "42").page(loose(options)), why);
  await refused(async (db) => { for await (const _ of db.set("carts", "42").members(loose(options))); }, why);
  await refused((db) => db.map("carts", "42").page(loose(options)), why);
  await refused((db) => db.map("carts", "42").get(loose(options)), why);
});

test("only sets are listed by range", async () => {
  await refused((db) => db.map("carts", "42").page(loose({ from: "a" })), /no option "from"/);
});

test.each<[string, (db: Cartwheel) => Promise<unknown>]>([
  ["5", (db) => db.set("carts", "42").add(loose(5))],
  ["5", (db) => db.set("carts", "42").contains(loose(5))],
  ["undefined", (db) => db.set("carts", loose(undefined)).add("milk")],
  ["undefined", (db) => db.set("carts", "42").remove("milk", loose(undefined))],
  ["null", (db) => db.map("carts", "42").update({ field: loose(null), flag: true })],
])("a name that is %s is no text", async (what, call) => {
  const cluster = new Fake();
  const err = await failure(call(await cluster.connect(["n1"])));
  expect(err).toMatchObject({ reason: "INVALID_NAME", attempts: 0 });
  expect(err.message).toMatch(new RegExp(`names are strings, and ${what} is not$`));
});

test("a number in quotes is told from a number", async () => {
  const cluster = new Fake();
  const err = await failure((await cluster.connect(["n1"])).counter("stock", "1").add(loose("5")));
  expect(err.message).toMatch(/: "5" is not a bigint/);
});
