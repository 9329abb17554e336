#!/usr/bin/env node
import { runCli } from './run-cli.ts';

process.exitCode = await runCli(process.argv.slice(2));
// When all is written; a timer that a plugin forgot must not keep the process.
process.stdout.write('', () => process.exit());
