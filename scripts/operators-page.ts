import { blocks, generated, table } from './markdown.ts';
import { typesOf, type Manifest, type Operator, type Port } from './operator-manifest.ts';

const code = (text: string): string => `\`${text}\``;

const packing = `## Packing

A code \`c\` of \`b\` bits is stored as \`c + 2^(b-1)\`, which is never negative. Channels come in steps of 32; a step takes \`b\` words of
4 bytes, and the last step of a row is filled up with stored zeros. Channel \`k\` of a step is byte \`j = k mod 4\` of quad \`q = k div 4\`:

| bits | where channel \`k\` of a step lies |
| --- | --- |
| 8 | word \`q\`, byte \`j\` |
| 4 | word \`q div 2\`, byte \`j\`: the low half for even \`q\`, the high half for odd \`q\` |
| 3 | its two low bits: word \`q div 4\`, byte \`j\`, bits \`2 (q mod 4)\` and the one above; its third bit: word 2, byte \`j\`, bit \`q\` |

So \`word & mask\`, behind a shift, gives four consecutive channels in four bytes, which is what the dot product instructions of x86, ARM
and CUDA take. \`bytes(C, b)\` is \`ceil(C / 32) * 4 * b\`: the bytes of a row of \`C\` channels. Bits that are 3 wide lie in two planes,
of two bits and of one, because codes that cross bytes cost more to take apart (\`kernels/bench/unpack.cc\` compares the layouts).

A weight \`W [K, N]\` is cut into tiles of 16 output channels. Within a tile and a step, each word lies for the 16 channels side by side:
\`weight[tile][step][word][4 * lane + j]\`, 64 bytes that are one vector of AVX-512, two of AVX2, or four of NEON. A kernel reads the weight
from front to back, as it lies in the file. What fills the last step and the last tile up are stored zeros too, as \`packWeight\` writes
them; kernels for CUDA count on it.`;

const rules = `## What holds for all of them

- Without the library a model runs on the function bodies that it carries, one for each signature, under a name of its own (\`ClusterMatMul\`, \`ClusterMatMul_1\`,
  ... up to 15, then by \`overload\`), because ONNX Runtime before 1.27 ignores overloads. The library knows all of these names. With it, the
  library's kernels run; ONNX Runtime never falls back from a kernel to a body, so the library registers every element type.
- All CPU levels (scalar, AVX2, AVX-VNNI, AVX512-VNNI) give the same bits, whatever the number of threads.
- On CUDA, codes of given floats are those of the CPU. Sums of floats are added up in another order: results differ in their last places,
  and a code that is made of such a sum may be the next one.
- NaN is quantized as 0. Infinities go to the ends of the codes. Rounding is half to even, behind a true division, as in QuantizeLinear.
- Wrong ranks, sizes, clusters, bits or scales are an error of ONNX Runtime that starts with the name of the operator. On CUDA, values are
  checked of constants only.`;

function ports(list: readonly Port[]): string {
  return table(
    ['name', 'type', 'shape', ''],
    list.map((p) => [
      code(p.name),
      p.type,
      code(p.shape),
      [...(p.optional === true ? ['optional'] : []), ...(p.doc === undefined ? [] : [p.doc])].join('; '),
    ]),
  );
}

const section = (op: Operator): string =>
  blocks(
    `## ${op.name}`,
    op.summary,
    op.equations.map((e) => `    ${e}`).join('\n'),
    `Inputs:\n\n${ports(op.inputs)}`,
    `Outputs:\n\n${ports(op.outputs)}`,
    `Attributes: ${op.attributes.map(code).join(', ')}.`,
  ).trimEnd();

const attributes = ({ attributes: all }: Manifest): string =>
  blocks(
    '## Attributes',
    table(
      ['name', 'kind', 'values', 'meaning'],
      Object.entries(all).map(([name, a]) => [code(name), a.kind, (a.values ?? []).join(', '), a.doc]),
    ),
  ).trimEnd();

/** `docs/operators.md`. */
export const operatorsPage = (manifest: Manifest): string =>
  blocks(
    generated('kernels/operators.json'),
    '# Operators of the kernel library',
    `Domain \`${manifest.domain}\`, version ${manifest.version}. \`T\` is ${typesOf(manifest)}, the same at all ports of a node. Scales, zero points and sums are f32; \`C\`, \`K\` and \`N\` are channels, \`G\` and \`H\` numbers of clusters.`,
    rules,
    packing,
    ...manifest.operators.map(section),
    attributes(manifest),
  );
