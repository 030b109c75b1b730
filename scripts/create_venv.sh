#!/bin/sh
# Makes the virtual environment .venv with Python 3.11 or 3.12, or says what is missing.
# Usage: scripts/create_venv.sh [directory]      PYTHON=... names the interpreter to take.
set -eu
venv=${1:-.venv}

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' >/dev/null 2>&1; }

# An environment that still runs, at the place it was made for, is kept.
if [ -x "$venv/bin/python" ] && fits "$venv/bin/python" &&
    [ "$("$venv/bin/python" -c 'import sys; print(sys.prefix)')" = "$(cd "$venv" && pwd)" ] &&
    "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi

python=
for candidate in ${PYTHON:-python3.11 python3.12 python3}; do
    if fits "$candidate"; then python=$candidate && break; fi
done
if [ -z "$python" ]; then
    echo "Understudy needs Python 3.11 or 3.12 (found: $(python3 --version 2>&1 || echo none))." >&2
    echo "On Debian 12: apt-get install python3 python3-venv. Another interpreter: make PYTHON=/path/to/python3.11" >&2
    exit 1
fi
if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "$python has no venv module. On Debian or Ubuntu: apt-get install python$version-venv" >&2
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then exit 1; fi
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "python$version-venv" >&2
fi
echo "Making $venv with $("$python" --version)" >&2
"$python" -m venv --clear "$venv"
