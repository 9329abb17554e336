import type { Node } from '../../ir/graph.ts';
import { hasRole } from '../operators/index.ts';

/** Whether a node normalizes each token. */
export const isNorm = (node: Node | null): boolean => hasRole(node, 'norm');
