#!/bin/sh
# Makes sure that commands of Debian packages are there, for what the first argument names: installs them where
# that is allowed, else stops with the line to type.
#   require_packages.sh PURPOSE COMMAND-OR-FILE=PACKAGE...
set -u
purpose=$1
shift
missing() {
  for pair in "$@"; do
    what=${pair%%=*}
    [ -e "$what" ] || command -v "$what" >/dev/null || printf '%s ' "${pair#*=}"
  done
}
packages=$(missing "$@")
[ -z "$packages" ] && exit 0
if command -v apt-get >/dev/null; then
  if [ "$(id -u)" = 0 ]; then as_root=""; elif sudo -n true 2>/dev/null; then as_root="sudo"; else as_root="none"; fi
  if [ "$as_root" != none ]; then
    $as_root apt-get update -qq && $as_root apt-get install -y -qq $packages >/dev/null
    [ -z "$(missing "$@")" ] && exit 0
  fi
  echo "$purpose needs packages; type: sudo apt-get install $packages" >&2
else
  echo "$purpose needs what Debian packages as: $packages" >&2
fi
exit 1
