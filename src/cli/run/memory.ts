import { extname } from 'node:path';
import { schemeNamed } from '../../../passes/index.ts';
import { extentsOfConfig } from '../../memory/from-config.ts';
import { extentsOfModel } from '../../memory/from-model.ts';
import { memoryOf, type Memory } from '../../memory/memory.ts';
import type { Io } from '../command.ts';
import { bytesText, table } from '../tables.ts';

export interface MemoryFlags {
  readonly scheme: readonly string[];
  readonly batch: number;
  readonly seq: number;
  readonly step: number;
  readonly float: 'f16' | 'f32';
}

/** Prints a row of bytes for each scheme. */
export async function memoryCommand(model: string, flags: MemoryFlags, { terminal }: Io): Promise<void> {
  const schemes = flags.scheme.map(schemeNamed);
  const { batch, seq, step, float } = flags;
  const extents = await (extname(model) === '.json' ? extentsOfConfig : extentsOfModel)(model);
  const settings = { batch, seq, step, floatBits: float === 'f16' ? 16 : 32 } as const;
  const found = schemes.map((scheme) => [scheme.name, memoryOf(extents, { ...settings, scheme })] as const);
  const { attentionsLeft } = extents;
  if (terminal.json) return terminal.document({ model, batch, seq, step, float, attentionsLeft, schemes: Object.fromEntries(found) });
  if (attentionsLeft > 0)
    terminal.note(
      `${attentionsLeft === 1 ? '1 attention is' : `${attentionsLeft} attentions are`} not recognised: what they keep is not counted`,
    );
  const rows = found.map(([name, memory]) => [name, ...columns.map((key) => bytesText(memory[key]))]);
  terminal.data(table(['scheme', ...columns], rows, terminal.color));
}

const columns: readonly (keyof Memory)[] = ['linears', 'others', 'cache', 'activations', 'total'];
