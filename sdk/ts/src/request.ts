import type { MessageInitShape } from "@bufbuild/protobuf";

import { newCall, type Attempts, type Call, type Limits } from "./attempt.js";
import { flawOf, flawOfOptions, given, isBytes, isTime, kindOf, type Rule } from "./check.js";
import { Deadline } from "./deadline.js";
import type { Endpoint } from "./endpoint.js";
import { CartwheelError, isReason } from "./errors.js";
import type { ReadOptionsSchema, ReplyInfo, WriteOptionsSchema } from "./gen/cartwheel/v1/types_pb.js";
import type { Operations } from "./operation.js";
import { Session, type Turn } from "./session.js";
import { staleness, type Staleness } from "./staleness.js";
import { bytes } from "./text.js";

/**
 * An opaque token for exactly what a reply showed of one value. Handing it back with
 * a mutation replaces or removes just that. The empty text is none.
 */
export type Context = string;

/** What a reply says about itself; see {@link CallOptions.onInfo}. */
export interface Info {
  /** The answering node's hybrid logical clock. */
  stamp: bigint;
  /** A read that may miss an acknowledged write. */
  degraded: boolean;
  /** Replicas a read joined, or known to hold a mutation durably. */
  replicas: number;
  /** Id of the node that coordinated. */
  coordinator: string;
  /** A counter went past int64; its value is the nearest end. */
  saturated: boolean;
  /** Of a read: how far behind it may be. */
  staleness: Staleness;
  /** The session grew too large for a token: what this reply reflects is not in it. */
  sessionOverflow: boolean;
  /** Of a mutation. */
  operationId: string | undefined;
  /** How often it was tried. */
  attempts: number;
  /** Who answered. */
  endpoint: string;
}

/**
 * Options of the operations of a handle: `db.set("carts", "42").with({ w: 3 }).add("milk")`.
 * One that does not exist or cannot be meant makes every call of the handle fail with
 * INVALID_OPTION before anything is sent.
 */
export interface CallOptions {
  /** Mutations wait for so many durable copies, instead of the cluster's default. */
  w?: number | undefined;
  /** Reads join so many replicas, instead of the cluster's default. */
  r?: number | undefined;
  /** Reads ask one replica: cheapest, and possibly behind. */
  fast?: boolean | undefined;
  /** Reads are answered by replicas at most this far behind, or fail with TOO_STALE; 0 is however far. */
  maxStalenessMs?: number | undefined;
  /** Take part in the session of another handle on the same value; null is none. */
  session?: Session | null | undefined;
  /** Ends the call. Why it was aborted is the cause of the error. */
  signal?: AbortSignal | undefined;
  /** Of the call with all its attempts, instead of that of the client; 0 is past already. */
  timeoutMs?: number | undefined;
  /**
   * Run a mutation under this id, such as that of an error whose outcome is unknown:
   * it then takes effect at most once in all. Use such a handle for that one operation
   * only; for another the id is refused.
   */
  operationId?: string | undefined;
  /** What a mutation writes is no longer shown from then on, by the clock of the cluster. */
  expiresAt?: Date | undefined;
  /**
   * The same, so many milliseconds after each call. To carry out an operation again by
   * its id, say the same time with `expiresAt`.
   */
  expiresInMs?: number | undefined;
  /** Called with what each answered operation says about itself. */
  onInfo?: ((info: Info) => void) | undefined;
}

/** What all values of a client share. */
export interface Shared {
  attempts: Attempts;
  operations: Operations;
  timeoutMs: number;
  sessions: boolean;
}

type Write = MessageInitShape<typeof WriteOptionsSchema>;
type Read = MessageInitShape<typeof ReadOptionsSchema>;
type Reply = { info?: ReplyInfo | undefined; saturated?: boolean | undefined };

/** A value's address with options: the part all handles share. */
export class Address {
  /** What is wrong with the options. */
  readonly #flaw: string | undefined;

  private constructor(
    readonly shared: Shared,
    readonly bucket: string,
    readonly key: string,
    readonly options: CallOptions,
  ) {
    this.#flaw = flawOfOptions(options);
  }

  /** An address with a session of its own. */
  static of(shared: Shared, bucket: string, key: string): Address {
    return new Address(shared, bucket, key, { session: shared.sessions ? new Session() : null });
  }

  with(options: CallOptions): Address {
    const said = Object.fromEntries(Object.entries({ ...options }).filter(([, value]) => value !== undefined));
    return new Address(this.shared, this.bucket, this.key, { ...this.options, ...said });
  }

  get session(): Session | undefined {
    return this.options.session ?? undefined;
  }

  /** Carries out a read. */
  async read<T extends Reply>(
    op: string,
    names: readonly string[],
    send: (to: Endpoint, options: Read, limits: Limits) => Promise<T>,
  ): Promise<T> {
    this.check(op);
    const call = newCall(op, this.bucket, this.key);
    this.#checkNames(call, names);
    const { r, fast, maxStalenessMs } = this.options;
    return await this.#inTurn(call, (session) => {
      const options: Read = {
        r: r ?? 0, fast: fast ?? false, stamp: this.shared.operations.stamp, session,
        // Rounded down, but never to 0, which is however far.
        maxStalenessMs: maxStalenessMs === undefined || maxStalenessMs === 0 ? 0n : BigInt(Math.max(1, Math.floor(maxStalenessMs))),
      };
      return (to, limits) => send(to, options, limits);
    });
  }

  /** Carries out a mutation under one operation id. */
  async mutate<T extends Reply>(
    op: string,
    names: readonly string[],
    send: (to: Endpoint, options: Write, limits: Limits) => Promise<T>,
  ): Promise<T> {
    this.check(op);
    const { w, operationId, expiresAt, expiresInMs } = this.options;
    const { operations } = this.shared;
    for (let reissued = false; ; reissued = true) {
      const call = newCall(op, this.bucket, this.key);
      this.#checkNames(call, names);
      call.operationId = operationId ?? (await operations.issue());
      const expiresAtMs = this.expiry(op, expiresInMs === undefined ? expiresAt : new Date(operations.clock.now().now + expiresInMs));
      try {
        return await this.#inTurn(call, (session) => {
          const options: Write = {
            w: w ?? 0, operationId: call.operationId ?? "", stamp: operations.stamp, session, expiresAtMs,
          };
          return (to, limits) => send(to, options, limits);
        });
      } catch (err) {
        // An id of our own making that was refused as too old by the first node that
        // ever saw it proves that nothing happened: our reckoning of the server's
        // clock is off. A second id under a clock asked anew is safe.
        const mine = operationId === undefined && call.attempts === 1;
        if (reissued || !mine || !isReason(err, "OPERATION_EXPIRED") || !(await this.#askTime())) throw err;
      }
    }
  }

  /** Refuses options that cannot be meant. */
  check(op: string): void {
    if (this.#flaw !== undefined) throw this.refusal(op, this.#flaw);
  }

  /** Refuses a listing that cannot be meant. */
  checkList(op: string, list: object, rules: Readonly<Record<string, Rule>>): void {
    const flaw = flawOf(list, rules);
    if (flaw !== undefined) throw this.refusal(op, flaw);
  }

  /** The error of a call that is not sent, because its caller cannot mean it. */
  refusal(op: string, why: string): CartwheelError {
    return new CartwheelError({ op, bucket: this.bucket, key: this.key, reason: "INVALID_OPTION" }, new RangeError(why));
  }

  /** What is to be written; anything else would be written as nothing, over what is there. */
  bytes(op: string, value: Uint8Array | string): Uint8Array {
    if (typeof value !== "string" && !isBytes(value)) throw this.refusal(op, `what is to be written is ${kindOf(value)}, and neither a Uint8Array nor a string`);
    return bytes(value);
  }

  /** A time on the wire: 0 means never, so the epoch and all before it become its first moment. */
  expiry(op: string, at: Date | undefined): bigint {
    if (at === undefined) return 0n;
    if (!isTime(at)) throw this.refusal(op, `expiresAt is ${given(at)}, and not a valid Date`);
    return BigInt(Math.max(1, Math.floor(at.getTime())));
  }

  /** A deadline as for a call of this handle; the caller releases it. */
  deadline(): Deadline {
    return new Deadline(this.options.timeoutMs ?? this.shared.timeoutMs, this.options.signal);
  }

  /** Carries out a call within the session of its handle. */
  async #inTurn<T extends Reply>(
    call: Call,
    begin: (session: { tokens: string[] } | undefined) => (to: Endpoint, limits: Limits) => Promise<T>,
  ): Promise<T> {
    const { attempts, operations } = this.shared;
    const deadline = this.deadline();
    let turn: Turn | undefined;
    let token = "";
    try {
      turn = await this.session?.begin(deadline);
      if (turn === undefined && this.session !== undefined) {
        attempts.stats.operations++;
        throw attempts.giveUp(call, deadline);
      }
      const res = await attempts.run(deadline, call, begin(turn && { tokens: turn.tokens }));
      token = res.info?.session ?? "";
      operations.saw(res.info?.stamp ?? 0n);
      this.#report(call, res);
      return res;
    } finally {
      turn?.end(token);
      deadline.release();
    }
  }

  async #askTime(): Promise<boolean> {
    const deadline = this.deadline();
    try {
      await this.shared.operations.setClock(deadline);
      return true;
    } catch {
      return false;
    } finally {
      deadline.release();
    }
  }

  #report(call: Call, { info, saturated }: Reply): void {
    this.options.onInfo?.({
      stamp: info?.stamp ?? 0n,
      degraded: info?.degraded ?? false,
      replicas: info?.replicasAnswered ?? 0,
      coordinator: info?.coordinator ?? "",
      saturated: saturated ?? false,
      staleness: staleness(info?.staleness),
      sessionOverflow: info?.sessionOverflow ?? false,
      operationId: call.operationId,
      attempts: call.attempts,
      endpoint: call.endpoint?.url ?? "",
    });
  }

  /** Refuses what protobuf could not carry; limits are the server's to hold. */
  #checkNames(call: Call, names: readonly string[]): void {
    for (const name of [this.bucket, this.key, ...names] as unknown[]) {
      const flaw = typeof name !== "string" ? `names are strings, and ${given(name)} is not`
        : wellFormed(name) ? undefined : `names are UTF-8, and ${given(name)} has half of a surrogate pair`;
      if (flaw !== undefined) throw new CartwheelError({ op: call.op, bucket: this.bucket, key: this.key, reason: "INVALID_NAME" }, new Error(flaw));
    }
  }
}

/** Tells whether a text can be written as UTF-8. */
function wellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

/** A time of the wire. */
export function expires(atMs: bigint): Date | undefined {
  return atMs === 0n ? undefined : new Date(Number(atMs));
}
