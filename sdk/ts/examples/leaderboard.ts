import { text, type Cartwheel, type MapHandle, type RegisterHandle } from "@cartwheel/client";

import type { Stage } from "./stage.js";

/** What a player has. */
export interface Score {
  player: string;
  points: number;
}

/**
 * The points of a league in a map of counters, and those at its top in a register. The
 * store sorts by name and never by value: who wants the top reads the league and sorts,
 * or reads what was sorted a moment ago.
 */
export class Leaderboard {
  readonly #points: MapHandle;
  readonly #top: RegisterHandle;

  /** The board of a league, of some thousand players at most. */
  constructor(db: Cartwheel, league: string) {
    this.#points = db.map("points", league);
    this.#top = db.register("top", league);
  }

  /** Adds points. */
  async win(player: string, points: number): Promise<void> {
    await this.#points.update({ field: player, increment: points });
  }

  /** Reads the whole league, by the page, and sorts it here. */
  async sort(n: number): Promise<Score[]> {
    const all: Score[] = [];
    for await (const field of this.#points.fields()) {
      if (field.kind === "counter") all.push({ player: field.field, points: Number(field.value) });
    }
    return all.sort((a, b) => b.points - a.points || a.player.localeCompare(b.player)).slice(0, n);
  }

  /** Sorts and writes what top reads: call it every few seconds, from anywhere. */
  async publish(n: number): Promise<void> {
    await this.#top.set(JSON.stringify(await this.sort(n)));
  }

  /** Reads what was published last, whatever the size of the league. */
  async top(): Promise<Score[]> {
    const { value } = await this.#top.get();
    return value === undefined ? [] : (JSON.parse(text(value)) as Score[]);
  }
}

export async function example({ laptop, phone, fresh, print }: Stage): Promise<void> {
  const league = fresh("league");
  const board = new Leaderboard(phone, league);
  await board.win("ann", 10);
  await board.win("ben", 30);
  await board.win("ann", 25);
  await board.win("cleo", 5);
  await board.publish(2);
  for (const { player, points } of await new Leaderboard(laptop, league).top()) print(player, points);
}
// Output:
// ann 35
// ben 30
