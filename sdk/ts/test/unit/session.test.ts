import { Code } from "@connectrpc/connect";
import { expect, test, vi } from "vitest";

import { Deadline } from "../../src/deadline.js";
import { Session, type CounterHandle } from "../../src/node.js";
import { Fake, refusal, silence, type Asked } from "./fake.js";

const tokens = (asked: Asked | undefined) => (asked?.request as { options: { session?: { tokens: string[] } } }).options.session?.tokens;

test("a call of a session knows of each call that had ended before it began", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1", "n2"], { rotate: true });
  const cart = db.set("carts", "42");
  // What each token stands for: those that came with its request, and itself.
  const covers = new Map<string, Set<string>>();
  const pause = () => new Promise((resolve) => setTimeout(resolve, Math.random() * 3));
  const ended: string[] = [];
  let most = 0;
  cluster.script = async (asked) => {
    const came = tokens(asked) ?? [];
    most = Math.max(most, came.length);
    await pause();
    covers.set(asked.token, new Set([asked.token, ...came.flatMap((t) => [...(covers.get(t) ?? [])])]));
  };
  const known: { before: string[]; token: string }[] = [];
  await Promise.all(Array.from({ length: 60 }, async (_, i) => {
    for (let turn = 0; turn < 5; turn++) {
      const before = [...ended];
      let nth = 0;
      const mine = cart.with({ onInfo: (info) => (nth = Number(info.stamp)) });
      await (i % 2 === 0 ? mine.add("milk") : mine.size());
      const token = cluster.asked[nth - 1]?.token ?? "";
      ended.push(token);
      known.push({ before, token });
    }
  }));
  const missed = known.flatMap(({ before, token }) => before.filter((t) => covers.get(token)?.has(t) !== true).map((t) => `${token} lacks ${t}`));
  expect(missed).toEqual([]);
  expect(known.length).toBe(300);
  expect(most).toBeGreaterThan(1);
  expect(most).toBeLessThanOrEqual(32);
});

test("every handle has its own session unless it is told otherwise", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  const without = await cluster.connect(["n1"], { sessions: false });
  const first = db.counter("stock", "1");
  await first.add();
  const added = cluster.of("counter.add")[0]?.token;
  const cases: [string, () => CounterHandle, session: boolean, shared: boolean][] = [
    ["one put into its session", () => db.counter("stock", "1").with({ session: first.session ?? null }), true, true],
    ["one that goes on from its token", () => db.counter("stock", "1").with({ session: new Session(first.session?.token) }), true, true],
    ["one of a client without sessions put into its session", () => without.counter("stock", "1").with({ session: first.session ?? null }), true, true],
    ["another handle on the value", () => db.counter("stock", "1"), true, false],
    ["one made from it with a new session", () => first.with({ session: new Session() }), true, false],
    ["one made from it without a session", () => first.with({ session: null }), false, false],
    ["one of a client without sessions", () => without.counter("stock", "1"), false, false],
    ["one made from it", () => first.with({ r: 1 }), true, true],
  ];
  for (const [name, make, session, shared] of cases) {
    // Those that share the session would take the token of the first away.
    const before = first.session?.token;
    const handle = make();
    await handle.get();
    const last = tokens(cluster.of("counter.get").at(-1));
    expect(last !== undefined, name).toBe(session);
    expect(handle.session !== undefined, name).toBe(session);
    if (!shared) expect(last ?? [], name).toEqual([]);
    else expect(last, name).toEqual([before]);
  }
  expect(added).toBe("t1");
});

test("forgetting begins a session anew, for calls under way too", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  const stock = db.counter("stock", "1");
  await stock.add();
  expect(stock.session?.token).toBe("t1");
  stock.session?.forget();
  expect(stock.session?.token).toBe("");
  cluster.script = () => stock.session?.forget();
  await stock.add();
  expect(stock.session?.token).toBe("");
});

test("what fails or does not fit leaves a session as it was", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  const stock = db.counter("stock", "1");
  await stock.add();
  cluster.script = () => {
    throw refusal(Code.InvalidArgument, "INVALID_OPTION");
  };
  await expect(stock.add()).rejects.toThrow("INVALID_OPTION");
  expect(stock.session?.token).toBe("t1");
  cluster.script = () => ({ info: { session: "", sessionOverflow: true } });
  let overflow = false;
  await stock.with({ onInfo: (info) => (overflow = info.sessionOverflow) }).add();
  expect([overflow, stock.session?.token]).toEqual([true, "t1"]);
});

test("tokens of calls that ran beside each other stand side by side, and travel as text", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  const stock = db.counter("stock", "1");
  await Promise.all([stock.add(), stock.add(), stock.add()]);
  const text = stock.session?.token ?? "";
  expect(text.split(".").sort()).toEqual(["t1", "t2", "t3"]);
  const elsewhere = db.counter("stock", "1").with({ session: new Session(text) });
  await elsewhere.get();
  expect(tokens(cluster.of("counter.get").at(-1))?.sort()).toEqual(["t1", "t2", "t3"]);
  expect(elsewhere.session?.token).toBe("t4");
});

test("no more calls of a session are under way than a request can carry tokens, and who waits can be called off", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1"]);
  const stock = db.counter("stock", "1");
  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  cluster.script = () => held;
  const calls = Array.from({ length: 40 }, () => stock.add());
  await vi.waitFor(() => expect(cluster.of("counter.add")).toHaveLength(32));
  const controller = new AbortController();
  const called = stock.with({ signal: controller.signal }).add();
  const late = stock.with({ timeoutMs: 20 }).add();
  controller.abort();
  await expect(called).rejects.toMatchObject({ reason: "CANCELED", attempts: 0 });
  await expect(late).rejects.toMatchObject({ reason: "DEADLINE_PAST", attempts: 0 });
  expect(cluster.of("counter.add")).toHaveLength(32);
  release();
  await Promise.all(calls);
  expect(cluster.of("counter.add")).toHaveLength(40);
  await stock.add(); // no turn was lost
});

test("a turn that comes when its caller has just left is the next one's", async () => {
  const session = new Session();
  const patient = new Deadline(10_000);
  const controller = new AbortController();
  const leaving = new Deadline(10_000, controller.signal);
  const turns = await Promise.all(Array.from({ length: 32 }, () => session.begin(patient)));
  const left = session.begin(leaving);
  const next = session.begin(patient);
  turns[0]?.end("");
  controller.abort();
  expect(await left).toBeUndefined();
  expect(await next).toBeDefined();
  patient.release();
});

test("a session that cannot be honoured is an error, and never an older answer", async () => {
  const cluster = new Fake();
  const db = await cluster.connect(["n1", "n2"], { timeoutMs: 50 });
  cluster.script = ({ signal }) => {
    if (cluster.asked.length > 20) return silence(signal);
    throw refusal(Code.Unavailable, "SESSION_UNMET", { staleness: { unreachable: ["n3"] } });
  };
  await expect(db.counter("stock", "1").get()).rejects.toMatchObject({ reason: "SESSION_UNMET", staleness: { unreachable: ["n3"] } });
  expect(new Set(cluster.of("counter.get").map((a) => a.node)).size).toBe(2);
});
