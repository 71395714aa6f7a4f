import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";

import { PipelineService, PipelineServiceBatchRequestSchema } from "./gen/cartwheel/v1/pipeline_pb.js";
import { fill, type Carrier, type Waiting } from "./pipeline.js";

/**
 * Batches of an endpoint that may be under way at a time. One alone would make all
 * calls wait for the slowest; a browser has six connections for a host, over which
 * its page does other things too.
 */
const atATime = 4;

/**
 * Carries what is waiting in unary calls of many operations each. Nothing waits on a
 * timer: what is asked for in one turn of the event loop goes together, and while as
 * many batches are under way as may be, the next one fills.
 */
export class Batches implements Carrier {
  readonly #waiting: Waiting[] = [];
  readonly #underWay = new Set<AbortController>();
  #scheduled = false;

  constructor(private readonly plain: Transport) {}

  send(call: Waiting): void {
    if (call.over) return;
    this.#waiting.push(call);
    if (this.#scheduled || this.#underWay.size >= atATime) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#next();
    });
  }

  close(): void {
    for (const batch of this.#underWay) batch.abort(new ConnectError("the client was closed", Code.Canceled));
  }

  #next(): void {
    while (this.#waiting.length > 0 && this.#underWay.size < atATime) {
      const calls = fill(this.#waiting);
      if (calls.length > 0) void this.#carry(calls);
    }
  }

  async #carry(calls: Waiting[]): Promise<void> {
    const batch = new AbortController();
    this.#underWay.add(batch);
    // A batch for which nobody waits any more is not waited for either.
    let wanted = calls.length;
    for (const [i, call] of calls.entries()) {
      call.id = BigInt(i + 1);
      call.left = () => {
        if (--wanted === 0) batch.abort(new ConnectError("nobody waits for it any more", Code.Canceled));
      };
    }
    try {
      const request = create(PipelineServiceBatchRequestSchema, { calls: calls.map((call) => call.wire()) });
      // The last of its calls is the last to give up.
      const timeouts = request.calls.map((call) => call.timeoutMs);
      const timeoutMs = timeouts.includes(0) ? undefined : Math.max(...timeouts);
      const res = await this.plain.unary(PipelineService.method.batch, batch.signal, timeoutMs, undefined, request);
      for (const reply of res.message.replies) {
        const call = calls[Number(reply.id) - 1];
        if (call !== undefined) {
          wanted--;
          call.answer(reply, res.header);
        }
      }
      for (const call of calls) call.fail(new ConnectError("the reply to the batch leaves it out", Code.Internal));
    } catch (err) {
      for (const call of calls) call.fail(ConnectError.from(err));
    } finally {
      this.#underWay.delete(batch);
      this.#next();
    }
  }
}
