import { describe, expect, test } from "vitest";

import { apply, compose, diff, invert, ofSplice, toSplices, transform, type Op } from "../ts/ot.js";
import { random, randomOp, randomText } from "./support/random.js";

const ROUNDS = 3_000;

describe("operations on text", () => {
  test("what two did apart is the same in either order", () => {
    const pick = random(1);
    for (let round = 0; round < ROUNDS; round++) {
      const text = randomText(pick);
      const [a, b] = [randomOp(pick, text), randomOp(pick, text)];
      const [afterB, afterA] = transform(a, b);
      const left = apply(apply(text, a)!, afterA);
      const right = apply(apply(text, b)!, afterB);
      expect(left, JSON.stringify({ text, a, b })).toBe(right);
    }
  });

  test("nothing that either put in is lost, and the first comes first where both put something", () => {
    const [a, b]: [Op, Op] = [ofSplice({ index: 1, deleted: 2, inserted: "A" }), ofSplice({ index: 1, deleted: 0, inserted: "B" })];
    const [, afterA] = transform(a, b);
    expect(apply(apply("xyz", a)!, afterA)).toBe("xAB");
    const inside = ofSplice({ index: 2, deleted: 0, inserted: "I" });
    expect(apply(apply("xyz", a)!, transform(a, inside)[1])).toContain("I");
  });

  test("composed, split and inverted, an operation does the same", () => {
    const pick = random(2);
    for (let round = 0; round < ROUNDS; round++) {
      const text = randomText(pick);
      const a = randomOp(pick, text);
      const middle = apply(text, a)!;
      const b = randomOp(pick, middle);
      const end = apply(middle, b)!;
      expect(apply(text, compose(a, b))).toBe(end);
      expect(toSplices(a).map(ofSplice).reduce((so, op) => apply(so, op)!, text)).toBe(middle);
      expect(apply(middle, invert(text, a))).toBe(text);
    }
  });

  test("a difference makes the one of the other and tears no character apart", () => {
    const pick = random(3);
    for (let round = 0; round < ROUNDS; round++) {
      const [a, b] = [randomText(pick), randomText(pick)];
      expect(apply(a, diff(a, b))).toBe(b);
    }
    // Two characters that share a half.
    const [splice] = toSplices(diff("x😀y", "x😁y"));
    expect(splice).toEqual({ index: 1, deleted: 2, inserted: "😁" });
    expect(toSplices(diff("😀", "🐀"))).toEqual([{ index: 0, deleted: 2, inserted: "🐀" }]);
  });

  test("an operation that does not fit the text is not carried out", () => {
    expect(apply("ab", ofSplice({ index: 3, deleted: 0, inserted: "x" }))).toBeUndefined();
    expect(apply("ab", ofSplice({ index: 1, deleted: 2, inserted: "" }))).toBeUndefined();
  });
});
