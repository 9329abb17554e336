import { fail } from '../../ir/diagnostics.ts';

/** How far arrays are from what they should be, summed over any number of pairs. */
export class Noise {
  #signal = 0;
  #noise = 0;
  #other = 0;
  #product = 0;
  add(wanted: Float32Array, found: Float32Array): void {
    if (wanted.length !== found.length) fail('QC2103', `the two models give ${wanted.length} and ${found.length} elements for one value`);
    for (let i = 0; i < wanted.length; i++) {
      const [a, b] = [wanted[i]!, found[i]!];
      this.#signal += a * a;
      this.#noise += (a - b) * (a - b);
      this.#other += b * b;
      this.#product += a * b;
    }
  }
  /** 10 log10 of signal power by noise power; null when there is no noise. */
  get sqnr(): number | null {
    return this.#noise === 0 ? null : 10 * Math.log10(this.#signal / this.#noise);
  }
  get cosine(): number {
    return this.#noise === 0 ? 1 : this.#product / Math.sqrt(this.#signal * this.#other);
  }
}
