import type { CallOptions } from "./request.js";
import { Session } from "./session.js";

/** An object with one of the properties of T, and without the others. */
export type OneOf<T> = { [K in keyof T]: Pick<T, K> & { [Other in Exclude<keyof T, K>]?: undefined } }[keyof T];

/** What a value of an option must be. */
export interface Rule {
  holds(value: unknown): boolean;
  says: string;
}

const between = (value: unknown, most: number) => typeof value === "number" && value >= 0 && value <= most;
/** Copies, and what else is counted by 32 bits. */
const copies: Rule = { holds: (v) => between(v, 2 ** 32 - 1) && Number.isInteger(v), says: "a whole number from 0 to 4,294,967,295" };
export const milliseconds: Rule = { holds: (v) => between(v, Number.MAX_SAFE_INTEGER), says: "a number of milliseconds, 0 at least" };
export const abortSignal: Rule = { holds: (v) => typeof (v as AbortSignal | null)?.addEventListener === "function", says: "an AbortSignal" };
export const ofType = (type: string): Rule => ({ holds: (v) => typeof v === type, says: `a ${type}` });

const rules: Record<keyof CallOptions, Rule> = {
  w: copies,
  r: copies,
  fast: ofType("boolean"),
  maxStalenessMs: milliseconds,
  session: { holds: (v) => v === null || v instanceof Session, says: "a Session or null" },
  signal: abortSignal,
  timeoutMs: milliseconds,
  operationId: ofType("string"),
  expiresAt: { holds: isTime, says: "a valid Date" },
  expiresInMs: milliseconds,
  onInfo: ofType("function"),
};

/** Those of a listing of a map, and of a set. */
export const mapListing = { prefix: ofType("string"), cursor: ofType("string"), pageSize: copies };
export const setListing = { ...mapListing, from: ofType("string"), until: ofType("string") };

/** What is wrong with the options of a handle, if anything. */
export function flawOfOptions(options: CallOptions): string | undefined {
  return flawOf(options, rules);
}

/** What is wrong with options, if anything: no compiler stands between them and a user of plain JavaScript. */
export function flawOf(options: object, rules: Readonly<Record<string, Rule>>): string | undefined {
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(rules, name)) return `there is no option "${name}"; there are ${Object.keys(rules).join(", ")}`;
    const { holds, says } = rules[name] as Rule;
    if (value !== undefined && !holds(value)) return `${name} is ${given(value)}, and not ${says}`;
  }
  return undefined;
}

/** What is wrong with a change that is to have one of the kinds, and may have what is named besides; undefined is none. */
export function flawOfChange(change: unknown, kinds: readonly string[], besides: readonly string[]): string | undefined {
  if (typeof change !== "object" || change === null) return `is ${String(change)}`;
  const has = Object.entries(change).filter(([, value]) => value !== undefined).map(([name]) => name);
  const unknown = has.find((name) => !kinds.includes(name) && !besides.includes(name));
  if (unknown !== undefined) return `has "${unknown}", which changes do not have`;
  const named = kinds.filter((kind) => has.includes(kind));
  if (named.length === 0) return `has none of ${kinds.join(", ")}`;
  return named.length === 1 ? undefined : `has ${named.map((kind) => `"${kind}"`).join(" and ")}, of which it can have one`;
}

export function isTime(value: unknown): value is Date {
  return Number.isFinite((value as Partial<Date> | null)?.getTime?.());
}

/** Tells bytes by their tag: those of another realm, such as a test runner's, are no instances of the class of this one. */
export function isBytes(value: unknown): value is Uint8Array {
  return Object.prototype.toString.call(value) === "[object Uint8Array]";
}

/** A value as a message shows it: text in quotes, and what has no short text by its kind. */
export function given(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value.length > 64 ? `${value.slice(0, 64)}…` : value);
    case "object":
    case "function":
      return value === null ? "null" : kindOf(value);
    default:
      return String(value);
  }
}

/** The type of a value that has no business being where it is, for a message. */
export function kindOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}
