/** One try of one operation at one endpoint. */
export interface Attempt {
  /** Service and method: "set.add". */
  op: string;
  /** Of a mutation. */
  operationId: string | undefined;
  /** 1 for the first. */
  number: number;
  endpoint: string;
  tookMs: number;
  /** Undefined when it was answered. */
  error: Error | undefined;
}

/** What a client has done since it connected. */
export interface Stats {
  /** Calls begun, asking for the time included. */
  operations: number;
  /** Requests sent for them. */
  attempts: number;
  /** Attempts beyond the first of their operation. */
  retries: number;
  /** Operations that took more than one attempt. */
  retriedOperations: number;
  /** Retries at another endpoint than the attempt before. */
  failovers: number;
  /** Operations that ended with an error. */
  failures: number;
  /** Failures of which nobody knows the outcome. */
  unknownOutcomes: number;
  /** Attempts not made, because the cluster refused too many for overload. */
  heldBack: number;
}

export function noStats(): Stats {
  return {
    operations: 0, attempts: 0, retries: 0, retriedOperations: 0,
    failovers: 0, failures: 0, unknownOutcomes: 0, heldBack: 0,
  };
}
