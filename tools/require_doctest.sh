#!/bin/sh
# Makes sure that doctest is there, for the C++ unit tests: installs it where that is allowed, else stops with
# the line to type.
set -u
found() { [ -e /usr/include/doctest/doctest.h ] || [ -e /usr/local/include/doctest/doctest.h ] || [ -n "${doctest_DIR:-}" ]; }
found && exit 0
if command -v apt-get >/dev/null; then
  if [ "$(id -u)" = 0 ]; then as_root=""; elif sudo -n true 2>/dev/null; then as_root="sudo"; else as_root="none"; fi
  if [ "$as_root" != none ]; then
    $as_root apt-get update -qq && $as_root apt-get install -y -qq doctest-dev >/dev/null
    found && exit 0
  fi
  echo "The C++ tests need doctest; type: sudo apt-get install doctest-dev" >&2
else
  echo "The C++ tests need doctest from the system's packages (Fedora: dnf install doctest-devel;" \
    "macOS: brew install doctest), or doctest_DIR naming the folder of its CMake files" >&2
fi
exit 1
