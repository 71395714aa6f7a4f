import { Code, type ConnectError } from "@connectrpc/connect";

import { ErrorDetail_Reason, ErrorDetailSchema, type ErrorDetail } from "./gen/cartwheel/v1/types_pb.js";

/** What a failed attempt means. */
export interface Verdict {
  /** What the node said, if it said anything. */
  detail?: ErrorDetail;
  /** Another attempt may fare better ... */
  retry: boolean;
  /** ... and not once everybody was asked. */
  hopeless?: boolean;
  /** A mutation may have taken effect. */
  unknown: boolean;
  /** Leave this endpoint alone for a while. */
  blame: boolean;
  /** Refused for having too much to do already. */
  overloaded?: boolean;
  /** Milliseconds away from the node, as it asked. */
  stay?: number;
}

/**
 * Tells three cases apart: a node that explained itself is believed; a code
 * without an explanation came from a proxy or from the HTTP layer of a node;
 * anything else is the connection, and then only a connection that was never made
 * proves that nothing was sent. A browser does not tell, so there it may have been.
 */
export function judge(err: ConnectError): Verdict {
  const detail = err.findDetails(ErrorDetailSchema)[0];
  if (detail !== undefined) return explained(err, detail);
  const sent = !neverConnected(err);
  switch (err.code) {
    case Code.Unavailable:
    case Code.DeadlineExceeded:
    case Code.Canceled:
    case Code.Aborted:
      return { retry: true, unknown: sent, blame: true };
    case Code.Unknown:
    case Code.Internal:
    case Code.DataLoss: {
      // With the headers of a reply it is a node that tripped over this very request.
      const broken = err.metadata.keys().next().done === true;
      return { retry: broken, unknown: sent, blame: broken };
    }
    default:
      // Refused before it reached a service: malformed, too large, not allowed.
      return { retry: false, unknown: false, blame: false };
  }
}

function explained(err: ConnectError, detail: ErrorDetail): Verdict {
  const v: Verdict = { detail, retry: false, unknown: detail.outcomeUnknown, blame: false };
  switch (detail.reason) {
    case ErrorDetail_Reason.NOT_READY:
      return { ...v, retry: true, blame: true };
    case ErrorDetail_Reason.TOO_STALE:
      // Another node may hear from more members. Waiting makes it worse.
      return { ...v, retry: true, hopeless: true };
    case ErrorDetail_Reason.OVERLOADED:
      return { ...v, retry: true, overloaded: true, stay: pushback(err) };
    case ErrorDetail_Reason.QUORUM_NOT_REACHED:
    case ErrorDetail_Reason.SESSION_UNMET:
    case ErrorDetail_Reason.DEADLINE_PAST:
      return { ...v, retry: true };
    case ErrorDetail_Reason.OPERATION_EXPIRED:
      return { ...v, unknown: true };
    default:
      return v;
  }
}

/** However long a node wants to be left alone, in milliseconds. */
const longestStay = 2_000;

/** The header in which a node asks to be left alone; the name is gRPC's. */
export const pushbackHeader = "Grpc-Retry-Pushback-Ms";

function pushback(err: ConnectError): number {
  const text = err.metadata.get(pushbackHeader) ?? "";
  return /^\d{1,5}$/.test(text) ? Math.min(Number(text), longestStay) : 0;
}

/** Node names the system call that failed; a connection that failed carried nothing. */
function neverConnected(err: unknown): boolean {
  for (let depth = 0; err instanceof Error && depth < 8; depth++, err = err.cause) {
    if ("syscall" in err && (err.syscall === "connect" || err.syscall === "getaddrinfo")) return true;
  }
  return false;
}
