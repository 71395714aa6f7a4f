import type { Cartwheel, MapHandle } from "@cartwheel/client";

import type { Stage } from "./stage.js";

/**
 * The feature flags of a deployment: a map of flags. Whoever enables one while somebody
 * else disables it wins. Where off has to win, call the flag by what it forbids.
 */
export class Flags {
  readonly #of: MapHandle;

  constructor(db: Cartwheel, deployment: string) {
    this.#of = db.map("flags", deployment);
  }

  /** Turns features on and off, all of them at the same moment for everybody. */
  async turn(features: Record<string, boolean>): Promise<void> {
    await this.#of.update(...Object.entries(features).map(([field, flag]) => ({ field, flag })));
  }

  /** Reads all that is on. */
  async on(): Promise<string[]> {
    const { fields } = await this.#of.get();
    return fields.map((f) => f.field);
  }
}

export async function example({ laptop, phone, fresh, print }: Stage): Promise<void> {
  const deployment = fresh("production");
  const flags = new Flags(laptop, deployment);
  await flags.turn({ "dark-mode": true, "old-search": true });

  // Nobody has both searches, or none.
  await flags.turn({ "new-search": true, "old-search": false });
  print(await new Flags(phone, deployment).on());
}
// Output:
// dark-mode,new-search
