// Of await using, for those whose compiler has it: without it their libraries would have
// to be told of Symbol.asyncDispose, even where they never use it.
/// <reference lib="esnext.disposable" preserve="true" />
import type { Transport } from "@connectrpc/connect";

import { Attempts } from "./attempt.js";
import { BlobHandle } from "./blob.js";
import type { Rule } from "./check.js";
import { ClusterHandle } from "./cluster.js";
import { CounterHandle } from "./counter.js";
import { Deadline } from "./deadline.js";
import { Endpoints, type Connection } from "./endpoint.js";
import { CartwheelError } from "./errors.js";
import { MapHandle } from "./map.js";
import { Operations } from "./operation.js";
import { checkConnect } from "./options.js";
import { pipelined, type Api } from "./pipeline.js";
import { RegisterHandle } from "./register.js";
import { Address, type Shared } from "./request.js";
import { SetHandle } from "./set.js";
import type { Attempt, Stats } from "./stats.js";

/** Options of a client. */
export interface ConnectOptions {
  /** Of calls that name none, with all their attempts. Default 10,000. */
  timeoutMs?: number | undefined;
  /** Of one attempt at one endpoint; it should leave room for several within a call. Default 2,000. */
  attemptTimeoutMs?: number | undefined;
  /**
   * Attempts of one call at most; 0, the default, is as many as its deadline allows.
   * Calls of one attempt are sent whatever became of others: such a client is not kept
   * from asking an overloaded cluster for more, as others are.
   */
  attempts?: number | undefined;
  /** For how long an endpoint that failed is asked only when no other is left. Default 1,000. */
  cooldownMs?: number | undefined;
  /**
   * Begin each call at the next endpoint, spreading the load. Without it calls stay
   * with one endpoint as long as that one answers.
   */
  rotate?: boolean | undefined;
  /**
   * False makes handles without a session, unless `with` gives them one. It spares the
   * nodes a signature on every reply.
   */
  sessions?: boolean | undefined;
  /**
   * How calls travel. "unary": each in a request of its own. "batch": those that wait
   * while others are on their way go together. "stream": all on one stream, Node only.
   */
  api?: Api | undefined;
  /** Ends connecting. */
  signal?: AbortSignal | undefined;
  /** Called after every attempt: be quick. */
  onAttempt?: ((attempt: Attempt) => void) | undefined;
  /** How an endpoint is reached, instead of by HTTP: for tests, or a transport with interceptors of one's own. */
  transport?: ((url: string) => Transport) | undefined;
}

/** What a platform brings along: how it connects, and how calls travel best. */
export interface Platform {
  connect(url: string): Connection;
  api: Api;
  /** Ways for calls to travel that there are. */
  apis: readonly Api[];
  /** Options that it has of its own. */
  options: Readonly<Record<string, Rule>>;
}

/** A client of one cluster, on any platform. */
export class Client {
  readonly #shared: Shared;
  readonly #attempts: Attempts;
  readonly #operations: Operations;

  protected constructor(addresses: readonly string[], options: ConnectOptions, platform: Platform) {
    checkConnect(addresses, options, platform);
    const { transport, api = platform.api } = options;
    const connect = (url: string): Connection =>
      pipelined(transport === undefined ? platform.connect(url) : { transport: transport(url), close: () => undefined }, api);
    const endpoints = new Endpoints(addresses, connect, options.rotate ?? false, options.cooldownMs ?? 1_000);
    this.#attempts = new Attempts(endpoints, {
      attemptTimeoutMs: options.attemptTimeoutMs ?? 2_000,
      attempts: options.attempts ?? 0,
      observe: options.onAttempt,
    });
    this.#operations = new Operations(this.#attempts);
    this.#shared = {
      attempts: this.#attempts,
      operations: this.#operations,
      timeoutMs: options.timeoutMs ?? 10_000,
      sessions: options.sessions ?? true,
    };
  }

  /** Asks the first endpoint that answers for the time, which operation ids are made of. */
  protected async begin(signal: AbortSignal | undefined): Promise<void> {
    const deadline = new Deadline(this.#shared.timeoutMs, signal);
    try {
      await this.#operations.setClock(deadline);
    } catch (err) {
      this.close();
      // That it asks for the time is nobody's business.
      throw err instanceof CartwheelError ? new CartwheelError({ ...err, op: "connect" }, err.cause) : err;
    } finally {
      deadline.release();
    }
  }

  /** The set at bucket and key. Like all handles it costs nothing and asks nobody. */
  set(bucket: string, key: string): SetHandle {
    return new SetHandle(Address.of(this.#shared, bucket, key));
  }

  counter(bucket: string, key: string): CounterHandle {
    return new CounterHandle(Address.of(this.#shared, bucket, key));
  }

  register(bucket: string, key: string): RegisterHandle {
    return new RegisterHandle(Address.of(this.#shared, bucket, key));
  }

  blob(bucket: string, key: string): BlobHandle {
    return new BlobHandle(Address.of(this.#shared, bucket, key));
  }

  map(bucket: string, key: string): MapHandle {
    return new MapHandle(Address.of(this.#shared, bucket, key));
  }

  /** The cluster as the endpoint that answers sees it. */
  cluster(): ClusterHandle {
    return new ClusterHandle(this.#shared);
  }

  /**
   * What time it is on the clock of the cluster, as learnt when one of its nodes was
   * last asked. Expiries go by that clock.
   */
  serverTime(): Date {
    return new Date(this.#operations.clock.now().now);
  }

  /** What this client has done so far. */
  stats(): Stats {
    return { ...this.#attempts.stats };
  }

  /** Ends the connections. Calls under way and calls to come fail, as CANCELED. */
  close(): void {
    this.#attempts.close();
  }

  /** `await using db = await Cartwheel.connect(...)` closes it at the end of the block. */
  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }
}
