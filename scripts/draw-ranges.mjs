/** Draws the ranges of every channel at one site of the demo model, before and after the methods: node scripts/draw-ranges.mjs > docs/ranges.svg */
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compile, sites, statisticsAt } from '@onnx-qc/qc';

const demo = 'examples/demo';
const panels = new Map([
  ['calibrate', 'as trained: a few channels lie far out, and one scale must reach them all'],
  ['os+', 'after os+: centred, and no wider than the threshold that the search found'],
  ['rptq', 'after rptq: channels of similar range side by side, one scale for each cluster'],
]);

/** @type {{ title: string, min: Float32Array, max: Float32Array, groups: readonly number[] | null }[]} */
const drawn = [];
const output = join(tmpdir(), `qc-ranges-${process.pid}.onnx`);
await compile({
  model: join(demo, 'model.onnx'),
  output,
  passes: 'os+,rptq',
  scheme: 'w8a6',
  target: 'portable',
  data: { files: [join(demo, 'calibration.txt')], tokenizer: join(demo, 'tokenizer.json'), seq: 128, samples: 16 },
  afterPass({ name }, graph) {
    const title = panels.get(name);
    const site = sites(graph)[0];
    const range = site && statisticsAt(site)?.range;
    if (title && range) drawn.push({ title, ...range, groups: site.groups });
  },
});
rmSync(output);

const [width, height, gap] = [760, 130, 40];

/** @param {(typeof drawn)[number]} panel @param {number} index */
function panel({ title, min, max, groups }, index) {
  const [low, high] = [Math.min(...min), Math.max(...max)];
  const x = (/** @type {number} */ channel) => 50 + (channel * (width - 60)) / min.length;
  const y = (/** @type {number} */ value) => index * (height + gap) + 30 + ((high - value) * height) / (high - low);
  const bar = (/** @type {number} */ c) =>
    `<line x1="${x(c).toFixed(1)}" x2="${x(c).toFixed(1)}" y1="${y(max[c] ?? 0).toFixed(1)}" y2="${(y(min[c] ?? 0) + 0.5).toFixed(1)}"/>`;
  let edge = 0;
  const edges = (groups ?? [])
    .slice(0, -1)
    .map((n) => (edge += n))
    .map((e) => `<line x1="${x(e - 0.5)}" x2="${x(e - 0.5)}" y1="${y(high)}" y2="${y(low)}"/>`);
  const label = (/** @type {number} */ v) => `<text x="44" y="${y(v) + 4}" text-anchor="end">${v.toFixed(1)}</text>`;
  return [
    `<text x="50" y="${y(high) - 10}">${title}</text>${label(high)}${label(low)}`,
    `<g stroke="#d8d8d8" stroke-width="0.7">${edges.join('')}<line x1="50" x2="${width - 10}" y1="${y(0)}" y2="${y(0)}"/></g>`,
    `<g stroke="#2f6db5" stroke-width="${((width - 60) / min.length / 1.6).toFixed(2)}">${Array.from(min, (_, c) => bar(c)).join('')}</g>`,
  ].join('\n');
}

const total = drawn.length * (height + gap) + 10;
console.log(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${total}" font-family="sans-serif" font-size="12" fill="#333">
<rect width="${width}" height="${total}" fill="white"/>
${drawn.map(panel).join('\n')}
</svg>`);
