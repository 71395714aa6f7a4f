import type { Cartwheel } from "@cartwheel/client";

/** What an example plays on: two clients of one cluster, names nobody has used, and somewhere to print to. */
export interface Stage {
  laptop: Cartwheel;
  phone: Cartwheel;
  fresh(name: string): string;
  print(...values: unknown[]): void;
}
