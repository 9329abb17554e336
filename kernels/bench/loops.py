"""Cycles that a loop takes by LLVM's model of a CPU, if all that it reads is in the first cache.

    python3 kernels/bench/loops.py OBJECT FUNCTION CPU

FUNCTION is a part of the name that `objdump -C` prints, CPU one of `llvm-mca -mcpu=help`. Each loop of the function is taken as a straight
piece of code that repeats, loops within it once. Needs objdump, and llvm-mca or the one with the newest version in its name.
"""

import glob
import re
import subprocess
import sys

ITERATIONS = 100


def instructions(object_file: str, function: str) -> list[tuple[int, str]]:
    listing = subprocess.run(["objdump", "-d", "--no-show-raw-insn", "-C", object_file], capture_output=True, text=True, check=True).stdout
    body = re.search(rf"^[0-9a-f]+ <[^\n]*{re.escape(function)}[^\n]*>:\n(.*?)(?:\n\n|\Z)", listing, re.S | re.M)
    if not body:
        sys.exit(f"no function has {function} in its name")
    lines = re.findall(r"^\s*([0-9a-f]+):\s+(.*)$", body.group(1), re.M)
    return [(int(address, 16), re.sub(r"\s*<.*", "", text).strip()) for address, text in lines]


def loops(code: list[tuple[int, str]]) -> list[list[str]]:
    index = {address: i for i, (address, _) in enumerate(code)}
    found = []
    for end, (_, text) in enumerate(code):
        jump = re.fullmatch(r"j\w+\s+([0-9a-f]+)", text)
        start = index.get(int(jump.group(1), 16)) if jump else None
        if start is not None and start <= end:
            found.append([text for _, text in code[start : end + 1]])
    return found


def cycles(loop: list[str], cpu: str) -> float:
    mca = max(glob.glob("/usr/bin/llvm-mca*"), key=lambda path: int(re.sub(r"\D", "", path) or 0))
    straight = "\n".join(text for text in loop if not re.match(r"j|nop|data16", text))
    command = [mca, "-mtriple=x86_64", f"-mcpu={cpu}", f"-iterations={ITERATIONS}"]
    result = subprocess.run(command, input=straight, capture_output=True, text=True, check=True).stdout
    return int(re.search(r"Total Cycles:\s+(\d+)", result).group(1)) / ITERATIONS


def main(object_file: str, function: str, cpu: str) -> None:
    for loop in loops(instructions(object_file, function)):
        dots = sum("vpdpbusd" in text or "vpmaddubsw" in text for text in loop)
        print(f"{len(loop):5} instructions, {dots:4} products, {cycles(loop, cpu):7.1f} cycles")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
