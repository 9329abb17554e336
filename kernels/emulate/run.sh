#!/bin/bash
# Runs a program of this machine on an emulated CPU with AVX512-VNNI:
#   kernels/emulate/run.sh PROGRAM [ARGUMENT...] [-- FILE...]
# Bochs boots a Linux that holds PROGRAM, the FILEs (folders too) and the libraries that all of them need, each at the path it has here.
# PROGRAM runs in this folder, with the variables of the environment that start with QC_; what it writes is printed, stderr in stdout, and
# its exit status is that of this script.
# One instruction takes one tick of the guest's clock and of rdtsc, whatever it is, so times there are counts of instructions.
# Environment:
#   BOCHS          another Bochs than that of the PATH. 2.7 of Debian 12 has the debugger in it and rounds ties wrong from float to half,
#                  of which tests fail. 3.0 does not, and takes a third of the time if built so:
#                  ./configure --with-nogui --enable-x86-64 --enable-cpu-level=6 --enable-avx --enable-evex --enable-amx --enable-memtype
#                    --enable-protection-keys --enable-cet --enable-uintr --enable-all-optimizations --enable-handlers-chaining
#                    --disable-large-ramfile --disable-plugins --disable-docbook CXXFLAGS=-O3
#   EMULATE_LIMIT  seconds until it is stopped, 3600 by default.
set -euo pipefail

fail() {
  echo "emulate: $*" >&2
  exit 1
}

[ $# -gt 0 ] || fail "use: run.sh PROGRAM [ARGUMENT...] [-- FILE...]"

bochs=${BOCHS:-bochs}
missing=()
for package in bochsbios vgabios libmagic1 $([ -n "${BOCHS:-}" ] || echo bochs bochs-term); do
  dpkg -s "$package" > /dev/null 2>&1 || missing+=("$package")
done
[ ${#missing[@]} = 0 ] || fail "packages are missing: apt-get install ${missing[*]}"
bochs=$(realpath -s "$(command -v "$bochs")")

here=$(dirname "$(realpath "$0")")
build=$(dirname "$here")/build-emulate
mkdir -p "$build"
# One run at a time: they share a folder, and each takes a core.
exec 9> "$build/lock"
flock 9

# What the guest and its image are made of, unpacked here and never installed.
system=$build/system
if [ ! -e "$system/complete" ]; then
  rm -rf "$system" "$build/packages"
  mkdir -p "$system" "$build/packages"
  kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ { print $2; exit }')
  [ -n "$kernel" ] || fail 'the package linux-image-cloud-amd64 is unknown: apt-get update'
  (cd "$build/packages" && apt-get -qq download "$kernel" busybox-static isolinux syslinux-common genisoimage 2> download.log) ||
    fail "packages could not be downloaded (apt-get update?): $(cat "$build/packages/download.log")"
  for package in "$build"/packages/*.deb; do dpkg-deb -x "$package" "$system"; done
  rm -r "$build/packages"
  touch "$system/complete"
fi

arguments=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  arguments+=("$1")
  shift
done
[ $# = 0 ] || shift

root=$build/root
rm -rf "$root"
mkdir -p "$root"/{bin,dev,emulate,proc,sys,tmp,"$PWD"}
cp "$system/bin/busybox" "$root/bin/busybox"
install -m 755 "$here/init" "$root/init"

# Copies a file or folder with the libraries that it needs.
add() {
  cp -rL --parents "$1" "$root"
  find -L "$1" -type f \( -perm /111 -o -name '*.so*' -o -name '*.node' \) -print0 | while IFS= read -r -d '' file; do
    { ldd "$file" 2> /dev/null || true; } | grep -oE '/[^ ]+' | grep -v ':$' | sort -u | while read -r library; do
      [ -e "$root/$library" ] || cp -L --parents "$library" "$root"
    done || true
  done
}
program=$(command -v "${arguments[0]}") || fail "there is no program ${arguments[0]}"
program=$(realpath -s "$program")
for file in "$program" "$@"; do
  [ -e "$file" ] || fail "there is no $file"
  add "$(realpath -s "$file")"
done
{
  printf 'cd %q\n' "$PWD"
  for variable in $(compgen -e QC_ || true); do printf 'export %s=%q\n' "$variable" "${!variable}"; done
  printf 'exec %q ' "$program"
  [ ${#arguments[@]} = 1 ] || printf '%q ' "${arguments[@]:1}"
} > "$root/emulate/command"

image=$build/image
rm -rf "$image"
mkdir -p "$image"
# Not compressed: reading more from the image takes the emulator less than unpacking.
(cd "$root" && find . | "$system/bin/busybox" cpio -o -H newc -R 0:0) > "$image/initrd" 2> "$build/cpio.log" ||
  fail "no initramfs: $(cat "$build/cpio.log")"
cp "$system"/boot/vmlinuz-* "$image/linux"
cp "$system/usr/lib/ISOLINUX/isolinux.bin" "$system/usr/lib/syslinux/modules/bios/ldlinux.c32" "$here/isolinux.cfg" "$image"
"$system/usr/bin/genisoimage" -quiet -o "$build/image.iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table "$image"

output=$build/output
status=$build/status
rm -f "$build"/{console,output,status,bochs.log}
cd "$build"
command=("$bochs" -q -f "$here/bochsrc" -log "$build/bochs.log")
if [[ $("$bochs" --help 2>&1) == *' -rc '* ]]; then
  # With its debugger, which has to be told to start; the display draws in a terminal, which script makes up.
  printf 'continue\nquit\n' > start
  command+=(-rc start 'display_library: term' 'sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy')
else
  command+=('display_library: nogui')
fi
TERM=vt100 timeout "${EMULATE_LIMIT:-3600}" script -qec "${command[*]@Q}" /dev/null > /dev/null 2>&1 < /dev/null 9>&- &
wait $! || true
[ ! -e "$output" ] || cat "$output"
code=$(cat "$status" 2> /dev/null || true)
[ -n "$code" ] || fail "the guest reported no exit status; see $build/console, and $build/bochs.log of the emulator itself"
exit "$code"
