import { string } from '../../../ir/attributes.ts';
import type { Builder } from '../../../ir/builder.ts';
import type { Value } from '../../../ir/graph.ts';
import { Add, Gelu, Mul, Sigmoid } from '../../../ir/ops/generated.ts';
import { BiasGelu, FastGelu, Gelu as PlainGelu, QuickGelu } from '../../../ir/ops/microsoft.ts';
import { ruleFor, type RewriteRule } from '../../../ir/rewrite.ts';

/** Gelu(x + bias). */
function become(build: Builder, y: Value, x: Value, bias: Value | null, approximate: 'none' | 'tanh'): void {
  const sum = bias ? build.make(Add, { a: x, b: bias }, { like: x }).c : x;
  const details = { attributes: { approximate: string(approximate) }, like: y, name: y.producer!.name };
  build.graph.replace(y, build.make(Gelu, { x: sum }, details).y);
}

const biased = ruleFor('raise-bias-gelu', BiasGelu, ({ a, b, c }, build) => become(build, c, a, b, 'none'));
const plain = ruleFor('raise-plain-gelu', PlainGelu, ({ x, y }, build) => become(build, y, x, null, 'none'));
const fast = ruleFor('raise-fast-gelu', FastGelu, ({ x, bias, y }, build) => become(build, y, x, bias, 'tanh'));

/** x sigmoid(alpha x), which is SiLU where alpha is 1. */
const quick = ruleFor('raise-quick-gelu', QuickGelu, ({ node, x, y, alpha }, build) => {
  const inner = alpha === 1 ? x : build.make(Mul, { a: x, b: build.scalar('alpha', alpha) }, { like: x }).c;
  const gate = build.make(Sigmoid, { x: inner }, { like: x }).y;
  build.graph.replace(y, build.make(Mul, { a: x, b: gate }, { like: y, name: node.name }).c);
});

/** Activations of ONNX Runtime in those of ONNX. */
export const fusedGelus: readonly RewriteRule[] = [biased, plain, fast, quick];
