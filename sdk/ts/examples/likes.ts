import type { Cartwheel, CounterHandle, SetHandle } from "@cartwheel/client";

import type { Stage } from "./stage.js";

/**
 * Likes of a page: who likes it is a set, so that nobody counts twice and a like can be
 * taken back. How often it was clapped for, by whomever, is a counter.
 */
export class Likes {
  readonly #by: SetHandle;
  readonly #claps: CounterHandle;

  constructor(db: Cartwheel, page: string) {
    this.#by = db.set("liked-by", page);
    this.#claps = db.counter("claps", page);
  }

  /** Adds a person; who likes the page already changes nothing. */
  async like(person: string): Promise<void> {
    await this.#by.add(person);
  }

  /** Takes a like back. */
  unlike(person: string): Promise<void> {
    return this.#by.remove(person);
  }

  /** Tells how many people like the page. */
  count(): Promise<number> {
    return this.#by.size();
  }

  /** Counts applause. Tried again after a timeout it still counts once. */
  async clap(times: number): Promise<void> {
    await this.#claps.add(times);
  }

  claps(): Promise<bigint> {
    return this.#claps.get();
  }
}

export async function example({ laptop, phone, fresh, print }: Stage): Promise<void> {
  const page = fresh("page");
  const likes = new Likes(phone, page);
  await likes.like("ann");
  await likes.like("ann"); // pressed twice
  await likes.like("ben");
  await likes.unlike("ben");
  await likes.clap(3);
  await new Likes(laptop, page).clap(2);
  print(await likes.count(), await likes.claps());
}
// Output:
// 1 5
