import { text, type Cartwheel, type RegisterHandle } from "@cartwheel/client";

import type { Stage } from "./stage.js";

/**
 * What a web server knows of people who are logged in: a register for each, that nobody
 * sees any more when its time is over.
 */
export class Logins {
  constructor(private readonly db: Cartwheel, private readonly ttlMs: number) {}

  /** Writes a login, and lets it last anew. */
  async save(id: string, data: string): Promise<void> {
    await this.#register(id).with({ expiresInMs: this.ttlMs }).set(data);
  }

  /** Reads a login; undefined where there is none, or none any more. */
  async load(id: string): Promise<string | undefined> {
    const { value } = await this.#register(id).get();
    return value === undefined ? undefined : text(value);
  }

  /** Logs out. */
  end(id: string): Promise<void> {
    return this.#register(id).delete();
  }

  #register(id: string): RegisterHandle {
    return this.db.register("logins", id);
  }
}

export async function example({ laptop, phone, fresh, print }: Stage): Promise<void> {
  const id = fresh("login");
  const halfAnHour = 30 * 60_000;
  await new Logins(phone, halfAnHour).save(id, "ann, cart 42");
  const logins = new Logins(laptop, halfAnHour);
  print(await logins.load(id));
  await logins.end(id);
  print(await logins.load(id));
}
// Output:
// ann, cart 42
// undefined
