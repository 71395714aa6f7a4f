import type { ClientSessionOptions, SecureClientSessionOptions } from "node:http2";

import { createConnectTransport, Http2SessionManager } from "@connectrpc/connect-node";

import { Client, type ConnectOptions } from "./client.js";
import type { Connection } from "./endpoint.js";

export * from "./index.js";

/** What a reply may make this process hold, in bytes: a node fills a batch up to 64 MiB, and then a page. */
const maxReply = 72 * 1024 * 1024;

/** Options of a client in Node. */
export interface NodeOptions extends ConnectOptions {
  /** Of the HTTP/2 connections: certificates for TLS, for example. */
  http2?: ClientSessionOptions | SecureClientSessionOptions;
}

/** A client of one cluster. */
export class Cartwheel extends Client {
  /**
   * Connects to a cluster through any of its endpoints, each "host:port",
   * "http://host:port" or "https://host:port". Rejects when none answers in time.
   */
  static async connect(endpoints: readonly string[], options: NodeOptions = {}): Promise<Cartwheel> {
    const db = new Cartwheel(endpoints, options, { connect: (url) => http2(url, options.http2), api: "stream" });
    await db.begin(options.signal);
    return db;
  }
}

/**
 * Speaks HTTP/2 everywhere: one connection carries all calls to an endpoint, with
 * pings so that a peer that vanished without a word is noticed and not handed to the
 * next call.
 */
function http2(url: string, nodeOptions?: ClientSessionOptions | SecureClientSessionOptions): Connection {
  const sessionManager = new Http2SessionManager(url, { pingIntervalMs: 3_000, pingTimeoutMs: 2_000 }, nodeOptions);
  const transport = createConnectTransport({ baseUrl: url, httpVersion: "2", sessionManager, readMaxBytes: maxReply });
  return { transport, close: () => sessionManager.abort() };
}
