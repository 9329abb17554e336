import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { writeModel } from '../../codegen/index.ts';
import { parseGraph } from '../../ir/index.ts';
import { schemeNamed } from '../../passes/index.ts';
import { extentsOfConfig } from '../../src/memory/from-config.ts';
import { extentsOfModel } from '../../src/memory/from-model.ts';
import { memoryOf, type MemorySettings } from '../../src/memory/memory.ts';
import type { Extents } from '../../src/memory/extents.ts';
import { compile } from '../../src/index.ts';
import { fixture, qc, removeTemporary, root } from '../cli/binary.ts';

const folder = mkdtempSync(join(tmpdir(), 'qc-memory-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
  removeTemporary();
});

function configFile(config: object): string {
  const path = join(folder, 'config.json');
  writeFileSync(path, JSON.stringify(config));
  return path;
}
const parametersOf = ({ linears, others }: Extents): number => linears.reduce((n, l) => n + l.rows * l.columns, others);

const opt = (hidden: number, layers: number, heads: number) => ({
  model_type: 'opt',
  hidden_size: hidden,
  num_hidden_layers: layers,
  num_attention_heads: heads,
  ffn_dim: 4 * hidden,
  vocab_size: 50272,
  max_position_embeddings: 2048,
});

describe('a config has the parameters that are published', () => {
  const llama = {
    model_type: 'llama',
    num_hidden_layers: 32,
    hidden_size: 4096,
    num_attention_heads: 32,
    intermediate_size: 11008,
    vocab_size: 32000,
  };
  test.each([
    ['OPT-125m', opt(768, 12, 12), 125_239_296],
    ['LLaMA-2-7b', llama, 6_738_415_616],
    ['Mistral-7B', { ...llama, model_type: 'mistral', num_key_value_heads: 8, intermediate_size: 14336 }, 7_241_732_096],
    ['GPT-2', { model_type: 'gpt2', n_embd: 768, n_layer: 12, n_head: 12, vocab_size: 50257, n_positions: 1024 }, 124_439_808],
    ['BLOOM-560m', { model_type: 'bloom', hidden_size: 1024, n_layer: 24, n_head: 16, vocab_size: 250880 }, 559_214_592],
    [
      'Pythia-70m',
      {
        model_type: 'gpt_neox',
        hidden_size: 512,
        num_hidden_layers: 6,
        num_attention_heads: 8,
        intermediate_size: 2048,
        vocab_size: 50304,
      },
      70_426_624,
    ],
    [
      'Qwen2-0.5B',
      {
        model_type: 'qwen2',
        hidden_size: 896,
        num_hidden_layers: 24,
        num_attention_heads: 14,
        num_key_value_heads: 2,
        intermediate_size: 4864,
        vocab_size: 151936,
        tie_word_embeddings: true,
      },
      494_032_768,
    ],
    [
      'Qwen3-0.6B',
      {
        model_type: 'qwen3',
        hidden_size: 1024,
        num_hidden_layers: 28,
        num_attention_heads: 16,
        num_key_value_heads: 8,
        head_dim: 128,
        intermediate_size: 3072,
        vocab_size: 151936,
        tie_word_embeddings: true,
      },
      596_049_920,
    ],
  ])('%s', async (_, config, parameters) => {
    expect(parametersOf(await extentsOfConfig(configFile(config)))).toBe(parameters);
  });
});

describe("RPTQ's table", () => {
  const large: Omit<MemorySettings, 'scheme'> = { batch: 64, seq: 8192, step: 1, floatBits: 16 };
  const gigabytes = async (name: string, more: Partial<MemorySettings> = {}): Promise<number> =>
    memoryOf(await extentsOfConfig(configFile(opt(9216, 64, 72))), { ...large, scheme: schemeNamed(name), ...more }).total / 1e9;

  // Weights at their bits, and 2 x layers x hidden x tokens x batch for keys and values.
  test.each([
    ['rptq-w4a16', 1270],
    ['rptq-w4a8', 651],
    ['rptq-w4a4', 342],
    ['rptq-w4a4kv', 342],
    ['rptq-w4a3kv', 265],
    ['rptq-w3a3kv', 257],
  ])('OPT-66b, batch 64, 8192 tokens, %s: %i GB', async (scheme, total) => {
    expect(Math.abs((await gigabytes(scheme)) / total - 1)).toBeLessThan(0.02);
  });
  test('4-bit activations save more than 900 GB there', async () =>
    expect((await gigabytes('rptq-w4a16')) - (await gigabytes('rptq-w4a4'))).toBeGreaterThan(900));
});

const model = fixture('bert-tiny-op13');

describe('a model', () => {
  test('has in its quantized file the bytes that were said', async () => {
    const extents = await extentsOfModel(model);
    const rows = Array.from({ length: 4 }, (_, i) => Array.from({ length: 12 }, (_, j) => (i * 37 + j * 11) % 380));
    const data = join(folder, 'data.jsonl');
    writeFileSync(data, rows.map((input_ids) => JSON.stringify({ input_ids })).join('\n'));
    for (const name of ['w8a8', 'w4a8']) {
      const output = join(folder, 'out.onnx');
      const report = await compile({
        model,
        output,
        passes: 'none',
        scheme: name,
        target: 'portable',
        verify: false,
        data: { files: [data] },
      });
      const said = memoryOf(extents, { scheme: schemeNamed(name), batch: 1, seq: 1, step: 1, floatBits: 32 });
      // The file has the nodes too.
      expect(report.bytesAfter).toBeGreaterThan(said.linears + said.others);
      expect(report.bytesAfter - (said.linears + said.others)).toBeLessThan(60_000);
    }
  }, 120_000);

  test('keeps keys and values of its layers', async () => {
    const { layers } = await extentsOfModel(join(root, 'test/fixtures/families/llama-optimum.onnx'));
    expect(layers.map(({ key, value }) => [key, value])).toEqual([
      [32, 32],
      [32, 32],
    ]);
  });
});

describe('qc memory', () => {
  test('prints a row for each scheme', async () => {
    const config = configFile(opt(9216, 64, 72));
    const { code, stdout } = await qc([
      'memory',
      config,
      '--scheme',
      'rptq-w4a16',
      'rptq-w4a4',
      '--batch',
      '64',
      '--seq',
      '8192',
      '--json',
    ]);
    expect(code).toBe(0);
    const { schemes } = JSON.parse(stdout);
    expect(Object.keys(schemes)).toEqual(['rptq-w4a16', 'rptq-w4a4']);
    expect(schemes['rptq-w4a16'].total - schemes['rptq-w4a4'].total).toBeGreaterThan(9e11);
  }, 60_000);

  test('says how many attentions it could not count', async () => {
    const path = join(folder, 'odd.onnx');
    const graph = parseGraph(`graph @odd(%q: f32[1,5,8], %k: f32[1,8,5]) {
      const %w: f32[8,8] = random 1
      %s: f32[1,5,5] = MatMul(%q, %k)
      %p: f32[1,5,5] = Softmax(%s)
      %o: f32[1,5,8] = MatMul(%p, %q)
      %y: f32[1,5,8] = MatMul(%o, %w)
      return %y
    }`);
    writeModel(graph, path);
    const { stdout } = await qc(['memory', path, '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ attentionsLeft: 1, schemes: { w8a8: { cache: 0 } } });
    expect((await qc(['memory', path])).stderr).toContain('1 attention is not recognised');
    expect((await extentsOfModel(model)).attentionsLeft).toBe(0);
  }, 60_000);

  test.each([
    ['of another family', { model_type: 'mamba' }, 'QC2112'],
    ['without a field', { model_type: 'llama', hidden_size: 8 }, 'QC2112'],
    ['without a family', { hidden_size: 8 }, 'QC2112'],
  ])('refuses a config %s', async (_, config, code) => {
    await expect(extentsOfConfig(configFile(config))).rejects.toThrow(code);
  });
});
