import type { Command } from '@commander-js/extra-typings';
import { texts } from '../arguments.ts';
import type { Runner } from '../command.ts';

/** `qc explain`. */
export function defineExplain(program: Command, run: Runner): void {
  program
    .command('explain')
    .summary('explain a diagnostic code or a pass')
    .description("Explain a diagnostic code, or a pass ('pass NAME').")
    .argument('<subject...>', "a code such as QC2101, or 'pass' and a name")
    .option('--json', texts.json)
    .addHelpText('after', '\nExamples:\n  $ qc explain QC2101\n  $ qc explain pass os+')
    .action((subject, options) =>
      run(options, async (io) => {
        const { explainCommand } = await import('../run/explain.ts');
        return explainCommand(subject, io);
      }),
    );
}
