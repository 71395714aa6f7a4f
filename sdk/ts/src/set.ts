import type { MessageInitShape } from "@bufbuild/protobuf";

import { flawOfChange, setListing, type OneOf } from "./check.js";
import type { Member as Wire, MemberSchema } from "./gen/cartwheel/v1/set_pb.js";
import { Address, expires, type CallOptions, type Context } from "./request.js";
import type { Session } from "./session.js";

/** One member of a set and what travels with it. */
export interface Member {
  /** Non-empty, at most 4 KiB. */
  member: string;
  /** At most 1 MiB; empty or undefined for none. */
  note?: Uint8Array | undefined;
  /** No longer shown from then on, to the millisecond; undefined for never. */
  expiresAt?: Date | undefined;
}

/** One step of {@link SetHandle.update}: an add or a remove, not both. */
export type SetChange = OneOf<{ add: string | Member; remove: string }>;

/** Narrows a listing of members. */
export interface ListOptions {
  /** Only members that begin with it. */
  prefix?: string | undefined;
  /** Only members at or behind this one, in the order of their bytes. */
  from?: string | undefined;
  /** Only members before this one. */
  until?: string | undefined;
  /** Pages of at most so many members; without it the server chooses. */
  pageSize?: number | undefined;
  /** Begin where a page left off: its `next`, under the same prefix, from and until. */
  cursor?: string | undefined;
}

/** One page of a listing. */
export interface Page {
  members: Member[];
  /** Where the next page begins, for `cursor`; empty after the last. */
  next: string;
  /** Covers what this page showed. */
  context: Context;
}

/**
 * A set of strings. Adds win: an add that runs beside a remove or a clear stays. A
 * remove takes away what was observed, by the given context or by a read made for the
 * purpose. An absent set is empty.
 */
export class SetHandle {
  constructor(private readonly at: Address) {}

  /** A handle with more options, in the same session. */
  with(options: CallOptions): SetHandle {
    return new SetHandle(this.at.with(options));
  }

  get session(): Session | undefined {
    return this.at.session;
  }

  /** Puts members in. The context covers what was added. */
  add(...members: string[]): Promise<Context> {
    return this.addMembers(...members.map((member) => ({ member })));
  }

  /**
   * Puts members in with their notes and expiries. Of one already present the latest
   * note is shown, until the latest expiry that any add of it has, of which never is the
   * latest.
   */
  async addMembers(...members: Member[]): Promise<Context> {
    const { bucket, key } = this.at;
    const list = members.map((m) => wireMember("set.add", this.at, m));
    const res = await this.at.mutate("set.add", members.map((m) => m.member), (to, options, limits) =>
      to.set.add({ bucket, key, members: list, options }, limits));
    return res.context;
  }

  /** Takes out what a read now shows of the members. An absent one is no error. */
  remove(...members: string[]): Promise<void> {
    return this.removeWith("", ...members);
  }

  /** Takes out what the context showed of the members, and leaves adds it did not show. */
  async removeWith(context: Context, ...members: string[]): Promise<void> {
    const { bucket, key } = this.at;
    await this.at.mutate("set.remove", members, (to, options, limits) =>
      to.set.remove({ bucket, key, members, context, options }, limits));
  }

  /** Applies the changes in order as one operation: everybody sees all of it or none. */
  update(...changes: SetChange[]): Promise<Context> {
    return this.updateWith("", ...changes);
  }

  /** Is {@link update} where removes take out what the context showed. */
  async updateWith(context: Context, ...changes: SetChange[]): Promise<Context> {
    const { bucket, key } = this.at;
    for (const [i, c] of changes.entries()) {
      const flaw = flawOfChange(c, ["add", "remove"], []);
      if (flaw !== undefined) throw this.at.refusal("set.update", `change ${i + 1} ${flaw}`);
    }
    const names = changes.map((c) => (c.remove !== undefined ? c.remove : memberOf(c.add).member));
    const steps = changes.map((c) => ({
      change: c.remove !== undefined
        ? { case: "remove" as const, value: c.remove }
        : { case: "add" as const, value: wireMember("set.update", this.at, memberOf(c.add)) },
    }));
    const res = await this.at.mutate("set.update", names, (to, options, limits) =>
      to.set.update({ bucket, key, changes: steps, context, options }, limits));
    return res.context;
  }

  /** Removes every member that a read now shows, or the context. Members added meanwhile stay. */
  async clear(context: Context = ""): Promise<void> {
    const { bucket, key } = this.at;
    await this.at.mutate("set.clear", [], (to, options, limits) => to.set.clear({ bucket, key, context, options }, limits));
  }

  /** Tells whether the member is in the set. */
  async contains(member: string): Promise<boolean> {
    const { found } = await this.containsEach(member);
    return found[0] === true;
  }

  /** Answers for every member, in order. The context covers what was shown of them. */
  async containsEach(...members: string[]): Promise<{ found: boolean[]; context: Context }> {
    const { bucket, key } = this.at;
    const res = await this.at.read("set.contains", members, async (to, options, limits) => {
      const res = await to.set.contains({ bucket, key, members, options }, limits);
      if (res.contains.length !== members.length) {
        throw new Error("the reply answers for fewer members than were asked about");
      }
      return res;
    });
    return { found: res.contains, context: res.context };
  }

  /** Counts the members. */
  async size(): Promise<number> {
    const { bucket, key } = this.at;
    const res = await this.at.read("set.size", [], (to, options, limits) => to.set.size({ bucket, key, options }, limits));
    return Number(res.size);
  }

  /**
   * Lists the set in byte order, page by page, so that a set of any size may be
   * walked. A member present throughout the walk comes exactly once.
   */
  members(options: ListOptions = {}): AsyncIterable<Member> {
    const pages = this.pages(options);
    return {
      async *[Symbol.asyncIterator]() {
        for await (const page of pages) yield* page.members;
      },
    };
  }

  /** Is {@link members} by the page, for those who need the contexts or want to go on later. */
  pages(options: ListOptions = {}): AsyncIterable<Page> {
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
  async page(list: ListOptions = {}): Promise<Page> {
    const { bucket, key } = this.at;
    this.at.checkList("set.members", list, setListing);
    const { prefix = "", from = "", until = "", cursor = "", pageSize: limit = 0 } = list;
    const res = await this.at.read("set.members", [prefix, from, until, cursor], (to, options, limits) =>
      to.set.members({ bucket, key, prefix, from, until, cursor, limit, options }, limits));
    return { members: res.members.map(member), next: res.nextCursor, context: res.context };
  }
}

export function memberOf(given: string | Member): Member {
  return typeof given === "string" ? { member: given } : given;
}

export function wireMember(op: string, at: Address, m: Member): MessageInitShape<typeof MemberSchema> {
  return { member: m.member, note: m.note ?? new Uint8Array(), expiresAtMs: at.expiry(op, m.expiresAt) };
}

export function member(m: Wire): Member {
  const shown: Member = { member: m.member };
  if (m.note.length > 0) shown.note = m.note;
  if (m.expiresAtMs !== 0n) shown.expiresAt = expires(m.expiresAtMs);
  return shown;
}
