import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";

import { judge, type Verdict } from "../../src/judge.js";
import { notConnected, refusal } from "./fake.js";

const header = { "content-type": "application/json" };

test.each<[name: string, err: ConnectError, want: Partial<Verdict>]>([
  ["a quorum that was not reached may be reached elsewhere, and says itself whether it is known",
    refusal(Code.Unavailable, "QUORUM_NOT_REACHED", { outcomeUnknown: true }), { retry: true, unknown: true, blame: false }],
  ["a quorum that was not reached before anything was written",
    refusal(Code.Unavailable, "QUORUM_NOT_REACHED"), { retry: true, unknown: false, blame: false }],
  ["a node that is not ready is left alone", refusal(Code.Unavailable, "NOT_READY"), { retry: true, unknown: false, blame: true }],
  ["a session that is not met here may be met there", refusal(Code.Unavailable, "SESSION_UNMET"), { retry: true, blame: false }],
  ["a deadline of an attempt is not that of the call", refusal(Code.DeadlineExceeded, "DEADLINE_PAST"), { retry: true, unknown: false }],
  ["everybody is asked for something fresher, once", refusal(Code.FailedPrecondition, "TOO_STALE"), { retry: true, hopeless: true }],
  ["an overloaded node says how long to wait",
    refusal(Code.ResourceExhausted, "OVERLOADED", {}, { "Grpc-Retry-Pushback-Ms": "120" }), { retry: true, overloaded: true, stay: 120, unknown: false }],
  ["and not for ever", refusal(Code.ResourceExhausted, "OVERLOADED", {}, { "Grpc-Retry-Pushback-Ms": "99999" }), { stay: 2_000 }],
  ["nor in words", refusal(Code.ResourceExhausted, "OVERLOADED", {}, { "Grpc-Retry-Pushback-Ms": "soon" }), { stay: 0 }],
  ["of an id that is too old nobody knows", refusal(Code.FailedPrecondition, "OPERATION_EXPIRED"), { retry: false, unknown: true }],
  ["a name that is not one stays so", refusal(Code.InvalidArgument, "INVALID_NAME"), { retry: false, unknown: false, blame: false }],
  ["a connection that was never made carried nothing", notConnected(), { retry: true, unknown: false, blame: true }],
  ["a connection that broke may have carried it", new ConnectError("reset", Code.Aborted), { retry: true, unknown: true, blame: true }],
  ["silence", new ConnectError("timed out", Code.DeadlineExceeded), { retry: true, unknown: true, blame: true }],
  ["a browser says no more than this of a connection",
    new ConnectError("Failed to fetch", Code.Unknown, undefined, undefined, new TypeError("Failed to fetch")), { retry: true, unknown: true, blame: true }],
  ["a proxy whose node is away", new ConnectError("HTTP 503", Code.Unavailable, header), { retry: true, unknown: true, blame: true }],
  ["a node that tripped over this very request", new ConnectError("panic", Code.Internal, header), { retry: false, unknown: true, blame: false }],
  ["a proxy that finds it too large", new ConnectError("HTTP 413", Code.ResourceExhausted, header), { retry: false, unknown: false, blame: false }],
  ["a proxy that wants to be asked nicely", new ConnectError("HTTP 403", Code.PermissionDenied, header), { retry: false, unknown: false }],
])("%s", (_, err, want) => {
  expect(judge(err)).toMatchObject(want);
});
