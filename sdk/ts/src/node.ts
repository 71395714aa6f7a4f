import type { ClientSessionOptions, SecureClientSessionOptions } from "node:http2";

import { createConnectTransport, Http2SessionManager } from "@connectrpc/connect-node";

import { Client, type ConnectOptions } from "./client.js";
import type { Connection } from "./endpoint.js";

export * from "./index.js";

/** What a reply may make this process hold, in bytes: a node fills a batch up to 64 MiB, and then a page. */
const maxReply = 72 * 1024 * 1024;

/** What PEM comes in. */
export type Pem = string | Uint8Array;

/**
 * Options of the connections: those of `http2.connect` of Node, of which those for TLS
 * are named here. They are not Node's own types, so that whoever uses none of them needs
 * no types of Node.
 */
export interface Http2Options {
  /** The authorities to trust, instead of the well-known ones. */
  ca?: Pem | Pem[] | undefined;
  /** The client's certificate, and its key. */
  cert?: Pem | Pem[] | undefined;
  key?: Pem | (Pem | object)[] | undefined;
  passphrase?: string | undefined;
  /** The name to find in the server's certificate, instead of that of the endpoint. */
  servername?: string | undefined;
  /** False takes any certificate: for tests. */
  rejectUnauthorized?: boolean | undefined;
  // Anything but any would refuse Node's own types, which are interfaces.
  [option: string]: any;
}

/** Options of a client in Node. */
export interface NodeOptions extends ConnectOptions {
  /** Of the HTTP/2 connections: certificates for TLS, for example. */
  http2?: Http2Options | undefined;
}

/** A client of one cluster. */
export class Cartwheel extends Client {
  /**
   * Connects to a cluster through any of its endpoints, each "host:port",
   * "http://host:port" or "https://host:port". Rejects when none answers in time.
   */
  static async connect(endpoints: readonly string[], options: NodeOptions = {}): Promise<Cartwheel> {
    const db = new Cartwheel(endpoints, options, {
      connect: (url) => http2(url, options.http2),
      api: "stream",
      apis: ["unary", "batch", "stream"],
      options: { http2: { holds: (v) => typeof v === "object" && v !== null, says: "an object" } },
    });
    await db.begin(options.signal);
    return db;
  }
}

/**
 * Speaks HTTP/2 everywhere: one connection carries all calls to an endpoint, with
 * pings so that a peer that vanished without a word is noticed and not handed to the
 * next call.
 */
function http2(url: string, options?: Http2Options): Connection {
  const nodeOptions = options as ClientSessionOptions | SecureClientSessionOptions | undefined;
  const sessionManager = new Http2SessionManager(url, { pingIntervalMs: 3_000, pingTimeoutMs: 2_000 }, nodeOptions);
  const transport = createConnectTransport({ baseUrl: url, httpVersion: "2", sessionManager, readMaxBytes: maxReply });
  return { transport, close: () => sessionManager.abort() };
}
