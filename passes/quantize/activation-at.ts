import type { Layout } from '../../ir/layout.ts';
import type { Site } from '../../ir/ops/qc.ts';
import type { ActivationScheme, Scheme } from '../../ir/scheme.ts';
import { isGated } from '../model/gates.ts';

/** How the scheme quantizes a site; null where it leaves it in float. */
export function activationAt(scheme: Scheme, site: Site, { gated }: Layout): ActivationScheme | null {
  const activation = scheme.activations[site.role];
  if (!activation || !isGated(site)) return activation ?? null;
  if (scheme.gated === 'float') return null;
  return gated === 'static' ? activation : { ...activation, range: 'token' };
}

/** How scales lie at a site: a target that finds scales for each token only in blocks has them where a gated product is behind the site. */
export const layoutAt = <L extends Layout>(site: Site, layout: L): L =>
  layout.gated === 'block' && isGated(site) ? { ...layout, activations: 'block', weights: 'block', block: 32, multiples: false } : layout;
