import type { Deadline } from "./deadline.js";

/** How many tokens a node takes in one request. */
export const maxTokens = 32;

/** Occurs in no token. */
const separator = ".";

/**
 * What one client has written and been shown of one value. A call within it is
 * answered from a state that holds all of that, or fails with SESSION_UNMET: the
 * client reads its own writes, and nothing that it has read once goes away again by
 * itself.
 *
 * Every handle begins a session of its own. Handles made from it by `with` share it,
 * and so may others on the same value: `db.set("carts", "42").with({ session })`. A
 * call sees what was written or shown by each call that had ended before it began.
 *
 * What was written with w: 1 and lost with the only disk that held it stays in the
 * session, which then cannot be honoured any more: forget it.
 */
export class Session {
  // They stand together for all that was seen.
  #tokens: string[];
  #underWay = 0;
  #forgotten = 0;
  readonly #queue: (() => void)[] = [];

  /**
   * Goes on from the token of another session, of this or another process; from an
   * empty one it begins anew.
   */
  constructor(token = "") {
    this.#tokens = token === "" ? [] : token.split(separator);
  }

  /**
   * The session as text, to be kept in a cookie or handed to another process. It is
   * bound to the type, bucket and key of the handle. Empty for a session that has
   * seen nothing.
   */
  get token(): string {
    return this.#tokens.join(separator);
  }

  /** Begins the session anew. Calls that are under way leave nothing in it. */
  forget(): void {
    this.#tokens = [];
    this.#forgotten++;
  }

  // A reply's token covers the tokens of its request. So the tokens that a call took
  // along are replaced by that of its reply, and those which other calls have brought
  // meanwhile stay beside it:
  //
  //   seen {a}   ├─ call 1 takes a ────────────────────▶ brings b    seen {c, b}
  //              ├─ call 2 takes a ─────▶ brings c                   seen {c}
  //                                            └─ call 3 takes c …   brings d: seen {b, d}
  //
  // A token stays until the first call that began after its coming has ended. All
  // that come in between are of calls that were under way already, so there are never
  // more tokens than calls at the same time, and those are bounded.

  /**
   * Waits until fewer calls are under way than a request can carry tokens. Undefined
   * if the deadline passed before.
   *
   * @internal
   */
  async begin(deadline: Deadline): Promise<Turn | undefined> {
    while (this.#underWay >= maxTokens) {
      if (deadline.ended !== undefined) return undefined;
      await new Promise<void>((resolve) => {
        const go = () => {
          deadline.signal.removeEventListener("abort", go);
          const at = this.#queue.indexOf(go);
          if (at >= 0) this.#queue.splice(at, 1);
          resolve();
        };
        this.#queue.push(go);
        deadline.signal.addEventListener("abort", go, { once: true });
      });
      if (deadline.ended !== undefined) {
        // Its turn may be what woke it: then it is the next one's.
        if (this.#underWay < maxTokens) this.#queue[0]?.();
        return undefined;
      }
    }
    this.#underWay++;
    const taken = [...this.#tokens];
    const forgotten = this.#forgotten;
    return {
      tokens: taken,
      // Without a token, because the call failed or the session was too large for
      // one, all that was seen before stays.
      end: (token) => {
        if (token !== "" && forgotten === this.#forgotten) {
          this.#tokens = this.#tokens.filter((seen) => seen !== token && !taken.includes(seen));
          this.#tokens.push(token);
        }
        this.#underWay--;
        this.#queue[0]?.();
      },
    };
  }
}

/** One call's part in a session. */
export interface Turn {
  /** What the call takes along. */
  tokens: string[];
  /** Takes the token of the reply. */
  end(token: string): void;
}
