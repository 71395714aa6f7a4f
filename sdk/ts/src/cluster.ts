import { newCall, type Send } from "./attempt.js";
import { Deadline } from "./deadline.js";
import { NodeState, type Node as WireNode } from "./gen/cartwheel/v1/cluster_pb.js";
import { DataType as WireType } from "./gen/cartwheel/v1/types_pb.js";
import type { Shared } from "./request.js";
import { staleness, type Staleness } from "./staleness.js";

/** A type of value. */
export type DataType = "set" | "counter" | "register" | "blob" | "map";

/** A member of the cluster. */
export interface Node {
  /** UUID, for life. */
  id: string;
  /** starting, joining, recovering, ready, draining, left or unreachable. */
  state: string;
  zone: string;
  weight: number;
  /** Where clients reach it, host:port. */
  apiAddress: string;
}

/** Describes the node that answered. */
export interface Status {
  node: Node;
  version: string;
  serverTime: Date;
  clusterId: string;
  /** Owners of each partition, default reads, default durable writes, partitions. */
  n: number;
  r: number;
  w: number;
  q: number;
  ringHash: string;
  /** How it finds the other nodes. */
  peers: { node: Node; alive: boolean; reachable: boolean }[];
  /** Partitions it owns, and those in which it has caught up. */
  owned: number;
  ready: number;
  /** The worst of the partitions it owns. */
  staleness: Staleness;
}

/** Where a value lives: ids of its owners, in order of preference. */
export interface Location {
  partition: number;
  owners: string[];
}

/**
 * The cluster as the endpoint that answers sees it. What an operator does with it, the
 * command line does.
 */
export class ClusterHandle {
  constructor(private readonly shared: Shared) {}

  /** Asks a node about itself. */
  async status(): Promise<Status> {
    const res = await this.#ask("cluster.status", (to, limits) => to.cluster.status({}, limits));
    return {
      node: node(res.node),
      version: res.version,
      serverTime: new Date(Number(res.serverTimeMs)),
      clusterId: res.config?.clusterId ?? "",
      n: res.config?.n ?? 0,
      r: res.config?.r ?? 0,
      w: res.config?.w ?? 0,
      q: res.config?.q ?? 0,
      ringHash: res.ringHash,
      peers: res.peers.map((p) => ({ node: node(p.node), alive: p.alive, reachable: p.reachable })),
      owned: res.partitionsOwned,
      ready: res.partitionsReady,
      staleness: staleness(res.staleness),
    };
  }

  /** Lists every node, in order of id. */
  async members(): Promise<Node[]> {
    const res = await this.#ask("cluster.members", (to, limits) => to.cluster.members({}, limits));
    return res.nodes.map(node);
  }

  /** Tells where a value lives. */
  async locate(type: DataType, bucket: string, key: string): Promise<Location> {
    const wire = WireType[type.toUpperCase() as Uppercase<DataType>];
    const res = await this.#ask("cluster.locate", (to, limits) => to.cluster.locate({ type: wire, bucket, key }, limits), bucket, key);
    return { partition: res.partition, owners: res.owners };
  }

  async #ask<T>(op: string, send: Send<T>, bucket = "", key = ""): Promise<T> {
    const deadline = new Deadline(this.shared.timeoutMs);
    try {
      return await this.shared.attempts.run(deadline, newCall(op, bucket, key), send);
    } finally {
      deadline.release();
    }
  }
}

function node(n: WireNode | undefined): Node {
  return {
    id: n?.id ?? "",
    state: (NodeState[n?.state ?? 0] ?? "UNSPECIFIED").toLowerCase(),
    zone: n?.zone ?? "",
    weight: n?.weight ?? 0,
    apiAddress: n?.apiAddress ?? "",
  };
}
