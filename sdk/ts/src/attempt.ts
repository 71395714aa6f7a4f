import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

import type { Deadline } from "./deadline.js";
import type { Endpoint, Endpoints } from "./endpoint.js";
import { summary, type CartwheelError } from "./errors.js";
import { ErrorDetail_Reason, ErrorDetailSchema, type ErrorDetail } from "./gen/cartwheel/v1/types_pb.js";
import { judge } from "./judge.js";
import { noStats, type Attempt } from "./stats.js";
import { Throttle } from "./throttle.js";

/** One operation on its way through its attempts. */
export interface Call {
  /** "set.add" */
  readonly op: string;
  readonly bucket: string;
  readonly key: string;
  /** Of a mutation; undefined for a read. */
  operationId?: string | undefined;
  attempts: number;
  /** Of the last attempt. */
  endpoint?: Endpoint;
  /** Some attempt may have taken effect. */
  unknown: boolean;
  /** The last reason a node gave. */
  told?: ErrorDetail | undefined;
  /** Of the last attempt that was not met with silence, if any. */
  last?: ConnectError;
}

export function newCall(op: string, bucket = "", key = ""): Call {
  return { op, bucket, key, attempts: 0, unknown: false };
}

/** What an attempt passes on to its transport. */
export interface Limits {
  signal: AbortSignal;
  timeoutMs: number;
}

/** Sends one request to one endpoint. */
export type Send<T> = (endpoint: Endpoint, limits: Limits) => Promise<T>;

/** How attempts are made. */
export interface AttemptOptions {
  /** Of one attempt at one endpoint, in milliseconds. */
  attemptTimeoutMs: number;
  /** Of one call, at most; 0 is as many as its deadline allows. */
  attempts: number;
  observe: ((attempt: Attempt) => void) | undefined;
}

/** Milliseconds between rounds: the first pause, and the longest. */
export const firstPause = 10;
export const lastPause = 500;

/** Carries calls through attempts, and counts. */
export class Attempts {
  readonly stats = noStats();
  readonly #throttle = new Throttle();
  readonly #underWay = new Set<Deadline>();

  constructor(readonly endpoints: Endpoints, readonly options: AttemptOptions) {}

  /** Asks endpoint after endpoint until one answers for good or the deadline passes. */
  async run<T>(deadline: Deadline, call: Call, send: Send<T>): Promise<T> {
    this.stats.operations++;
    if (this.endpoints.closed) deadline.cancel(closed());
    this.#underWay.add(deadline);
    try {
      return await this.#ask(deadline, call, send);
    } finally {
      this.#underWay.delete(deadline);
    }
  }

  /**
   * Ends the calls that are under way, and refuses those to come: another attempt would
   * connect anew, and nobody would end that connection.
   */
  close(): void {
    for (const deadline of this.#underWay) deadline.cancel(closed());
    this.endpoints.close();
  }

  async #ask<T>(deadline: Deadline, call: Call, send: Send<T>): Promise<T> {
    let from = this.endpoints.first();
    let hopeless: ErrorDetail | undefined;
    for (let pause = firstPause; ; pause = Math.min(2 * pause, lastPause)) {
      let stay = 0;
      for (const endpoint of this.endpoints.round(from)) {
        if (deadline.ended !== undefined) throw this.giveUp(call, deadline);
        if (this.options.attempts !== 1 && !this.#throttle.allow(performance.now())) {
          call.told = create(ErrorDetailSchema, { reason: ErrorDetail_Reason.OVERLOADED, operation: call.op });
          this.stats.heldBack++;
          break;
        }
        const answer = await this.#try(deadline, call, endpoint, send);
        if (!(answer instanceof Failed)) {
          this.#throttle.note(performance.now(), true);
          return answer;
        }
        const err = answer.error;
        const v = judge(err);
        if (v.detail !== undefined) {
          this.#throttle.note(performance.now(), v.overloaded !== true);
          call.told = v.detail;
        }
        call.unknown ||= v.unknown;
        if (v.hopeless === true) hopeless = v.detail;
        // Silence explains less than any word heard before it.
        const silent = v.detail === undefined && err.code === Code.DeadlineExceeded;
        if (call.last === undefined || !silent) call.last = err;
        // The caller's own deadline or cancellation is nobody's fault.
        if (v.blame && deadline.ended === undefined) this.endpoints.failed(endpoint);
        if (!v.retry) {
          call.told = v.detail;
          throw this.giveUp(call);
        }
        if (call.attempts === this.options.attempts) throw this.giveUp(call, deadline);
        if (v.overloaded === true) {
          // The others have as much to do: to ask them at once makes it worse.
          from = endpoint.position + 1;
          stay = v.stay ?? 0;
          break;
        }
      }
      if (hopeless !== undefined) {
        call.told = hopeless;
        throw this.giveUp(call);
      }
      // Half the pause is fixed and half is dice, so that clients that failed
      // together do not come back together.
      const wait = Math.max(pause / 2 + (Math.random() * pause) / 2, stay + (Math.random() * stay) / 4);
      if (stay > 0 && deadline.left < wait) throw this.giveUp(call); // nobody will listen before it is too late
      if (!(await deadline.sleep(wait))) throw this.giveUp(call, deadline);
    }
  }

  async #try<T>(deadline: Deadline, call: Call, endpoint: Endpoint, send: Send<T>): Promise<T | Failed> {
    this.stats.attempts++;
    if (++call.attempts > 1) {
      this.stats.retries++;
      if (call.attempts === 2) this.stats.retriedOperations++;
      if (endpoint !== call.endpoint) this.stats.failovers++;
    }
    call.endpoint = endpoint;
    const began = performance.now();
    let answer: T | Failed;
    try {
      const timeoutMs = Math.max(1, Math.ceil(Math.min(this.options.attemptTimeoutMs, deadline.left)));
      answer = await send(endpoint, { signal: deadline.signal, timeoutMs });
      this.endpoints.answered(endpoint);
    } catch (err) {
      answer = new Failed(ConnectError.from(err));
    }
    this.options.observe?.({
      op: call.op, operationId: call.operationId, number: call.attempts, endpoint: endpoint.url,
      tookMs: performance.now() - began, error: answer instanceof Failed ? answer.error : undefined,
    });
    return answer;
  }

  /** The error of a call that is over, counted. */
  giveUp(call: Call, deadline?: Deadline): CartwheelError {
    this.stats.failures++;
    const err = summary(call, deadline);
    if (err.outcomeUnknown) this.stats.unknownOutcomes++;
    return err;
  }
}

function closed(): Error {
  return new Error("the client was closed");
}

/** The error of one attempt. */
class Failed {
  constructor(readonly error: ConnectError) {}
}
