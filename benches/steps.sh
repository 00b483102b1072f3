# shellcheck shell=bash disable=SC2154
# What the programs beside this file measure with. They source it, and set $scratch, a folder on a tmpfs.
#
# Figures are "seconds MB cpu": seconds on the wall, the peak resident memory of the command's largest process, the CPU seconds of
# the command with all that it started. A MB is 10^6 bytes, of memory as of what is stored.

# timed COMMAND...: runs it and prints its figures instead of what it says. If it fails, its last words go to stderr.
timed() {
  local code=0
  /usr/bin/time -o "$scratch/time" -f '%e %M %U %S' "$@" >/dev/null 2>"$scratch/said" || code=$?
  [ $code = 0 ] || { tail -n 3 "$scratch/said" >&2; return $code; }
  awk '{ printf "%.2f %.0f %.2f\n", $1, $2 * 1024 / 1e6, $3 + $4 }' "$scratch/time"
}

# step NAME COMMAND...: runs it and notes its figures under NAME.
step() { timed "${@:2}" >>"$scratch/figures/$1"; }

# stored_mb FOLDER: the lengths of all files in it, whatever the file system needs for them.
stored_mb() { find "$1" -type f -printf '%s\n' | awk '{ bytes += $1 } END { printf "%.1f\n", bytes / 1e6 }'; }

# same SOURCE FOLDER: whether FOLDER holds what SOURCE does: of a folder names, contents, owners, modes, times and links.
same() {
  local differences
  if [ -d "$1" ]; then
    differences=$(rsync -aHn --checksum --delete --itemize-changes --modify-window=-1 "$1/" "$2/") && [ -z "$differences" ]
  else
    cmp "$1" "$2/$(basename "$1")"
  fi
}

# lay_over LATER PLACE: makes PLACE what LATER is and touches only what differs. Files that are made may share length and time and
# still differ, so neither is trusted.
lay_over() {
  if [ -d "$1" ]; then rsync -a --delete --checksum "$1/" "$2/"; else rsync --ignore-times --inplace --no-whole-file "$1" "$2"; fi
}
