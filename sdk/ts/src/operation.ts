import { newCall, type Attempts } from "./attempt.js";
import { Deadline } from "./deadline.js";

/**
 * Tells the time of the server: what it said once, plus what has passed here since
 * on the monotonic clock. A wall clock that is wrong or gets set does not matter.
 */
export class ServerClock {
  #server = 0;
  #here = 0;
  #wall = 0;

  /** Learns that it was `server` (Unix milliseconds) when performance.now() was `at`. */
  set(server: number, at: number): void {
    this.#server = server;
    this.#here = at;
    this.#wall = Date.now() - (performance.now() - at);
  }

  /** The server's time, and whether it is worth asking anew. */
  now(): { now: number; old: boolean } {
    const passed = performance.now() - this.#here;
    return { now: this.#server + passed, old: stale(passed, Date.now() - this.#wall) };
  }
}

/**
 * How far the client drifts, or sleeps, before it asks again, in milliseconds. It is
 * well inside the ten minutes for which ids are good.
 */
const resetAfter = 3 * 60_000;

/**
 * Looks at what passed on the monotonic clock and, because that one may stand still
 * while the machine is suspended, at what passed on the wall.
 */
export function stale(monotonic: number, wall: number): boolean {
  return Math.max(monotonic, wall, -wall) > resetAfter;
}

/** Makes operation ids, and remembers the highest hybrid logical clock seen. */
export class Operations {
  readonly clock = new ServerClock();
  /** The highest hybrid logical clock seen: echoed, so that of two writes through this client the second wins. */
  stamp = 0n;
  // Random, so that (client id, sequence) never names two operations.
  readonly #client = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
  #last = 0;
  #asking: Promise<void> | undefined;

  constructor(private readonly attempts: Attempts) {}

  /** Asks the cluster what time it is. */
  async setClock(deadline: Deadline): Promise<void> {
    await this.attempts.run(deadline, newCall("cluster.status"), async (to, limits) => {
      const asked = performance.now();
      const reply = await to.cluster.status({}, limits);
      // The server looked at its clock somewhere between asking and hearing.
      this.clock.set(Number(reply.serverTimeMs), (asked + performance.now()) / 2);
      this.saw(reply.stamp);
    });
  }

  /**
   * Makes an operation id. If the clock is stale and nobody can be asked in one
   * attempt's time, the old reckoning has to do.
   */
  async issue(): Promise<string> {
    if (this.clock.now().old) {
      this.#asking ??= this.#askInTime().finally(() => (this.#asking = undefined));
      await this.#asking.catch(() => undefined);
    }
    return this.next(this.clock.now().now);
  }

  next(issued: number): string {
    return `${this.#client}-${++this.#last}-${Math.floor(issued)}`;
  }

  saw(stamp: bigint): void {
    if (stamp > this.stamp) this.stamp = stamp;
  }

  async #askInTime(): Promise<void> {
    const deadline = new Deadline(this.attempts.options.attemptTimeoutMs);
    try {
      await this.setClock(deadline);
    } finally {
      deadline.release();
    }
  }
}
