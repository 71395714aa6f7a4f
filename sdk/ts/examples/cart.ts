import type { Cartwheel, Context, MapHandle, MapValue } from "@cartwheel/client";

import type { Stage } from "./stage.js";

/** A shopping cart with quantities: a map with a counter for each line. */
export class Cart {
  readonly #lines: MapHandle;

  constructor(db: Cartwheel, customer: string) {
    this.#lines = db.map("carts", customer);
  }

  /** Changes the quantity of an item by so much. */
  async put(item: string, by: number): Promise<void> {
    await this.#lines.update({ field: item, increment: by });
  }

  /** Reads the quantities. Their context is for what is done on account of them. */
  lines(): Promise<MapValue> {
    return this.#lines.get();
  }

  /** Takes a line out, as it was shown. One more that was put in since stays. */
  async remove(shown: Context, item: string): Promise<void> {
    await this.#lines.removeWith(shown, { kind: "counter", field: item });
  }

  /** Takes out all that was shown, and leaves what was put in since. */
  checkOut(shown: Context): Promise<void> {
    return this.#lines.delete(shown);
  }
}

export async function example({ laptop, phone, fresh, print }: Stage): Promise<void> {
  const customer = fresh("ann");
  const atHome = new Cart(laptop, customer);
  const onTheWay = new Cart(phone, customer);
  await atHome.put("milk", 2);
  await atHome.put("eggs", 6);

  // The laptop shows two bottles of milk. While its owner thinks about them, one more
  // is put in on the phone.
  const shown = await atHome.lines();
  await onTheWay.put("milk", 1);
  await atHome.remove(shown.context, "milk");
  const left = await atHome.lines();
  print("eggs", left.counter("eggs"), "milk", left.counter("milk"));

  // What was ordered is what was shown.
  await onTheWay.put("tea", 1);
  await atHome.checkOut(left.context);
  print((await atHome.lines()).fields.map((f) => f.field));
}
// Output:
// eggs 6 milk 1
// tea
