import { Address, expires, type CallOptions, type Context } from "./request.js";
import type { Session } from "./session.js";

/** What a read of a register shows. */
export interface RegisterValue {
  /** Undefined for an absent register; an empty value is one. */
  value: Uint8Array | undefined;
  /** When it was written, as a hybrid logical clock. */
  stamp: bigint;
  /** When it is no longer shown; undefined for never. */
  expiresAt: Date | undefined;
  /** Covers the value and its concurrent losers. */
  context: Context;
}

/** A concurrent write that lost. */
export interface Loser {
  value: Uint8Array;
  stamp: bigint;
}

/**
 * A value where the last writer wins. Of concurrent writes all but one are discarded
 * by definition; {@link concurrent} shows those that lost, while they last.
 */
export class RegisterHandle {
  constructor(private readonly at: Address) {}

  /** A handle with more options, in the same session. */
  with(options: CallOptions): RegisterHandle {
    return new RegisterHandle(this.at.with(options));
  }

  get session(): Session | undefined {
    return this.at.session;
  }

  /** Writes the value; text is written as UTF-8. The context covers it. */
  async set(value: Uint8Array | string): Promise<Context> {
    const { bucket, key } = this.at;
    const written = this.at.bytes("register.set", value);
    const res = await this.at.mutate("register.set", [], (to, options, limits) =>
      to.register.set({ bucket, key, value: written, options }, limits));
    return res.context;
  }

  /** Reads the value. */
  async get(): Promise<RegisterValue> {
    const { losers: _, ...value } = await this.#read(false);
    return value;
  }

  /** Reads the value together with the concurrent ones that lost to it, newest first. */
  concurrent(): Promise<RegisterValue & { losers: Loser[] }> {
    return this.#read(true);
  }

  /** Removes what a read now shows, or the context. A set that runs beside it survives. */
  async delete(context: Context = ""): Promise<void> {
    const { bucket, key } = this.at;
    await this.at.mutate("register.delete", [], (to, options, limits) =>
      to.register.delete({ bucket, key, context, options }, limits));
  }

  async #read(withConcurrent: boolean): Promise<RegisterValue & { losers: Loser[] }> {
    const { bucket, key } = this.at;
    const res = await this.at.read("register.get", [], (to, options, limits) =>
      to.register.get({ bucket, key, withConcurrent, options }, limits));
    return {
      value: res.exists ? res.value : undefined,
      stamp: res.stamp,
      expiresAt: expires(res.expiresAtMs),
      context: res.context,
      losers: res.concurrent.map(({ value, stamp }) => ({ value, stamp })),
    };
  }
}
