/**
 * ULIDs: names that sort by when they were made, larger than any made here before. Also where a page is not served
 * securely, which has no `crypto.randomUUID`.
 */

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const ID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;

export function isUlid(text: string): boolean {
  return ID.test(text);
}

export class Ulids {
  #time = 0;
  /** 80 random bits in five digits of 16 bits, the most significant first. */
  #random = new Uint16Array(5);

  next(now: number = Date.now()): string {
    if (now > this.#time) {
      this.#time = now;
      crypto.getRandomValues(this.#random);
      // Room to count up in.
      this.#random[0]! &= 0x7fff;
    } else {
      for (let at = 4; at >= 0; at--) {
        this.#random[at]!++;
        if (this.#random[at] !== 0) break;
      }
    }
    let bits = BigInt(this.#time);
    for (const digit of this.#random) bits = (bits << 16n) | BigInt(digit);
    let text = "";
    for (let at = 0; at < 26; at++) {
      text = ALPHABET[Number(bits & 31n)]! + text;
      bits >>= 5n;
    }
    return text;
  }
}
