import { int } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import { DynamicQuantize, FakeQuantize, type Site } from '../../ir/ops/qc.ts';
import { codeRange, groupIndex, parametersFor } from '../../ir/quant.ts';
import type { ActivationScheme } from '../../ir/scheme.ts';
import { sizeOf } from '../../ir/types.ts';
import { sweep } from '../blocks/sweep.ts';
import type { Feeds } from '../infra/executor.ts';
import type { PassContext, Samples } from '../infra/pass.ts';
import type { Linear } from '../model/linears.ts';
import type { Statistics } from '../observe/statistics.ts';
import { clusterGrid, groupRanges } from './scale-groups.ts';
import { usualRange } from './usual-range.ts';

/** A site with a static scale for each of its groups, and the linears that read it. */
export interface StaticSite {
  readonly site: Site;
  readonly linears: readonly Linear[];
  readonly activation: ActivationScheme;
  readonly statistics: Statistics;
  readonly groups: readonly number[];
}

/** Noise by signal of what the linears of a site give, as means over tokens: with its static scales, and with a scale for each token. */
export interface RangeNoise {
  readonly fixed: number;
  readonly token: number;
}

/** Measures the noise at sites on samples, by the key of the site. Weights are in float. */
export async function rangeNoise(
  graph: Graph,
  sites: readonly StaticSite[],
  samples: Samples,
  ctx: PassContext,
): Promise<ReadonlyMap<string, RangeNoise>> {
  const sums = new Map<string, { fixed: number; token: number; tokens: number }>();
  let measured: ReadonlyMap<string, readonly [fixed: string, token: string]> = new Map();
  await sweep(graph, samples, ctx, {
    augment(block, copies) {
      measured = new Map(
        sites.filter(({ linears }) => copies.has(linears[0]!.node.output)).map((s) => [s.site.key, addNoise(block, copies, s)]),
      );
    },
    onSample(_, values) {
      for (const [key, names] of measured) {
        const [fixed, token] = names.map((name) => values[name]!.data as Float32Array) as [Float32Array, Float32Array];
        const kept = keptTokens(values, ctx.services.mask, fixed.length);
        const total = (of: Float32Array): number => of.reduce((sum, x, t) => sum + (kept(t) ? x : 0), 0);
        const tokens = fixed.reduce((n, _x, t) => n + (kept(t) ? 1 : 0), 0);
        const before = sums.get(key) ?? { fixed: 0, token: 0, tokens: 0 };
        sums.set(key, { fixed: before.fixed + total(fixed), token: before.token + total(token), tokens: before.tokens + tokens });
      }
    },
  });
  return new Map([...sums].map(([key, s]) => [key, { fixed: s.fixed / s.tokens, token: s.token / s.tokens }]));
}

/** Which tokens are no padding; all where the mask has another number of elements. */
function keptTokens(values: Feeds, mask: string | null, tokens: number): (token: number) => boolean {
  const found = mask === null ? undefined : values[mask];
  return found && sizeOf(found.shape) === tokens ? (t) => Number(found.data[t]) !== 0 : () => true;
}

/** Has a block give out the noise by signal of each token, with both kinds of scales; gives the names. */
function addNoise(block: Graph, copies: ReadonlyMap<Value, Value>, s: StaticSite): readonly [string, string] {
  const build = Builder.atEnd(block, s.site.key);
  const x = copies.get(s.site.x)!;
  const { min, max } = codeRange(s.activation.bits, s.activation.symmetric);
  const codes = { qmin: int(min), qmax: int(max) };
  const parameters = groupRanges(usualRange(s.statistics, s.activation, s.groups), s.groups).map(([low, high]) =>
    parametersFor(low, high, { ...s.activation, grid: clusterGrid(s.activation, s.groups) }),
  );
  const [scale, zero] = [
    build.vector(
      'scale',
      parameters.map((p) => p.scale),
    ),
    build.vector(
      'zero',
      parameters.map((p) => p.zero),
    ),
  ];
  const fixed = build.make(
    FakeQuantize,
    { x, scale, zero, index: build.ints('group', groupIndex(s.groups)) },
    { attributes: codes, like: x },
  );
  const attributes = { ...codes, symmetric: int(s.activation.symmetric ? 1 : 0), block: int(0) };
  const token = build.make(DynamicQuantize, { x }, { attributes, like: x });
  const give = (quantized: Value): string => {
    const noise = noiseBySignal(build, copies, s.linears, quantized);
    block.addOutput(noise);
    return noise.name;
  };
  return [give(fixed.y), give(token.y)];
}

/** sum |y - y'|^2 / sum |y|^2 of each token, over the results of linears that read `quantized` in the place of their input. */
function noiseBySignal(build: Builder, copies: ReadonlyMap<Value, Value>, linears: readonly Linear[], quantized: Value): Value {
  const power = (v: Value): Value => build.value('ReduceSumSquare', [v, build.ints('axes', [-1])], { keepdims: int(0) });
  const parts = linears.map(({ node }) => {
    const y = copies.get(node.output)!;
    const { op, operands, attributes } = y.producer!;
    const weights = operands.slice(1).map((u) => u.value);
    const rounded = build.value(op, [quantized, ...weights], Object.fromEntries(attributes));
    return [power(build.value('Sub', [rounded, y])), power(y)] as const;
  });
  const sum = (of: readonly Value[]): Value => of.reduce((a, b) => build.value('Add', [a, b]));
  const signal = build.value('Max', [sum(parts.map(([, y]) => y)), build.scalar('least', 1e-30)]);
  return build.value('Div', [sum(parts.map(([noise]) => noise)), signal]);
}
