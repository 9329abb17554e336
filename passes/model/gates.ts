import type { Site } from '../../ir/ops/qc.ts';
import { observerOf } from '../../ir/site.ts';
import { hasRole } from '../operators/index.ts';

/**
 * Whether a site is behind a product of two computed values of all channels, as the inner value of a gated MLP is (Shazeer 2020). The largest
 * values of both factors meet in few tokens, which a few samples do not hold.
 */
export function isGated(site: Site): boolean {
  const { producer } = observerOf(site)?.x ?? site.x;
  if (!producer || !hasRole(producer, 'multiplication')) return false;
  const [a, b] = [producer.input(0)!, producer.input(1)!];
  const channels = a.type?.shape?.at(-1) ?? null;
  return !a.constant && !b.constant && channels !== null && channels !== 1 && channels === b.type?.shape?.at(-1);
}
