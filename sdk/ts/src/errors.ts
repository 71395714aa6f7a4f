import { Code, ConnectError } from "@connectrpc/connect";

import type { Call } from "./attempt.js";
import type { Deadline } from "./deadline.js";
import { ErrorDetail_Reason } from "./gen/cartwheel/v1/types_pb.js";
import { judge } from "./judge.js";
import { describe, staleness, type Staleness } from "./staleness.js";

/**
 * Why an operation failed: what a node says (see ErrorDetail.Reason of the
 * contract, where each is explained), or what the client finds by itself:
 *
 * - `UNREACHABLE`: no endpoint answered
 * - `CANCELED`: the caller's signal was aborted, and why is the cause; or the client was closed
 * - `REFUSED`: something on the way refused; see the cause
 * - `SIBLINGS_LEFT`: `BlobHandle.update` stored its value but ended before its
 *   siblings were resolved; nothing is lost, the next update meets them
 */
export type Reason =
  | Exclude<keyof typeof ErrorDetail_Reason, "UNSPECIFIED">
  | "UNREACHABLE"
  | "CANCELED"
  | "REFUSED"
  | "SIBLINGS_LEFT";

/** What a {@link CartwheelError} tells. */
export interface Failure {
  /** Service and method: "set.add"; "connect" of connecting. */
  op: string;
  bucket: string;
  key: string;
  reason: Reason;
  /** A mutation that may have taken effect, or may yet. */
  outcomeUnknown: boolean;
  /** Of a mutation: to call again under it is safe for at least ten minutes. */
  operationId: string | undefined;
  /** QUORUM_NOT_REACHED: replicas asked for. */
  needed: number;
  /** QUORUM_NOT_REACHED: replicas that answered. */
  answered: number;
  /**
   * TOO_LARGE, INVALID_OPTION, SESSION_INVALID: the bound, in bytes for sizes.
   * TOO_STALE: the milliseconds asked for.
   */
  limit: number;
  /** What was given; TOO_STALE: the best bound there is, 0 where nobody knows one. */
  actual: number;
  /** TOO_STALE, SESSION_UNMET: the best there is, if a node told. */
  staleness: Staleness | undefined;
  /** How often it was tried. */
  attempts: number;
  /** Where it was tried last. */
  endpoint: string | undefined;
}

/**
 * Every error of an operation. Unless `outcomeUnknown` is set, a failed mutation
 * changed nothing. Its message names operation, key and numbers: "set.add
 * carts/42: QUORUM_NOT_REACHED, needed 2, got 1; outcome unknown; tried 3 times".
 */
export class CartwheelError extends Error implements Failure {
  override readonly name = "CartwheelError";
  declare readonly op: string;
  declare readonly bucket: string;
  declare readonly key: string;
  declare readonly reason: Reason;
  declare readonly outcomeUnknown: boolean;
  declare readonly operationId: string | undefined;
  declare readonly needed: number;
  declare readonly answered: number;
  declare readonly limit: number;
  declare readonly actual: number;
  declare readonly staleness: Staleness | undefined;
  declare readonly attempts: number;
  declare readonly endpoint: string | undefined;

  constructor(failure: Pick<Failure, "op" | "bucket" | "key" | "reason"> & Partial<Failure>, cause?: unknown) {
    const all: Failure = {
      outcomeUnknown: false, operationId: undefined, needed: 0, answered: 0, limit: 0, actual: 0,
      staleness: undefined, attempts: 0, endpoint: undefined, ...failure,
    };
    super(message(all, cause), cause === undefined ? undefined : { cause });
    Object.assign(this, all);
  }
}

/** Tells whether an error is that of an operation, and failed for one of the reasons. */
export function isReason(err: unknown, ...reasons: Reason[]): err is CartwheelError {
  return err instanceof CartwheelError && reasons.includes(err.reason);
}

function message(f: Failure, cause: unknown): string {
  let where = f.op;
  if (f.bucket !== "" || f.key !== "") where += ` ${clip(f.bucket, 64)}/${clip(f.key, 1024)}`;
  let text = `${where}: ${f.reason}`;
  if (f.needed > 0) text += `, needed ${f.needed}, got ${f.answered}`;
  if (f.reason === "TOO_STALE") text += `, asked for at most ${f.limit} ms`;
  // A number below the bound is no excess, and the node's words say what it is.
  else if (f.limit > 0 && f.actual > f.limit) text += `, limit ${f.limit}, got ${f.actual}`;
  if (f.staleness !== undefined) text += `, the best is ${describe(f.staleness)}`;
  if (f.outcomeUnknown) text += "; outcome unknown";
  if (f.attempts > 1) text += `; tried ${f.attempts} times`;
  if (!(cause instanceof Error)) return text;
  // Nodes repeat where they were.
  const why = cause instanceof ConnectError ? cause.rawMessage : cause.message;
  return `${text}: ${why.startsWith(`${where}: `) ? why.slice(where.length + 2) : why}`;
}

/** Cuts a name that is too long, as nodes do; of what is no text, it makes one. */
function clip(given: string, limit: number): string {
  const name = String(given);
  return name.length > limit ? `${name.slice(0, 64)}…` : name;
}

/**
 * Sums up a call that is over. The reason a node gave says more than the deadline
 * that ended the waiting, so it is preferred.
 */
export function summary(call: Call, deadline: Deadline | undefined): CartwheelError {
  const canceled = deadline?.ended === "canceled";
  const detail = call.told;
  const failure = {
    op: call.op,
    bucket: call.bucket,
    key: call.key,
    reason: canceled ? "CANCELED" as const : reasonOf(call),
    outcomeUnknown: call.unknown && call.operationId !== undefined,
    operationId: call.operationId,
    needed: detail?.needed ?? 0,
    answered: detail?.answered ?? 0,
    limit: Number(detail?.limit ?? 0n),
    actual: Number(detail?.actual ?? 0n),
    staleness: detail?.staleness === undefined ? undefined : staleness(detail.staleness),
    attempts: call.attempts,
    endpoint: call.endpoint?.url,
  };
  return new CartwheelError(failure, canceled ? deadline.reason : call.last);
}

function reasonOf(call: Call): Reason {
  if (call.told !== undefined) {
    // One that is newer than this client has no name here.
    const name = ErrorDetail_Reason[call.told.reason] as Reason | "UNSPECIFIED" | undefined;
    return name === undefined || name === "UNSPECIFIED" ? "REFUSED" : name;
  }
  const last = call.last;
  if (last === undefined || last.code === Code.DeadlineExceeded) return "DEADLINE_PAST";
  if (judge(last).retry) return "UNREACHABLE";
  return last.code === Code.ResourceExhausted ? "TOO_LARGE" : "REFUSED";
}
