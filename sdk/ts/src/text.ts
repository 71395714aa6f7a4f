/** The UTF-8 of a text; bytes are what they are. */
export function bytes(value: Uint8Array | string): Uint8Array {
  return typeof value === "string" ? new TextEncoder().encode(value) : value;
}

/** The text of bytes that are UTF-8. */
export function text(value: Uint8Array): string {
  return new TextDecoder().decode(value);
}
