import type { Command } from '@commander-js/extra-typings';
import { texts } from '../arguments.ts';
import type { Runner } from '../command.ts';

/** `qc doctor`. */
export function defineDoctor(program: Command, run: Runner): void {
  program
    .command('doctor')
    .summary('check that this machine has what qc needs')
    .description('Check that this machine has what qc needs; exits 1 when something needed fails.')
    .option('--json', texts.json)
    .addHelpText('after', '\nExamples:\n  $ qc doctor\n  $ qc doctor --json | jq ".checks[] | select(.status != \\"ok\\")"')
    .action((options) =>
      run(options, async (io) => {
        const { doctorCommand } = await import('../run/doctor.ts');
        return doctorCommand(io);
      }),
    );
}
