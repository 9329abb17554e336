import { targets } from '../../../codegen/index.ts';
import { PassManager, passes, plainNames, schemes, type Pass } from '../../../passes/index.ts';
import { loadPlugins } from '../../plugins.ts';
import { presets } from '../../presets.ts';
import type { Io } from '../command.ts';
import { table, type Colors } from '../tables.ts';

/** Lists passes, schemes and targets, or shows one pass. */
export async function passesCommand(name: string | undefined, plugins: readonly string[], { terminal }: Io): Promise<void> {
  const manager = new PassManager([...passes, ...(await loadPlugins(plugins))]);
  if (name !== undefined) {
    const pass = manager.find(name);
    if (terminal.json) terminal.document(passDocument(pass));
    else terminal.data(passText(pass, terminal.color));
  } else if (terminal.json) {
    const named = ({ name, summary }: { readonly name: string; readonly summary: string }) => ({ name, summary });
    terminal.document({ passes: manager.passes.map(passDocument), presets, schemes, targets: targets.map(named) });
  } else {
    terminal.data(listText(manager.passes, terminal.color));
  }
}

/** A pass as JSON. */
const passDocument = ({ name, summary, contract, needs, gives, breaks, observes, options }: Pass) => ({
  name,
  summary,
  contract,
  needs,
  gives,
  breaks,
  observes: observes.map((r) => r.name),
  options: Object.entries(options).map(([key, o]) => ({ name: key, kind: o.kind, default: o.fallback, description: o.describe })),
});

/** A pass with its options. */
function passText(pass: Pass, colors: Colors): string {
  const { needs, gives, breaks } = pass;
  const facts = Object.entries({ needs, gives, breaks, observes: pass.observes.map((r) => r.name) }).flatMap(([key, names]) =>
    names.length > 0 ? `${key} ${names.join(', ')}` : [],
  );
  const rows = Object.entries(pass.options).map(([name, o]) => [name, o.kind, fallbackText(o.fallback), o.describe]);
  const head = `${colors.bold(pass.name)}: ${pass.summary}\n${[pass.contract, ...facts].join('; ')}`;
  return rows.length === 0 ? `${head}\nno options` : `${head}\n${table(['option', 'kind', 'default', 'what it is'], rows, colors)}`;
}

const fallbackText = (x: unknown): string => (x === null ? 'none' : String(x));

function listText(all: readonly Pass[], colors: Colors): string {
  const passRows = all.map((p) => [p.name, p.contract, p.needs.join(', '), p.gives.join(', '), p.summary]);
  const pairs = (items: readonly { readonly name: string; readonly summary: string }[]) => items.map((i) => [i.name, i.summary]);
  return [
    table(['pass', 'contract', 'needs', 'gives', 'what it does'], passRows, colors),
    table(
      ['preset', 'passes', 'what it is'],
      presets.map((p) => [p.name, p.passes, p.summary]),
      colors,
    ),
    table(
      ['scheme', 'what it quantizes'],
      [...pairs(schemes), [plainNames, 'bits of weights, of inputs, of keys and values; 16 is float']],
      colors,
    ),
    table(['target', 'what it is'], pairs(targets), colors),
  ].join('\n');
}
