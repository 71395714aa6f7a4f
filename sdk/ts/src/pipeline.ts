import { create, type DescMessage, type DescMethodUnary, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type ContextValues, type Transport, type UnaryResponse } from "@connectrpc/connect";

import { Batches } from "./batch.js";
import type { Connection } from "./endpoint.js";
import {
  PipelinedCallSchema, PipelinedReplySchema,
  type PipelinedCall, type PipelinedFailure, type PipelinedReply,
} from "./gen/cartwheel/v1/pipeline_pb.js";
import { ErrorDetailSchema } from "./gen/cartwheel/v1/types_pb.js";
import { pushbackHeader } from "./judge.js";
import { Stream } from "./stream.js";

/** How calls travel: see {@link ConnectOptions.api}. */
export type Api = "unary" | "batch" | "stream";

/** A node takes so many calls to a message, and so many bytes, of which the calls leave some. */
export const maxCalls = 1_000;
export const maxBytes = 3.5 * 1024 * 1024;

/** A call this large goes by itself: others would wait for it, and it gains nothing. */
const large = 256 * 1024;

/** What carries calls many at a time. */
export interface Carrier {
  send(call: Waiting): void;
  close(): void;
}

/** A connection on which concurrent calls of the value services travel together. */
export function pipelined({ transport, close }: Connection, api: Api): Connection {
  if (api === "unary") return { transport, close };
  const carrier = api === "batch" ? new Batches(transport) : new Stream(transport);
  return {
    transport: new Pipelined(transport, carrier),
    close: () => {
      carrier.close();
      close();
    },
  };
}

type Case = NonNullable<PipelinedCall["call"]["case"]>;

/** The name of each call that a message may carry, by the type of its request: "setAdd". */
const cases = new Map<string, Case>();
for (const field of PipelinedCallSchema.oneofs.flatMap((oneof) => oneof.fields)) {
  if (field.message !== undefined) cases.set(field.message.typeName, field.localName as Case);
}

/** A transport that hands the calls of the value services to a carrier, and passes on all others. */
export class Pipelined implements Transport {
  readonly stream: Transport["stream"];
  #alone = false;

  constructor(private readonly plain: Transport, private readonly carrier: Carrier) {
    this.stream = plain.stream.bind(plain);
  }

  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: Parameters<Transport["unary"]>[3],
    input: MessageInitShape<I>,
    contextValues?: ContextValues,
  ): Promise<UnaryResponse<I, O>> {
    const alone = () => this.plain.unary(method, signal, timeoutMs, header, input, contextValues);
    const name = cases.get(method.input.typeName);
    if (name === undefined || header !== undefined || this.#alone) return await alone();
    const request = create(method.input, input);
    const size = sizeOf(request);
    if (size > large) return await alone();
    try {
      return await new Promise((resolve, reject) => {
        const call = { case: name, value: request } as PipelinedCall["call"];
        this.carrier.send(new Waiting(call, size, signal, timeoutMs, reject, (reply, headers) => {
          resolve(response(method, reply, name, headers));
        }));
      });
    } catch (err) {
      // A node that is older than pipelines: nothing was done.
      if (!(err instanceof ConnectError) || err.code !== Code.Unimplemented) throw err;
      this.#alone = true;
      return await alone();
    }
  }
}

/** One call that waits for its reply, or to be sent. */
export class Waiting {
  /** What its carrier calls it. */
  id = 0n;
  /** It has its answer, or nobody waits for it any more. */
  over = false;
  /** Called when nobody waits for it any more although it has no answer. */
  left: (() => void) | undefined;
  readonly #endsAt: number | undefined;
  readonly #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #abort = () => this.#leave(ConnectError.from(this.signal?.reason, Code.Canceled));

  constructor(
    readonly call: PipelinedCall["call"],
    readonly size: number,
    private readonly signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    private readonly reject: (err: ConnectError) => void,
    private readonly resolve: (reply: PipelinedReply, headers: Headers) => void,
  ) {
    if (timeoutMs !== undefined && timeoutMs > 0) {
      this.#endsAt = performance.now() + timeoutMs;
      this.#timer = setTimeout(() => this.#leave(new ConnectError("the operation timed out", Code.DeadlineExceeded)), timeoutMs);
    }
    if (signal?.aborted === true) this.#abort();
    else signal?.addEventListener("abort", this.#abort, { once: true });
  }

  /** Milliseconds that its caller still waits; 0 is for ever. */
  get timeoutMs(): number {
    return this.#endsAt === undefined ? 0 : Math.max(1, Math.ceil(this.#endsAt - performance.now()));
  }

  /** The call as it travels from now on. */
  wire(): PipelinedCall {
    return create(PipelinedCallSchema, { id: this.id, timeoutMs: this.timeoutMs, call: this.call });
  }

  /** Takes its reply, which came under these headers. */
  answer(reply: PipelinedReply, headers: Headers): void {
    if (!this.#end()) return;
    if (reply.reply.case === "failure") this.reject(failure(reply.reply.value, headers));
    else
      try {
        this.resolve(reply, headers);
      } catch (err) {
        this.reject(ConnectError.from(err, Code.Internal));
      }
  }

  fail(err: ConnectError): void {
    if (this.#end()) this.reject(err);
  }

  #leave(err: ConnectError): void {
    if (!this.#end()) return;
    this.reject(err);
    this.left?.();
  }

  #end(): boolean {
    if (this.over) return false;
    this.over = true;
    clearTimeout(this.#timer);
    this.signal?.removeEventListener("abort", this.#abort);
    return true;
  }
}

/** Takes as many of the calls as fit into one message, dropping those that nobody waits for. */
export function fill(waiting: Waiting[]): Waiting[] {
  const taken: Waiting[] = [];
  let bytes = 0;
  let seen = 0;
  for (const call of waiting) {
    if (!call.over) {
      if (taken.length === maxCalls || (taken.length > 0 && bytes + call.size > maxBytes)) break;
      taken.push(call);
      bytes += call.size;
    }
    seen++;
  }
  waiting.splice(0, seen);
  return taken;
}

/** The error that a call of its own would have ended with. */
function failure(f: PipelinedFailure, headers: Headers): ConnectError {
  const metadata = new Headers(headers);
  if (f.pushbackMs > 0) metadata.set(pushbackHeader, String(f.pushbackMs));
  const details = f.detail === undefined ? [] : [{ desc: ErrorDetailSchema, value: f.detail }];
  const code = f.code in Code ? (f.code as Code) : Code.Unknown;
  return new ConnectError(f.message, code, metadata, details);
}

/** The response that a call of its own would have had. */
function response<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  { reply }: PipelinedReply,
  name: Case,
  header: Headers,
): UnaryResponse<I, O> {
  if (reply.case !== name) throw new ConnectError(`the reply to ${name} is one to ${reply.case ?? "nothing"}`, Code.Internal);
  const message = reply.value as Message as UnaryResponse<I, O>["message"];
  return { stream: false, service: method.parent, method, header, trailer: new Headers(), message };
}

/** Bytes that a message takes on the wire, or somewhat more: what it costs to encode is not worth paying twice. */
export function sizeOf(value: unknown): number {
  if (typeof value === "string") return 3 * value.length + 6;
  if (value instanceof Uint8Array) return value.length + 6;
  if (typeof value !== "object" || value === null) return 11;
  let size = 6;
  for (const part of Array.isArray(value) ? value : Object.values(value)) size += sizeOf(part);
  return size;
}

/** Held by a test: a reply has the name of its call. */
export const replyCases = PipelinedReplySchema.oneofs.flatMap((oneof) => oneof.fields.map((f) => f.localName));
