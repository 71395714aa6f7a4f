import { createClient, type Client, type Transport } from "@connectrpc/connect";

import { BlobService } from "./gen/cartwheel/v1/blob_pb.js";
import { ClusterService } from "./gen/cartwheel/v1/cluster_pb.js";
import { CounterService } from "./gen/cartwheel/v1/counter_pb.js";
import { MapService } from "./gen/cartwheel/v1/map_pb.js";
import { RegisterService } from "./gen/cartwheel/v1/register_pb.js";
import { SetService } from "./gen/cartwheel/v1/set_pb.js";
import { fullURL } from "./options.js";

/** How an endpoint is reached. */
export interface Connection {
  transport: Transport;
  /** Ends what is kept open for it. */
  close(): void;
}

/** One address with its clients, and until when to leave it alone. */
export class Endpoint {
  readonly set: Client<typeof SetService>;
  readonly counter: Client<typeof CounterService>;
  readonly register: Client<typeof RegisterService>;
  readonly blob: Client<typeof BlobService>;
  readonly map: Client<typeof MapService>;
  readonly cluster: Client<typeof ClusterService>;
  /** On the clock of performance.now(). */
  coolUntil = 0;

  constructor(readonly url: string, readonly position: number, readonly connection: Connection) {
    const { transport } = connection;
    this.set = createClient(SetService, transport);
    this.counter = createClient(CounterService, transport);
    this.register = createClient(RegisterService, transport);
    this.blob = createClient(BlobService, transport);
    this.map = createClient(MapService, transport);
    this.cluster = createClient(ClusterService, transport);
  }
}

/** Chooses whom to ask first and whom next. */
export class Endpoints {
  readonly list: readonly Endpoint[];
  // With rotation the calls begun so far, without it the position of the endpoint
  // that answered last.
  #turn = 0;
  /** Nobody is asked any more. */
  closed = false;

  constructor(
    addresses: readonly string[],
    connect: (url: string) => Connection,
    private readonly rotate: boolean,
    private readonly cooldownMs: number,
  ) {
    this.list = addresses.map((address) => fullURL(address).replace(/\/+$/, "")).map((url, i) => new Endpoint(url, i, connect(url)));
  }

  /** Where a call begins. */
  first(): number {
    return (this.rotate ? this.#turn++ : this.#turn) % this.list.length;
  }

  /**
   * Lists every endpoint once, in the order in which to ask: from the given position
   * on, those that cool down last. Nobody is ever left out, for when all are cooling
   * one of them may be back.
   */
  round(from: number): Endpoint[] {
    const now = performance.now();
    const order = this.list.map((_, i) => this.list[(from + i) % this.list.length] as Endpoint);
    const cooling = (e: Endpoint) => now < e.coolUntil;
    return [...order.filter((e) => !cooling(e)), ...order.filter(cooling)];
  }

  answered(e: Endpoint): void {
    e.coolUntil = 0;
    if (!this.rotate) this.#turn = e.position;
  }

  failed(e: Endpoint): void {
    e.coolUntil = performance.now() + this.cooldownMs;
  }

  close(): void {
    this.closed = true;
    for (const e of this.list) e.connection.close();
  }
}
