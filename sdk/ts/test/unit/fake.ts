import { create, type DescService, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createRouterTransport, type HandlerContext, type Transport } from "@connectrpc/connect";

import { BlobService } from "../../src/gen/cartwheel/v1/blob_pb.js";
import { ClusterService } from "../../src/gen/cartwheel/v1/cluster_pb.js";
import { CounterService } from "../../src/gen/cartwheel/v1/counter_pb.js";
import { MapService } from "../../src/gen/cartwheel/v1/map_pb.js";
import {
  PipelinedReplySchema, PipelineService, type PipelinedCall, type PipelinedReply,
  type PipelineServiceStreamRequest, type PipelineServiceStreamResponse,
} from "../../src/gen/cartwheel/v1/pipeline_pb.js";
import { RegisterService } from "../../src/gen/cartwheel/v1/register_pb.js";
import { SetService } from "../../src/gen/cartwheel/v1/set_pb.js";
import { ErrorDetail_Reason, ErrorDetailSchema } from "../../src/gen/cartwheel/v1/types_pb.js";
import { Cartwheel, type NodeOptions } from "../../src/node.js";

/** What a node was asked. */
export interface Asked {
  node: string;
  /** "counter.add" */
  op: string;
  request: any;
  signal: AbortSignal;
  /** 1 for the first call of this operation on this cluster. */
  nth: number;
  /** "t1", where the request had a session. */
  token: string;
}

const services: DescService[] = [SetService, CounterService, RegisterService, BlobService, MapService, ClusterService];

/** A cluster in memory, of as many nodes as are asked for, that answers what a test scripts. */
export class Fake {
  readonly asked: Asked[] = [];
  /** Its clock, in Unix milliseconds. */
  time = 1_700_000_000_000;
  /** Ids of calls that were canceled on a stream. */
  readonly canceled: bigint[] = [];
  /** How many calls each message of a batch or stream carried. */
  readonly messages: number[] = [];
  /** Nodes whose connections are refused. */
  readonly down = new Set<string>();
  #tokens = 0;

  /** What it throws is the answer, what it returns is put into the reply, and it may take its time. */
  script: (asked: Asked) => unknown = () => undefined;

  /** What was asked of this operation. */
  of(op: string): Asked[] {
    return this.asked.filter((a) => a.op === op);
  }

  connect(nodes: string[], options: NodeOptions = {}): Promise<Cartwheel> {
    return Cartwheel.connect(nodes, { api: "unary", transport: (url) => this.transport(url), ...options });
  }

  transport(url: string): Transport {
    const node = new URL(url).host;
    const inside = this.#router(node);
    return {
      unary: async (...args) => {
        if (this.down.has(node)) throw notConnected();
        return await inside.unary(...args);
      },
      stream: async (...args) => {
        if (this.down.has(node)) throw notConnected();
        return await inside.stream(...args);
      },
    };
  }

  #router(node: string): Transport {
    return createRouterTransport((router) => {
      for (const service of services) {
        const methods = service.methods.map((method) => [method.localName, (request: unknown, ctx: HandlerContext) =>
          this.#answer(node, opOf(service, method.localName), request, ctx.signal)] as const);
        router.service(service, Object.fromEntries(methods) as never);
      }
      router.service(PipelineService, {
        batch: async ({ calls }, ctx) => {
          this.messages.push(calls.length);
          return { replies: await Promise.all(calls.map((call) => this.#pipelined(node, call, ctx.signal))) };
        },
        stream: (requests, ctx) => this.#stream(node, requests, ctx),
      });
    });
  }

  async #answer(node: string, op: string, request: unknown, signal: AbortSignal): Promise<object> {
    const session = (request as { options?: { session?: object } }).options?.session !== undefined;
    const token = session ? `t${++this.#tokens}` : "";
    const asked = { node, op, request, signal, nth: this.of(op).length + 1, token };
    const stamp = BigInt(this.asked.push(asked));
    const reply = (await this.script(asked)) as object | undefined;
    if (op === "cluster.status") return { serverTimeMs: BigInt(Math.floor(this.time)), ...reply };
    return { info: { session: token, stamp, replicasAnswered: 2 }, ...reply };
  }

  /** As a node does it, each call has its own deadline. */
  async #pipelined(node: string, { id, call, timeoutMs }: PipelinedCall, whole: AbortSignal): Promise<PipelinedReply> {
    const own = new AbortController();
    const signal = AbortSignal.any([whole, own.signal]);
    const timer = timeoutMs === 0 ? undefined : setTimeout(() => own.abort(refusal(Code.DeadlineExceeded, "DEADLINE_PAST")), timeoutMs);
    if (call.case === undefined) throw new ConnectError("a call without a request", Code.InvalidArgument);
    const op = call.case.replace(/[A-Z]/, (c) => `.${c.toLowerCase()}`);
    try {
      const value = await this.#answer(node, op, call.value, signal);
      return create(PipelinedReplySchema, { id, reply: { case: call.case, value } as never });
    } catch (err) {
      const failed = ConnectError.from(err);
      const pushback = Number(failed.metadata.get("Grpc-Retry-Pushback-Ms") ?? 0);
      const detail = failed.findDetails(ErrorDetailSchema)[0];
      const value = { code: failed.code, message: failed.rawMessage, pushbackMs: pushback, ...(detail && { detail }) };
      return create(PipelinedReplySchema, { id, reply: { case: "failure", value } });
    } finally {
      clearTimeout(timer);
    }
  }

  async *#stream(
    node: string,
    requests: AsyncIterable<PipelineServiceStreamRequest>,
    ctx: HandlerContext,
  ): AsyncGenerator<MessageInitShape<typeof PipelineService.method.stream.output>> {
    const done: PipelinedReply[] = [];
    let underWay = 0;
    let ended = false;
    let failed: unknown;
    let wake = () => {};
    void (async () => {
      try {
        for await (const { calls, cancel } of requests) {
          this.messages.push(calls.length);
          this.canceled.push(...cancel);
          for (const call of calls) {
            underWay++;
            void this.#pipelined(node, call, ctx.signal).then((reply) => {
              underWay--;
              done.push(reply);
              wake();
            });
          }
        }
      } catch (err) {
        failed = err;
      }
      ended = true;
      wake();
    })();
    while (!ended || underWay > 0 || done.length > 0) {
      if (failed !== undefined) throw failed;
      if (done.length > 0) yield { replies: done.splice(0) } satisfies Partial<PipelineServiceStreamResponse>;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  }
}

function opOf(service: DescService, method: string): string {
  return `${service.name.replace("Service", "").toLowerCase()}.${method}`;
}

/** The error of a node that explains itself. */
export function refusal(
  code: Code,
  reason: keyof typeof ErrorDetail_Reason,
  detail: Omit<MessageInitShape<typeof ErrorDetailSchema>, "reason" | "$typeName"> = {},
  headers: HeadersInit = {},
): ConnectError {
  return new ConnectError(reason, code, headers, [{ desc: ErrorDetailSchema, value: { reason: ErrorDetail_Reason[reason], ...detail } }]);
}

/** The error of a connection that was refused, as Node has it. */
export function notConnected(): ConnectError {
  const cause = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED", syscall: "connect" });
  return new ConnectError(cause.message, Code.Unavailable, undefined, undefined, cause);
}

/** Never resolves, but rejects when the signal is aborted. */
export function silence(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(ConnectError.from(signal.reason)), { once: true });
  });
}
