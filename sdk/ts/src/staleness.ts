import type { Staleness as Wire } from "./gen/cartwheel/v1/types_pb.js";

/**
 * Bounds how far behind an answer may be: of everything that any node held durably
 * this long ago it misses nothing. The nodes measure it, each by its own clock.
 * Milliseconds; undefined while nobody can tell.
 */
export interface Staleness {
  /** Over all nodes; it grows while one cannot be reached. */
  boundMs: number | undefined;
  /** Over the nodes that could be reached. */
  reachableBoundMs: number | undefined;
  /** Ids of those that could not. */
  unreachable: string[];
}

export function staleness(s: Wire | undefined): Staleness {
  return {
    boundMs: milliseconds(s?.boundMs),
    reachableBoundMs: milliseconds(s?.reachableBoundMs),
    unreachable: s?.unreachable ?? [],
  };
}

/** Reads "at most 5200 ms behind (1000 ms but for n2, which cannot be reached)". */
export function describe(s: Staleness): string {
  const text = s.boundMs === undefined ? "unknown" : `at most ${s.boundMs} ms behind`;
  if (s.unreachable.length === 0) return text;
  const away = `${s.unreachable.join(", ")}, which cannot be reached`;
  return s.reachableBoundMs === undefined ? `${text} (but for ${away})` : `${text} (${s.reachableBoundMs} ms but for ${away})`;
}

function milliseconds(ms: bigint | undefined): number | undefined {
  return ms === undefined ? undefined : Number(ms);
}
