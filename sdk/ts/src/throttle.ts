/** Attempts that are let through for each that is taken: enough to notice soon that there is room again. */
const overAsk = 2;
/** The share that is let through whatever becomes of it. */
const atLeast = 0.1;
/** Milliseconds in which counts fall to 1/e. */
const memory = 1_000;

/**
 * Keeps back what an overloaded cluster would most likely refuse: adaptive
 * throttling by the client (Beyer et al., "Site Reliability Engineering",
 * O'Reilly 2016, chapter 21). A refusal costs a node a good part of an answer, so
 * clients that retry what was refused keep a cluster down that could do with a
 * moment's rest. Of late attempts it counts those wanted and those not refused;
 * wanting far more than is taken, the rest is kept back by dice.
 *
 * Times are milliseconds of a clock that never goes back.
 */
export class Throttle {
  #wanted = 0;
  #taken = 0;
  #at = 0;

  constructor(private readonly dice: () => number = Math.random) {}

  /** Tells whether to make an attempt now. */
  allow(now: number): boolean {
    this.#decay(now);
    if (this.dice() < Math.min(1 - atLeast, (this.#wanted - overAsk * this.#taken) / (this.#wanted + 1))) {
      this.#wanted++;
      return false;
    }
    return true;
  }

  /**
   * Counts an attempt that a node answered: it took it, or it refused it for
   * overload. Of nodes that say nothing nobody knows.
   */
  note(now: number, taken: boolean): void {
    this.#decay(now);
    this.#wanted++;
    if (taken) this.#taken++;
  }

  #decay(now: number): void {
    const passed = now - this.#at;
    if (passed <= 0) return;
    const left = Math.exp(-passed / memory);
    this.#wanted *= left;
    this.#taken *= left;
    this.#at = now;
  }
}
