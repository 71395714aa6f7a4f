import type { MessageInitShape } from "@bufbuild/protobuf";

import { flawOfChange, mapListing, type OneOf } from "./check.js";
import { int64 } from "./counter.js";
import { CartwheelError } from "./errors.js";
import { FieldKind as WireKind, type MapChangeSchema, type MapField as WireField } from "./gen/cartwheel/v1/map_pb.js";
import { Address, expires, type CallOptions, type Context } from "./request.js";
import type { Session } from "./session.js";
import { member, memberOf, wireMember, type Member } from "./set.js";

/** What a field of a map is. A field is named by its kind and its name. */
export type FieldKind = "counter" | "register" | "set" | "flag";

/** Names a field. */
export interface FieldName {
  kind: FieldKind;
  field: string;
}

/**
 * One step of {@link MapHandle.update}, of one field; it is one of these:
 *
 *     { field: "apples", increment: 2n }        a counter
 *     { field: "note", assign: "a gift" }       a register; text is written as UTF-8
 *     { field: "tags", add: "fresh" }           a set
 *     { field: "tags", removeMember: "old" }
 *     { field: "express", flag: true }          a flag; false removes it
 *     { field: "pears", remove: "counter" }     the field of this kind
 */
export type MapChange = { field: string; expiresAt?: Date | undefined } & OneOf<{
  increment: bigint | number;
  assign: Uint8Array | string;
  add: string | Member;
  removeMember: string;
  flag: boolean;
  remove: FieldKind;
}>;

/** One field that is there. */
export type MapField = { field: string; expiresAt?: Date | undefined } & (
  | { kind: "counter"; value: bigint; saturated: boolean }
  | { kind: "register"; value: Uint8Array; stamp: bigint }
  | { kind: "set"; members: Member[] }
  | { kind: "flag" }
);

/** Narrows a listing of fields. */
export interface FieldsOptions {
  /** Only fields whose names begin with it. */
  prefix?: string | undefined;
  /** Pages of at most so many rows, a set counting one for each member; without it the server chooses. */
  pageSize?: number | undefined;
  /** Begin where a page left off: its `next`, under the same prefix. */
  cursor?: string | undefined;
}

/** One page of a map. A set that a page has no room for goes on in the next, under the same name. */
export interface MapPage {
  fields: MapField[];
  /** Where the next page begins, for `cursor`; empty after the last. */
  next: string;
  /** Covers what this page showed. */
  context: Context;
}

/** Fields of a map, as one read shows them. Absent ones read as a counter of 0, no register, an empty set, a flag that is off. */
export class MapValue {
  /** In byte order of name and then by kind. */
  readonly fields: readonly MapField[];
  /** Covers exactly what was shown. */
  readonly context: Context;

  constructor(fields: readonly MapField[], context: Context) {
    this.fields = fields;
    this.context = context;
  }

  counter(field: string): bigint {
    const found = this.#find("counter", field);
    return found?.kind === "counter" ? found.value : 0n;
  }

  register(field: string): Uint8Array | undefined {
    const found = this.#find("register", field);
    return found?.kind === "register" ? found.value : undefined;
  }

  members(field: string): Member[] {
    const found = this.#find("set", field);
    return found?.kind === "set" ? found.members : [];
  }

  flag(field: string): boolean {
    return this.#find("flag", field) !== undefined;
  }

  #find(kind: FieldKind, field: string): MapField | undefined {
    return this.fields.find((f) => f.kind === kind && f.field === field);
  }
}

/**
 * A record of fields that are counters, registers, sets or flags, changed several at a
 * time as one operation. Removing a field takes away what was observed of it, so a
 * concurrent change survives, and nothing else. An absent map has no fields.
 *
 * At most 4,096 rows (fields, and members of its sets) are removed or deleted at once.
 * What grows beyond that belongs into a set of its own.
 */
export class MapHandle {
  constructor(private readonly at: Address) {}

  /** A handle with more options, in the same session. */
  with(options: CallOptions): MapHandle {
    return new MapHandle(this.at.with(options));
  }

  get session(): Session | undefined {
    return this.at.session;
  }

  /**
   * Applies the changes as one operation: everybody sees all of it or none. Those of
   * one field happen in the order given. The context covers what was written and
   * removed, but for counters.
   */
  update(...changes: MapChange[]): Promise<Context> {
    return this.updateWith("", ...changes);
  }

  /** Is {@link update} where removals take away what the context showed. */
  async updateWith(context: Context, ...changes: MapChange[]): Promise<Context> {
    const { bucket, key } = this.at;
    for (const [i, c] of changes.entries()) {
      const flaw = flawOfChange(c, changeKinds, ["field", "expiresAt"]);
      if (flaw !== undefined) throw this.at.refusal("map.update", `change ${i + 1} ${flaw}`);
    }
    const steps = changes.map((c) => ({ field: c.field, expiresAtMs: this.at.expiry("map.update", c.expiresAt), change: this.#step(c) }));
    const res = await this.at.mutate("map.update", changes.flatMap(namesOf), (to, options, limits) =>
      to.map.update({ bucket, key, changes: steps, context, options }, limits));
    return res.context;
  }

  /** Removes what a read now shows of the fields. An absent one is no error. */
  remove(...fields: FieldName[]): Promise<Context> {
    return this.removeWith("", ...fields);
  }

  /**
   * Removes what the context showed of the fields, and leaves what it did not show: of a
   * counter that was increased since just that much.
   */
  removeWith(context: Context, ...fields: FieldName[]): Promise<Context> {
    return this.updateWith(context, ...fields.map(({ kind, field }) => ({ field, remove: kind })));
  }

  /** Reads all of the map, in as many pages as it takes. */
  async get(options: FieldsOptions = {}): Promise<MapValue> {
    const fields: MapField[] = [];
    const contexts: Context[] = [];
    for await (const page of this.pages({ pageSize: most, ...options })) {
      contexts.push(page.context);
      for (const field of page.fields) join(fields, field);
    }
    // Contexts of one map that are joined by dots are one.
    return new MapValue(fields, contexts.join("."));
  }

  /** Reads the fields, at most 1,000 with 4,096 rows; the context covers what was shown of these. */
  async getFields(...fields: FieldName[]): Promise<MapValue> {
    const { bucket, key } = this.at;
    if (fields.length === 0) {
      // Which a node takes for all.
      throw new CartwheelError({ op: "map.get", bucket, key, reason: "INVALID_OPTION", limit: 1 }, new Error("fields by name: at least 1 is needed"));
    }
    const names = fields.map(({ kind, field }) => ({ kind: kinds[kind], field }));
    const res = await this.at.read("map.get", fields.map((f) => f.field), (to, options, limits) =>
      to.map.get({ bucket, key, fields: names, options }, limits));
    return new MapValue(res.fields.flatMap(fieldOf), res.context);
  }

  /**
   * Lists the fields in byte order of their names and then by kind, page by page. A
   * field present throughout the walk comes exactly once, a set with all of its members.
   */
  fields(options: FieldsOptions = {}): AsyncIterable<MapField> {
    const pages = this.pages(options);
    return {
      async *[Symbol.asyncIterator]() {
        const held: MapField[] = [];
        for await (const page of pages) {
          for (const field of page.fields) join(held, field);
          // A set at the end may go on in the next page.
          const goesOn = page.next !== "" && held.at(-1)?.kind === "set" ? 1 : 0;
          yield* held.splice(0, held.length - goesOn);
        }
        yield* held;
      },
    };
  }

  /** Is {@link fields} by the page, for those who need the contexts or want to go on later. */
  pages(options: FieldsOptions = {}): AsyncIterable<MapPage> {
    const page = (cursor: string) => this.page({ ...options, cursor });
    return {
      async *[Symbol.asyncIterator]() {
        let cursor = options.cursor ?? "";
        do {
          const shown = await page(cursor);
          yield shown;
          cursor = shown.next;
        } while (cursor !== "");
      },
    };
  }

  /** Reads one page. */
  async page(list: FieldsOptions = {}): Promise<MapPage> {
    const { bucket, key } = this.at;
    this.at.checkList("map.get", list, mapListing);
    const { prefix = "", cursor = "", pageSize: limit = 0 } = list;
    const res = await this.at.read("map.get", [prefix, cursor], (to, options, limits) =>
      to.map.get({ bucket, key, prefix, cursor, limit, options }, limits));
    return { fields: res.fields.flatMap(fieldOf), next: res.nextCursor, context: res.context };
  }

  /** Removes every field that a read now shows, or the context. A concurrent change survives. */
  async delete(context: Context = ""): Promise<void> {
    const { bucket, key } = this.at;
    await this.at.mutate("map.delete", [], (to, options, limits) => to.map.delete({ bucket, key, context, options }, limits));
  }

  #step(c: MapChange): NonNullable<MessageInitShape<typeof MapChangeSchema>["change"]> {
    if (c.increment !== undefined) return { case: "increment", value: int64("map.update", this.at, c.increment) };
    if (c.assign !== undefined) return { case: "assign", value: this.at.bytes("map.update", c.assign) };
    if (c.add !== undefined) return { case: "add", value: wireMember("map.update", this.at, memberOf(c.add)) };
    if (c.removeMember !== undefined) return { case: "removeMember", value: c.removeMember };
    if (c.flag !== undefined) {
      const flag: unknown = c.flag;
      if (typeof flag !== "boolean") throw this.at.refusal("map.update", `flag is ${String(flag)}, and not a boolean`);
      return { case: "flag", value: flag };
    }
    if (!Object.hasOwn(kinds, c.remove)) throw this.at.refusal("map.update", `remove is "${String(c.remove)}", and not a kind of field`);
    return { case: "remove", value: kinds[c.remove] };
  }
}

/** What a change can be. */
const changeKinds = ["increment", "assign", "add", "removeMember", "flag", "remove"];

/** The most rows of a page. */
const most = 4_096;

/** Appends a field, or the members of a set to those of the same set. */
function join(fields: MapField[], next: MapField): void {
  const last = fields.at(-1);
  if (last?.kind === "set" && next.kind === "set" && last.field === next.field) last.members.push(...next.members);
  else fields.push(next);
}

const kinds: Record<FieldKind, WireKind> = {
  counter: WireKind.COUNTER,
  register: WireKind.REGISTER,
  set: WireKind.SET,
  flag: WireKind.FLAG,
};

function namesOf(c: MapChange): string[] {
  if (c.add !== undefined) return [c.field, memberOf(c.add).member];
  return c.removeMember !== undefined ? [c.field, c.removeMember] : [c.field];
}

/** A field of the wire; none for a kind that is newer than this client. */
function fieldOf(f: WireField): MapField[] {
  const { field } = f;
  const until = f.expiresAtMs === 0n ? {} : { expiresAt: expires(f.expiresAtMs) };
  switch (f.kind) {
    case WireKind.COUNTER:
      return [{ kind: "counter", field, value: f.counter, saturated: f.saturated, ...until }];
    case WireKind.REGISTER:
      return [{ kind: "register", field, value: f.register, stamp: f.stamp, ...until }];
    case WireKind.SET:
      return [{ kind: "set", field, members: f.members.map(member) }];
    case WireKind.FLAG:
      return [{ kind: "flag", field, ...until }];
    default:
      return [];
  }
}
