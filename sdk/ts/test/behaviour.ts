import {
  BlobHandle, bytes, CartwheelError, CounterHandle, MapHandle, RegisterHandle, Session, SetHandle, text,
  type CallOptions, type Client, type FieldKind, type Info, type MapChange, type MapField, type MapValue, type Member,
} from "@cartwheel/client";
import { expect } from "vitest";

export type Clients = Record<"ann" | "ben" | "cleo", Client>;

export interface Case {
  name: string;
  steps: (Step | { together: Step[] })[];
}

interface Step {
  as?: keyof Clients;
  at?: string;
  bucket?: Value;
  key?: Value;
  do: string;
  with?: Record<string, Value>;
  args?: Record<string, Value>;
  want?: Record<string, unknown>;
  error?: { reason: string; limit?: number; actual?: number; outcomeUnknown?: boolean };
  save?: Record<string, string>;
  eventually?: boolean;
}

type Handle = SetHandle | CounterHandle | RegisterHandle | BlobHandle | MapHandle;
/** A value of the table, before it is made out. */
type Value = unknown;
type Result = Record<string, unknown>;

const fields = new Set(["as", "at", "bucket", "key", "do", "with", "args", "want", "error", "save", "eventually"]);

/** Runs one case. */
export class Runner {
  readonly #handles = new Map<string, Handle>();
  readonly #saved = new Map<string, string>();

  constructor(private readonly clients: Clients, private readonly prefix: string) {}

  async run(steps: Case["steps"]): Promise<void> {
    for (const [i, step] of steps.entries()) {
      try {
        if ("together" in step) await Promise.all(step.together.map((s) => this.#step(s)));
        else await this.#step(step);
      } catch (err) {
        throw new Error(`step ${i + 1}, ${JSON.stringify(step)}: ${String(err)}`, { cause: err });
      }
    }
  }

  async #step(step: Step): Promise<void> {
    for (const field of Object.keys(step)) if (!fields.has(field)) throw new Error(`unknown field ${field}`);
    const end = performance.now() + (step.eventually === true ? 20_000 : 0);
    for (;;) {
      try {
        await this.#once(step);
        return;
      } catch (err) {
        if (performance.now() > end) throw err;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async #once(step: Step): Promise<void> {
    let result: Result;
    try {
      result = await this.#do(step);
    } catch (err) {
      if (step.error === undefined || !(err instanceof CartwheelError)) throw err;
      expect(err, err.message).toMatchObject(step.error);
      return;
    }
    if (step.error !== undefined) throw new Error(`succeeded, want ${step.error.reason}`);
    for (const [name, want] of Object.entries(step.want ?? {})) this.#compare(name, result[name], this.#variables(want));
    for (const [variable, name] of Object.entries(step.save ?? {})) {
      expect(result[name], name).toBeTypeOf("string");
      this.#saved.set(variable, result[name] as string);
    }
  }

  async #do(step: Step): Promise<Result> {
    const [type = "", verb = ""] = step.do.split(".");
    const db = this.clients[step.as ?? "ann"];
    let info: Info | undefined;
    const options = { ...this.#options(db, step.with ?? {}), onInfo: (i: Info) => (info = i) };
    const handle = this.#handle(db, type, step).with(options);
    const args = new Args(db, (v) => this.#variables(v), { ...step.args });
    const result = await perform(handle, verb, args, (steps) => this.run(steps));
    args.done();
    return {
      ...result, session: handle.session?.token ?? "",
      operation: info?.operationId, replicas: info?.replicas, degraded: info?.degraded, saturated: info?.saturated,
    };
  }

  /** One handle for each client, type and value, made when it is first used. */
  #handle(db: Client, type: string, step: Step): Handle {
    const bucket = step.bucket === undefined ? "cases" : textOf(step.bucket);
    const key = step.key === undefined ? `${this.prefix}/${step.at ?? "it"}` : textOf(step.key);
    const name = JSON.stringify([step.as ?? "ann", type, bucket, key]);
    let handle = this.#handles.get(name);
    if (handle === undefined) {
      handle = db[type as "set" | "counter" | "register" | "blob" | "map"](bucket, key);
      this.#handles.set(name, handle);
    }
    return handle;
  }

  #options(db: Client, given: Record<string, Value>): CallOptions {
    const options: CallOptions = {};
    for (const [name, value] of Object.entries(given)) {
      switch (name) {
        case "w": case "r": case "maxStalenessMs":
          options[name] = value as number;
          break;
        case "fast":
          options.fast = value as boolean;
          break;
        case "operation":
          options.operationId = this.#variables(value) as string;
          break;
        case "session": {
          const session = this.#variables(value) as string;
          options.session = session === "none" ? null : new Session(session === "new" ? "" : session);
          break;
        }
        case "expires": case "expiresInMs": {
          const at = timeOf(db, { [name]: value });
          if (at !== undefined) options.expiresAt = at;
          break;
        }
        default:
          throw new Error(`unknown option ${name}`);
      }
    }
    return options;
  }

  /** Puts what was saved in the place of its names. */
  #variables(value: Value): Value {
    if (typeof value === "string" && value.startsWith("$")) {
      const saved = this.#saved.get(value.slice(1));
      if (saved === undefined) throw new Error(`nothing was saved as ${value}`);
      return saved;
    }
    if (Array.isArray(value)) return value.map((v) => this.#variables(v));
    if (typeof value !== "object" || value === null) return value;
    if ("changed" in value) {
      const whole = this.#variables(value.changed) as string;
      return whole.slice(0, 12) + (whole[12] === "A" ? "B" : "A") + whole.slice(13);
    }
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, this.#variables(v)]));
  }

  #compare(name: string, got: unknown, want: unknown): void {
    switch (name) {
      case "members":
        expect(got, name).toEqual((want as Value[]).map(() => expect.anything() as unknown));
        for (const [i, w] of (want as Value[]).entries()) sameMember((got as Member[])[i] as Member, w);
        return;
      case "siblings": case "concurrent":
        expect((got as Uint8Array[]).map(hex).sort(), name).toEqual((want as Value[]).map((v) => hex(bytesOf(v))).sort());
        return;
      case "value":
        if (typeof got === "bigint") expect(String(got), name).toBe(want);
        else expect(hex(got as Uint8Array), name).toBe(hex(bytesOf(want)));
        return;
      case "registers":
        expect(mapValues(got, (v) => hex(v as Uint8Array)), name).toEqual(mapValues(want, (v) => hex(bytesOf(v))));
        return;
      case "sets":
        expect(Object.keys(got as object), name).toEqual(Object.keys(want as object));
        for (const [field, members] of Object.entries(want as object)) this.#compare("members", (got as Result)[field], members);
        return;
      case "fields":
        expect((got as MapField[]).map((f) => f.field), name).toEqual((want as Result[]).map((f) => f["field"]));
        for (const [i, w] of (want as Result[]).entries()) {
          for (const [part, v] of Object.entries(w)) this.#compare(part, (got as Result[])[i]?.[part], v);
        }
        return;
      default:
        expect(got, name).toEqual(want);
    }
  }
}

/** The arguments of a step: those that nobody takes are a mistake of the table. */
class Args {
  constructor(readonly db: Client, private readonly variables: (v: Value) => Value, private readonly given: Record<string, Value>) {}

  take(name: string): Value {
    const value = this.given[name];
    delete this.given[name];
    return name === "meanwhile" ? value : this.variables(value);
  }

  text(name: string): string | undefined {
    return this.take(name) as string | undefined;
  }

  list(name: string): Value[] {
    const value = (this.take(name) ?? []) as Value[] | { numbered: string; count: number };
    return Array.isArray(value) ? value : Array.from({ length: value.count }, (_, i) => value.numbered + i);
  }

  done(): void {
    if (Object.keys(this.given).length > 0) throw new Error(`unknown arguments ${Object.keys(this.given).join(", ")}`);
  }
}

async function perform(handle: Handle, verb: string, args: Args, run: (steps: Step[]) => Promise<void>): Promise<Result> {
  if (handle instanceof SetHandle) return await onSet(handle, verb, args);
  if (handle instanceof CounterHandle) return await onCounter(handle, verb, args);
  if (handle instanceof RegisterHandle) return await onRegister(handle, verb, args);
  if (handle instanceof BlobHandle) return await onBlob(handle, verb, args, run);
  return await onMap(handle, verb, args);
}

async function onSet(set: SetHandle, verb: string, args: Args): Promise<Result> {
  switch (verb) {
    case "add": {
      const members = args.list("members");
      const plain = members.every((m) => typeof m === "string");
      return { context: await (plain ? set.add(...members) : set.addMembers(...members.map((m) => memberOf(args.db, m)))) };
    }
    case "remove": {
      const members = args.list("members").map(textOf);
      const context = args.text("context");
      await (context === undefined ? set.remove(...members) : set.removeWith(context, ...members));
      return {};
    }
    case "update": {
      const changes = args.list("changes").map((c) => {
        const change = c as { add: Value } | { remove: string };
        return "add" in change ? { add: memberOf(args.db, change.add) } : change;
      });
      const context = args.text("context");
      return { context: await (context === undefined ? set.update(...changes) : set.updateWith(context, ...changes)) };
    }
    case "clear":
      await set.clear(args.text("context"));
      return {};
    case "contains": {
      const { found, context } = await set.containsEach(...args.list("members").map(textOf));
      return { contains: found, context };
    }
    case "size":
      return { size: String(await set.size()) };
    case "page":
      return { ...(await set.page({ ...listing(args), cursor: args.text("cursor") ?? "" })) };
    case "members": {
      const members: Member[] = [];
      for await (const member of set.members(listing(args))) members.push(member);
      return { members };
    }
    default:
      throw new Error(`unknown operation set.${verb}`);
  }
}

function listing(args: Args) {
  return {
    prefix: args.text("prefix") ?? "", from: args.text("from") ?? "", until: args.text("until") ?? "",
    pageSize: (args.take("limit") as number | undefined) ?? 0,
  };
}

async function onCounter(counter: CounterHandle, verb: string, args: Args): Promise<Result> {
  switch (verb) {
    case "add":
      return { value: await counter.add(BigInt(args.text("delta") ?? "1")) };
    case "get":
      return { value: await counter.get() };
    case "reset":
      return { value: await counter.reset() };
    default:
      throw new Error(`unknown operation counter.${verb}`);
  }
}

async function onRegister(register: RegisterHandle, verb: string, args: Args): Promise<Result> {
  switch (verb) {
    case "set":
      await register.set(bytesOf(args.take("value")));
      return {};
    case "get": {
      const shown = args.take("concurrent") === true ? await register.concurrent() : { losers: [], ...(await register.get()) };
      return {
        exists: shown.value !== undefined, value: shown.value ?? new Uint8Array(), context: shown.context,
        expires: String(shown.expiresAt?.getTime() ?? 0), concurrent: shown.losers.map((l) => l.value),
      };
    }
    case "delete":
      await register.delete(args.text("context"));
      return {};
    default:
      throw new Error(`unknown operation register.${verb}`);
  }
}

async function onBlob(blob: BlobHandle, verb: string, args: Args, run: (steps: Step[]) => Promise<void>): Promise<Result> {
  switch (verb) {
    case "put":
      return { context: await blob.put(bytesOf(args.take("value")), args.text("context")) };
    case "get": {
      const { siblings, context } = await blob.get();
      return { siblings, context };
    }
    case "delete":
      await blob.delete(args.text("context"));
      return {};
    case "update": {
      const word = args.text("word") ?? "";
      let meanwhile = (args.take("meanwhile") ?? []) as Step[];
      const value = await blob.update(async (siblings) => {
        const steps = meanwhile;
        meanwhile = [];
        await run(steps);
        const words = siblings.flatMap((s) => text(s).split(" ")).filter((w) => w !== "");
        return [...new Set([...words, word])].sort(byBytes).join(" ");
      });
      return { value: value ?? new Uint8Array() };
    }
    default:
      throw new Error(`unknown operation blob.${verb}`);
  }
}

async function onMap(map: MapHandle, verb: string, args: Args): Promise<Result> {
  switch (verb) {
    case "update": {
      const changes = args.list("changes").map((c) => changeOf(args.db, c as Result));
      const context = args.text("context");
      return { context: await (context === undefined ? map.update(...changes) : map.updateWith(context, ...changes)) };
    }
    case "get": {
      const fields = args.list("fields").map((f) => ({ kind: (f as Result)["kind"] as FieldKind, field: textOf((f as Result)["field"]) }));
      return shownOf(fields.length > 0 ? await map.getFields(...fields) : await map.get());
    }
    case "page": {
      const list = { prefix: args.text("prefix") ?? "", pageSize: (args.take("limit") as number | undefined) ?? 0, cursor: args.text("cursor") ?? "" };
      const { fields, next, context } = await map.page(list);
      return { fields: fields.map((f) => ({ ...f, expires: String(f.expiresAt?.getTime() ?? 0) })), next, context };
    }
    case "delete":
      await map.delete(args.text("context"));
      return {};
    default:
      throw new Error(`unknown operation map.${verb}`);
  }
}

function shownOf(value: MapValue): Result {
  const of = <K extends FieldKind>(kind: K) => value.fields.filter((f): f is Extract<MapField, { kind: K }> => f.kind === kind);
  return {
    counters: Object.fromEntries(of("counter").map((f) => [f.field, String(f.value)])),
    registers: Object.fromEntries(of("register").map((f) => [f.field, f.value])),
    sets: Object.fromEntries(of("set").map((f) => [f.field, f.members])),
    flags: of("flag").map((f) => f.field),
    expires: Object.fromEntries(value.fields.filter((f) => f.expiresAt !== undefined).map((f) => [f.field, String(f.expiresAt?.getTime())])),
    context: value.context,
  };
}

function changeOf(db: Client, { expires, expiresInMs, ...change }: Result): MapChange {
  const expiresAt = timeOf(db, { expires, expiresInMs });
  const made: Result = { ...change, field: textOf(change["field"]), expiresAt };
  if ("increment" in change) made["increment"] = BigInt(change["increment"] as string);
  if ("assign" in change) made["assign"] = bytesOf(change["assign"]);
  if ("add" in change) made["add"] = typeof change["add"] === "string" ? change["add"] : memberOf(db, change["add"]);
  return made as unknown as MapChange;
}

function memberOf(db: Client, value: Value): Member {
  if (typeof value === "string" || (value as Result)["repeat"] !== undefined) return { member: textOf(value) };
  const { member, note, ...time } = value as Result;
  return { member: textOf(member), note: note === undefined ? undefined : bytesOf(note), expiresAt: timeOf(db, time) };
}

function timeOf(db: Client, { expires, expiresInMs }: { expires?: unknown; expiresInMs?: unknown }): Date | undefined {
  if (expires !== undefined) return new Date(Number(expires));
  return expiresInMs === undefined ? undefined : new Date(db.serverTime().getTime() + (expiresInMs as number));
}

function sameMember(got: Member, want: Value): void {
  if (typeof want === "string") {
    expect(got.member).toBe(want);
    return;
  }
  const { member, note, expires } = want as Result;
  expect(got.member).toBe(member);
  if (note !== undefined) expect(hex(got.note ?? new Uint8Array()), "note").toBe(hex(bytesOf(note)));
  if (expires !== undefined) expect(String(got.expiresAt?.getTime() ?? 0), "expires").toBe(expires);
}

function bytesOf(value: Value): Uint8Array {
  if (typeof value === "object" && value !== null && "base64" in value) {
    return Uint8Array.from(atob(value.base64 as string), (c) => c.charCodeAt(0));
  }
  return bytes(textOf(value));
}

function textOf(value: Value): string {
  if (typeof value === "string") return value;
  const { repeat, times } = value as { repeat: string; times: number };
  return repeat.repeat(times);
}

function hex(value: Uint8Array): string {
  if (value.length <= 4_096) return Array.from(value, (b) => b.toString(16).padStart(2, "0")).join("");
  return `${value.length} bytes that come to ${value.reduce((sum, b) => (Math.imul(sum, 31) + b) | 0, 7)}`;
}

function byBytes(a: string, b: string): number {
  const [left, right] = [hex(bytes(a)), hex(bytes(b))];
  return left < right ? -1 : left > right ? 1 : 0;
}

function mapValues(of: unknown, each: (v: unknown) => unknown): Result {
  return Object.fromEntries(Object.entries(of as object).map(([k, v]) => [k, each(v)]));
}
