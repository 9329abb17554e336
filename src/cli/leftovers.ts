import { lstatSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';

/** The file in a folder that names the process which made it. */
const ownerFile = 'owner';

/** Writes down that this process owns the folder, for `sweepLeftovers`. */
export const claim = (folder: string): void =>
  writeFileSync(join(folder, ownerFile), JSON.stringify({ ...place(), ...named(process.pid) }));

/** Removes the folders that processes of this user and machine have claimed and left when they were killed. It never throws. */
export function sweepLeftovers(parent: string, prefix: string): void {
  for (const name of attempt(() => readdirSync(parent)) ?? [])
    if (name.startsWith(prefix))
      attempt(() => {
        const folder = join(parent, name);
        if (isLeftOver(folder)) rmSync(folder, { recursive: true, force: true });
      });
}

/** A process by its number and, since numbers come again, the time of its start where the system tells it. */
interface Owner {
  readonly pid: number;
  readonly start: string | null;
}

/** Where a number means a process: folders of temporary files may be shared by machines and by containers. */
interface Place {
  readonly host: string;
  readonly namespace: string | null;
}

function isLeftOver(folder: string): boolean {
  const found = lstatSync(folder);
  if (!found.isDirectory() || found.uid !== (process.getuid?.() ?? found.uid)) return false;
  const { host, namespace, pid, start } = JSON.parse(readFileSync(join(folder, ownerFile), 'utf8')) as Owner & Place;
  const here = place();
  return host === here.host && namespace === here.namespace && !(isAlive(pid) && startOf(pid) === start);
}

const place = (): Place => ({ host: hostname(), namespace: attempt(() => readlinkSync('/proc/self/ns/pid')) });

const named = (pid: number): Owner => ({ pid, start: startOf(pid) });

/** In ticks since the system started: the 22nd field, where the second is a name in parentheses that may hold anything. */
const startOf = (pid: number): string | null =>
  attempt(() => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  });

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // It exists, and is somebody else's.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function attempt<T>(look: () => T): T | null {
  try {
    return look();
  } catch {
    return null;
  }
}
