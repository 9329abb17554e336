import type { Layout } from '../../ir/layout.ts';
import type { Site } from '../../ir/ops/qc.ts';
import type { ActivationScheme, Scheme } from '../../ir/scheme.ts';
import { isGated } from '../model/gates.ts';

/** How the scheme quantizes a site; null where it leaves it in float. */
export function activationAt(scheme: Scheme, site: Site, { gated }: Layout): ActivationScheme | null {
  const activation = scheme.activations[site.role];
  if (!activation || (scheme.gated === 'float' && isGated(site))) return null;
  return isToken(site, gated) ? { ...activation, range: 'token' } : activation;
}

/** Whether scales are found for each token in spite of a scheme with static ones. */
const isToken = (site: Site, gated: Layout['gated']): boolean => site.range === 'token' || (gated !== 'static' && isGated(site));

/** How scales lie at a site: a target that finds scales for each token only in blocks has them there where they are not static. */
export const layoutAt = <L extends Layout>(site: Site, layout: L): L =>
  layout.gated === 'block' && isToken(site, layout.gated)
    ? { ...layout, activations: 'block', weights: 'block', block: 32, multiples: false }
    : layout;
