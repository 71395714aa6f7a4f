import { Code, ConnectError } from "@connectrpc/connect";

/** The longest a timer can wait, in milliseconds. */
const longest = 2 ** 31 - 1;

/**
 * When a call ends whatever became of it: at its deadline, or when its caller's
 * signal is aborted or its client is closed. Release it when the call is over.
 */
export class Deadline {
  /** On the clock of performance.now(). */
  readonly at: number;
  #ended: "canceled" | "past" | undefined;
  #reason: unknown;
  readonly #controller = new AbortController();
  readonly #timer: ReturnType<typeof setTimeout>;
  readonly #outer: AbortSignal | undefined;
  readonly #abort = () => this.#end(this.#outer?.reason);

  constructor(timeoutMs: number, outer?: AbortSignal) {
    this.at = performance.now() + timeoutMs;
    this.#outer = outer;
    this.#timer = setTimeout(() => this.#end(past()), Math.min(timeoutMs, longest));
    if (outer?.aborted === true) this.#abort();
    else if (timeoutMs <= 0) this.#end(past());
    else outer?.addEventListener("abort", this.#abort, { once: true });
  }

  /** Ends the call; why is for its caller to hear. */
  cancel(reason: unknown): void {
    this.#end(reason);
  }

  /** Aborted when the call has ended. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** How the call ended, if it has. */
  get ended(): "canceled" | "past" | undefined {
    return this.#ended;
  }

  /** Why it was canceled. */
  get reason(): unknown {
    return this.#reason;
  }

  /** Milliseconds that are left, 0 at least. */
  get left(): number {
    return this.#ended === undefined ? Math.max(0, this.at - performance.now()) : 0;
  }

  /** Resolves to whether it slept to the end. */
  sleep(ms: number): Promise<boolean> {
    if (this.#ended !== undefined) return Promise.resolve(false);
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        resolve(false);
      };
      const timer = setTimeout(() => {
        this.signal.removeEventListener("abort", wake);
        resolve(true);
      }, ms);
      this.signal.addEventListener("abort", wake, { once: true });
    });
  }

  release(): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener("abort", this.#abort);
  }

  #end(reason: unknown): void {
    this.release();
    if (this.#ended !== undefined) return;
    this.#ended = isDeadline(reason) ? "past" : "canceled";
    this.#reason = reason;
    // What transports are told says only that: a reason of the caller's own could pass
    // for the error of a connection, or for a refusal.
    this.#controller.abort(this.#ended === "past" ? past() : new ConnectError("the call was called off", Code.Canceled));
  }
}

function past(): ConnectError {
  return new ConnectError("the deadline is past", Code.DeadlineExceeded);
}

/** Tells a deadline, of another of these or of AbortSignal.timeout, from somebody's wish. */
function isDeadline(reason: unknown): boolean {
  if (reason instanceof ConnectError) return reason.code === Code.DeadlineExceeded;
  return reason instanceof DOMException && reason.name === "TimeoutError";
}
