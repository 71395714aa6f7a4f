import { Cartwheel } from "@cartwheel/client";
import { expect, inject, test } from "vitest";

import type { Stage } from "../examples/stage.js";

interface Example {
  example(stage: Stage): Promise<void>;
}

const examples = import.meta.glob<Example>(["../examples/*.ts", "!../examples/stage.ts"], { eager: true });
const sources = import.meta.glob<string>("../examples/*.ts", { eager: true, query: "?raw", import: "default" });

test("there is an example of each recipe", () => {
  const names = Object.keys(examples).map((path) => path.replace(/.*\/(.*)\.ts/, "$1"));
  expect(names.sort()).toEqual(["cart", "flags", "leaderboard", "likes", "login", "presence"]);
});

test.each(Object.entries(examples))("%s prints what it says", async (path, { example }) => {
  const [n1, n2, n3] = inject("endpoints") as [string, string, string];
  const laptop = await Cartwheel.connect([n1, n2, n3]);
  const phone = await Cartwheel.connect([n2, n3, n1]);
  const lines: string[] = [];
  await example({
    laptop, phone,
    fresh: (name) => `${name}-${crypto.randomUUID()}`,
    print: (...values) => lines.push(values.map(String).join(" ")),
  });
  const [, output = ""] = (sources[path] ?? "").split("// Output:\n");
  expect(lines).toEqual(output.trim().split("\n").map((line) => line.replace(/^\/\/ /, "")));
  laptop.close();
  phone.close();
});
