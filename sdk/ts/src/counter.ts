import { given } from "./check.js";
import { Address, expires, type CallOptions } from "./request.js";
import type { Session } from "./session.js";

/**
 * A counter that is exact: concurrent increments all count, and one that is retried
 * counts once. Should concurrent increments together leave int64, its value is the
 * nearest end and `Info.saturated` is set. An absent counter is 0.
 */
export class CounterHandle {
  constructor(private readonly at: Address) {}

  /** A handle with more options, in the same session. */
  with(options: CallOptions): CounterHandle {
    return new CounterHandle(this.at.with(options));
  }

  get session(): Session | undefined {
    return this.at.session;
  }

  /**
   * Increments by delta, which may be negative, and returns the value as the
   * coordinator saw it just after. {@link get} is the read to rely on.
   */
  async add(delta: bigint | number = 1n): Promise<bigint> {
    const { bucket, key } = this.at;
    const by = int64("counter.add", this.at, delta);
    const res = await this.at.mutate("counter.add", [], (to, options, limits) =>
      to.counter.add({ bucket, key, delta: by, options }, limits));
    return res.value;
  }

  /** Reads the value. */
  async get(): Promise<bigint> {
    return (await this.read()).value;
  }

  /** Reads the value, and when the last of it is no longer shown. */
  async read(): Promise<{ value: bigint; expiresAt: Date | undefined }> {
    const { bucket, key } = this.at;
    const res = await this.at.read("counter.get", [], (to, options, limits) => to.counter.get({ bucket, key, options }, limits));
    return { value: res.value, expiresAt: expires(res.expiresAtMs) };
  }

  /** Takes away what a read now shows, and returns that. Increments that run beside it count on from 0. */
  async reset(): Promise<bigint> {
    const { bucket, key } = this.at;
    const res = await this.at.mutate("counter.reset", [], (to, options, limits) => to.counter.reset({ bucket, key, options }, limits));
    return res.value;
  }
}

/** What a counter can be changed by: a whole number of 64 bits. */
export function int64(op: string, at: Address, value: bigint | number): bigint {
  if (typeof value === "bigint" ? BigInt.asIntN(64, value) === value : Number.isSafeInteger(value)) return BigInt(value);
  throw at.refusal(op, `${given(value)} is not a bigint of 64 bits or a safe integer`);
}
