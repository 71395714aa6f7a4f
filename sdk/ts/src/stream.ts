import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";

import { PipelineService, PipelineServiceStreamRequestSchema } from "./gen/cartwheel/v1/pipeline_pb.js";
import { fill, type Carrier, type Waiting } from "./pipeline.js";

/**
 * Milliseconds after which a stream on which nothing is under way ends, so that it
 * does not keep a process alive.
 */
const idle = 1_000;

type Request = MessageInitShape<typeof PipelineServiceStreamRequestSchema>;

/**
 * Carries calls on one bidirectional stream. What is waiting goes together in the
 * next message, which is made when the transport has taken the one before; nothing
 * waits on a timer. Replies come in any order.
 */
export class Stream implements Carrier {
  #line: Line | undefined;

  constructor(private readonly plain: Transport) {}

  send(call: Waiting): void {
    if (call.over) return;
    if (this.#line === undefined || this.#line.closed) this.#line = new Line(this.plain);
    this.#line.send(call);
  }

  close(): void {
    this.#line?.abort(new ConnectError("the client was closed", Code.Canceled));
  }
}

/** One stream, from its opening to its end. */
class Line {
  /** Takes no more calls. */
  closed = false;
  readonly #waiting: Waiting[] = [];
  readonly #sent = new Map<bigint, Waiting>();
  #cancel: bigint[] = [];
  #lastId = 0n;
  #wake: (() => void) | undefined;
  #idle: ReturnType<typeof setTimeout> | undefined;
  readonly #controller = new AbortController();

  constructor(plain: Transport) {
    void this.#run(plain);
  }

  send(call: Waiting): void {
    clearTimeout(this.#idle);
    call.left = () => this.#leave(call);
    this.#waiting.push(call);
    this.#wake?.();
  }

  abort(err: ConnectError): void {
    this.#end(err);
    this.#controller.abort(err);
  }

  async #run(plain: Transport): Promise<void> {
    try {
      const res = await plain.stream(PipelineService.method.stream, this.#controller.signal, undefined, undefined, this.#outgoing());
      for await (const { replies } of res.message) {
        for (const reply of replies) {
          const call = this.#sent.get(reply.id);
          this.#sent.delete(reply.id);
          call?.answer(reply, res.header);
        }
        this.#restIfIdle();
      }
      this.#end(new ConnectError("the stream ended before the reply", Code.Unavailable));
    } catch (err) {
      this.#end(ConnectError.from(err));
    }
  }

  async *#outgoing(): AsyncGenerator<Request> {
    for (;;) {
      const calls = fill(this.#waiting);
      const cancel = this.#cancel;
      this.#cancel = [];
      if (calls.length > 0 || cancel.length > 0) {
        for (const call of calls) {
          call.id = ++this.#lastId;
          this.#sent.set(call.id, call);
        }
        yield create(PipelineServiceStreamRequestSchema, { calls: calls.map((call) => call.wire()), cancel });
        continue;
      }
      if (this.closed) return;
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
  }

  /** Nobody waits for the call any more: a node that has it is told. */
  #leave(call: Waiting): void {
    if (!this.#sent.delete(call.id)) return;
    this.#cancel.push(call.id);
    this.#wake?.();
    this.#restIfIdle();
  }

  #restIfIdle(): void {
    if (this.closed || this.#sent.size > 0 || this.#waiting.length > 0) return;
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      this.closed = true;
      this.#wake?.();
    }, idle);
  }

  /** Of calls that were not sent, the stream's end says the same: they are tried again elsewhere. */
  #end(err: ConnectError): void {
    this.closed = true;
    clearTimeout(this.#idle);
    this.#wake?.();
    for (const call of [...this.#sent.values(), ...this.#waiting]) call.fail(err);
    this.#sent.clear();
    this.#waiting.length = 0;
  }
}
