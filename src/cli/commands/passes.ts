import type { Command } from '@commander-js/extra-typings';
import { texts } from '../arguments.ts';
import type { Runner } from '../command.ts';

/** `qc passes`. */
export function definePasses(program: Command, run: Runner): void {
  program
    .command('passes')
    .summary('list passes, schemes and targets, or the options of one pass')
    .description('List passes, schemes and targets; with a name, the options of that pass.')
    .argument('[name]', 'a pass')
    .option('--plugin <file...>', texts.plugin)
    .option('--json', texts.json)
    .addHelpText('after', '\nExamples:\n  $ qc passes\n  $ qc passes rptq\n  $ qc passes --json | jq -r .schemes[].name')
    .action((name, options) =>
      run(options, async (io) => {
        const { passesCommand } = await import('../run/passes.ts');
        return passesCommand(name, options.plugin ?? [], io);
      }),
    );
}
