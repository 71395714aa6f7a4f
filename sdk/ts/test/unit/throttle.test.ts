import { expect, test } from "vitest";

import { Throttle } from "../../src/throttle.js";

test.each([
  ["all of what is taken", 1_000, 1_000, 1_000],
  ["twice as much as is taken", 200, 330, 470],
  ["one in ten when nothing is taken", 0, 70, 130],
])("a throttle lets through %s", (_, capacity, least, most) => {
  const throttle = new Throttle();
  let sent = 0;
  for (let now = 1_000, taken = 0; now < 21_000; now++) {
    if (now % 1_000 === 0) taken = 0;
    if (!throttle.allow(now)) continue;
    // The cluster takes its share evenly over the second.
    const ok = taken * 1_000 < capacity * ((now % 1_000) + 1);
    throttle.note(now, ok);
    if (ok) taken++;
    if (now >= 11_000) sent++;
  }
  expect(sent / 10).toBeGreaterThanOrEqual(least);
  expect(sent / 10).toBeLessThanOrEqual(most);
});

test("a throttle forgets an overload within seconds", () => {
  const throttle = new Throttle();
  let now = 0;
  for (; now < 10_000; now++) if (throttle.allow(now)) throttle.note(now, false);
  let kept = 0;
  for (let second = 0; second < 12; second++) {
    kept = 0;
    for (let i = 0; i < 100; i++) {
      now += 10;
      if (throttle.allow(now)) throttle.note(now, true);
      else kept++;
    }
  }
  expect(kept).toBe(0);
});

test("a throttle keeps nothing back before the first refusal", () => {
  const throttle = new Throttle(() => 0);
  for (let i = 0; i < 1_000; i++) expect(throttle.allow(1_000)).toBe(true);
});
