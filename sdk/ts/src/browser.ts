import { createConnectTransport } from "@connectrpc/connect-web";

import { Client, type ConnectOptions } from "./client.js";
import type { Connection } from "./endpoint.js";

export * from "./index.js";

/** A client of one cluster. */
export class Cartwheel extends Client {
  /**
   * Connects to a cluster through any of its endpoints, each "host:port",
   * "http://host:port" or "https://host:port". Rejects when none answers in time.
   *
   * The nodes must let pages of this origin in: `cartwheel serve --cors-origin`.
   */
  static async connect(endpoints: readonly string[], options: ConnectOptions = {}): Promise<Cartwheel> {
    const db = new Cartwheel(endpoints, options, { connect: fetching, api: "batch", apis: ["unary", "batch"], options: {} });
    await db.begin(options.signal);
    return db;
  }
}

function fetching(url: string): Connection {
  return { transport: createConnectTransport({ baseUrl: url, useBinaryFormat: true }), close: () => undefined };
}
