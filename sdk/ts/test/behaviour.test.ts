import { Cartwheel } from "@cartwheel/client";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";

import table from "../../behaviour/cases.json" with { type: "json" };
import { Runner, type Case, type Clients } from "./behaviour.js";

// The table is the same for every client library; its README has the format.
describe("behaviour", () => {
  let clients: Clients;
  const run = Math.random().toString(36).slice(2);

  beforeAll(async () => {
    const [n1, n2, n3] = inject("endpoints") as [string, string, string];
    const [ann, ben, cleo] = await Promise.all([
      Cartwheel.connect([n1, n2, n3]), Cartwheel.connect([n2, n3, n1]), Cartwheel.connect([n3, n1, n2]),
    ]);
    clients = { ann, ben, cleo };
  });
  afterAll(() => {
    for (const db of Object.values(clients)) db.close();
  });

  it("is a table of a format that is known", () => expect(table.format).toBe(1));

  for (const [at, one] of (table.cases as unknown as Case[]).entries()) {
    it(one.name, () => new Runner(clients, `${run}/${at}`).run(one.steps));
  }
});
