import type { Cartwheel, SetHandle } from "@cartwheel/client";

import type { Stage } from "./stage.js";

/**
 * Who is in a room: a set of people who go by themselves unless they say again, in
 * time, that they are there.
 */
export class Room {
  readonly #people: SetHandle;

  constructor(db: Cartwheel, name: string, private readonly awayMs: number) {
    this.#people = db.set("rooms", name);
  }

  /**
   * Says that somebody is there. Call it three times in the time after which they would
   * be away, so that one lost call does not matter.
   */
  async here(person: string): Promise<void> {
    await this.#people.with({ expiresInMs: this.awayMs }).add(person);
  }

  /** Says that somebody is gone. */
  leave(person: string): Promise<void> {
    return this.#people.remove(person);
  }

  /** Lists who is there. */
  async present(): Promise<string[]> {
    const people: string[] = [];
    for await (const { member } of this.#people.members()) people.push(member);
    return people;
  }
}

export async function example({ laptop, phone, fresh, print }: Stage): Promise<void> {
  const kitchen = fresh("kitchen");
  const room = new Room(laptop, kitchen, 30_000);
  await room.here("ann");
  await room.here("ben");
  await room.here("cleo");
  await room.leave("ben");
  print(await new Room(phone, kitchen, 30_000).present());
}
// Output:
// ann,cleo
