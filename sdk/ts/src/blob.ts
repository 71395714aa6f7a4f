import { firstPause, lastPause } from "./attempt.js";
import { CartwheelError } from "./errors.js";
import { Address, expires, type CallOptions, type Context } from "./request.js";
import type { Session } from "./session.js";

/** What a read of a blob shows. */
export interface BlobValue {
  /** None for an absent blob, several after concurrent puts. */
  siblings: Uint8Array[];
  /** When each of them is no longer shown, in their order; undefined for never. */
  expiresAt: (Date | undefined)[];
  /** Covers exactly these. */
  context: Context;
}

/** Makes one value of all siblings: see {@link BlobHandle.update}. */
export type Resolve = (siblings: Uint8Array[]) => Uint8Array | string | Promise<Uint8Array | string>;

/**
 * Bytes that the store never merges: concurrent puts stay side by side, as siblings,
 * until somebody who was shown them puts one value in their place.
 */
export class BlobHandle {
  constructor(private readonly at: Address) {}

  /** A handle with more options, in the same session. */
  with(options: CallOptions): BlobHandle {
    return new BlobHandle(this.at.with(options));
  }

  get session(): Session | undefined {
    return this.at.session;
  }

  /** Reads all siblings. */
  async get(): Promise<BlobValue> {
    const { bucket, key } = this.at;
    const res = await this.at.read("blob.get", [], (to, options, limits) => to.blob.get({ bucket, key, options }, limits));
    return {
      siblings: res.siblings,
      expiresAt: res.siblings.map((_, i) => expires(res.expiresAtMs[i] ?? 0n)),
      context: res.context,
    };
  }

  /**
   * Writes the value in place of what the context showed, and beside all else; without
   * a context it replaces nothing. The new context covers the value, so that the same
   * writer may put again without reading.
   */
  async put(value: Uint8Array | string, context: Context = ""): Promise<Context> {
    const { bucket, key } = this.at;
    const written = this.at.bytes("blob.put", value);
    const res = await this.at.mutate("blob.put", [], (to, options, limits) =>
      to.blob.put({ bucket, key, value: written, context, options }, limits));
    return res.context;
  }

  /** Removes the siblings that a read now shows, or the context. A put that runs beside it survives. */
  async delete(context: Context = ""): Promise<void> {
    const { bucket, key } = this.at;
    await this.at.mutate("blob.delete", [], (to, options, limits) => to.blob.delete({ bucket, key, context, options }, limits));
  }

  /**
   * Reads the blob, puts what resolve makes of its siblings in their place, and looks
   * again: while there are siblings, it starts over with them. Returns the value that
   * then stands alone: its own, or one that somebody made who was shown its own;
   * undefined if they deleted it.
   *
   * resolve is called with no siblings for an absent blob, and may be called several
   * times; its own earlier value is then among the siblings. So it must be a merge:
   * resolving what is resolved already changes nothing. What it throws ends the update
   * and is thrown on as it is; what is neither bytes nor text is refused with
   * INVALID_OPTION, and not written. If the deadline passes after a put was stored, the
   * reason is SIBLINGS_LEFT.
   */
  async update(resolve: Resolve): Promise<Uint8Array | undefined> {
    this.at.check("blob.update");
    const deadline = this.at.deadline();
    const inner = () => new BlobHandle(this.at.with({ timeoutMs: deadline.left }));
    try {
      let shown = await inner().get();
      for (let pause = firstPause; ; pause = Math.min(2 * pause, lastPause)) {
        const value = this.at.bytes("blob.update", await resolve(shown.siblings));
        await inner().put(value, shown.context);
        // Others may be at it. Those who resolve in step make siblings of each other
        // for ever, so look again after a while of one's own: by then it may be done,
        // and if not, what there is now is what to resolve.
        for (const wait of [0, Math.random() * pause]) {
          if (wait > 0) await deadline.sleep(wait);
          shown = await inner().get().catch((err: unknown) => {
            throw siblingsLeft(err);
          });
          if (shown.siblings.length < 2) return shown.siblings[0];
        }
      }
    } finally {
      deadline.release();
    }
  }
}

function siblingsLeft(err: unknown): unknown {
  if (!(err instanceof CartwheelError)) return err;
  const { bucket, key, attempts, endpoint } = err;
  return new CartwheelError({ op: "blob.update", bucket, key, reason: "SIBLINGS_LEFT", attempts, endpoint }, err);
}
