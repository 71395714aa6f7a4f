import { abortSignal, flawOf, given, milliseconds, ofType, type Rule } from "./check.js";
import type { ConnectOptions, Platform } from "./client.js";
import { CartwheelError } from "./errors.js";

/** The longest a timer can wait, in milliseconds. */
const longest = 2 ** 31 - 1;

const rules: Record<Exclude<keyof ConnectOptions, "api">, Rule> = {
  timeoutMs: milliseconds,
  attemptTimeoutMs: {
    holds: (v) => milliseconds.holds(v) && (v as number) > 0 && (v as number) <= longest,
    says: "a number of milliseconds above 0, 2,147,483,647 at most",
  },
  attempts: { holds: (v) => Number.isSafeInteger(v) && (v as number) >= 0, says: "a whole number, 0 at least" },
  cooldownMs: milliseconds,
  rotate: ofType("boolean"),
  sessions: ofType("boolean"),
  signal: abortSignal,
  onAttempt: ofType("function"),
  transport: ofType("function"),
};

/** Refuses what a client cannot be made of: no compiler stands between it and a user of plain JavaScript. */
export function checkConnect(endpoints: unknown, options: unknown, platform: Platform): void {
  const flaw = flawOfEndpoints(endpoints) ?? flawOfConnect(options, platform);
  if (flaw !== undefined) throw new CartwheelError({ op: "connect", bucket: "", key: "", reason: "INVALID_OPTION" }, new TypeError(flaw));
}

function flawOfEndpoints(endpoints: unknown): string | undefined {
  if (!Array.isArray(endpoints)) return `endpoints is ${given(endpoints)}, and not an array such as ["127.0.0.1:7401"]`;
  if (endpoints.length === 0) return "there are no endpoints to connect to";
  for (const [i, address] of endpoints.entries()) {
    if (!isAddress(address)) return `endpoint ${i + 1} of ${endpoints.length} is ${given(address)}, and not host:port or an http or https URL`;
  }
  return undefined;
}

function isAddress(address: unknown): boolean {
  if (typeof address !== "string" || /\s/.test(address)) return false;
  try {
    const url = new URL(fullURL(address));
    return url.host !== "" && ["http:", "https:"].includes(url.protocol) && url.search === "" && url.hash === "";
  } catch {
    return false;
  }
}

/** An address with its scheme. */
export function fullURL(address: string): string {
  return address.includes("://") ? address : `http://${address}`;
}

function flawOfConnect(options: unknown, platform: Platform): string | undefined {
  if (typeof options !== "object" || options === null) return `options is ${given(options)}, and not an object`;
  const api: Rule = { holds: (v) => platform.apis.some((one) => one === v), says: platform.apis.map((one) => `"${one}"`).join(" or ") };
  return flawOf(options, { ...rules, api, ...platform.options });
}
