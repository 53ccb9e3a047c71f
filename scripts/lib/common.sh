# Shared by scripts/demo, scripts/test and .ci/run; sourced, never run.
#
# tern_root is the checkout; say_name opens every line that say prints.

tern_root=$(dirname "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")")
say_name=tern
if [[ ! ${HOME:-} ]]; then # ccache wants one
  HOME=$(getent passwd "$EUID" | cut -d : -f 6)
  export HOME
fi
# A copy of the checkout (scripts/mutants) finds what was compiled here.
export CCACHE_BASEDIR=$tern_root CCACHE_NOHASHDIR=1

say() { printf '%s: %s\n' "$say_name" "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# Under sudo, what belongs to the checkout is made by its owner: nobody wants a build folder of
# root's in a home folder.
as_owner() { # COMMAND...
  if ((EUID == 0)) && [[ ${SUDO_USER:-} && $(stat -c %U "$tern_root") == "$SUDO_USER" ]]; then
    sudo -H -u "$SUDO_USER" -- "$@"
  else
    "$@"
  fi
}

# Quiet unless it fails; on a terminal, ninja's own single line of progress.
build_step() { # WHAT COMMAND...
  local what=$1 log status=0
  shift
  if [[ -t 1 ]]; then
    as_owner "$@" >&2 || die "$what failed; the reason is above."
    return
  fi
  log=$(mktemp)
  as_owner "$@" >"$log" 2>&1 </dev/null || status=$?
  if ((status != 0)); then tail -n 80 "$log" | sed 's/^/  /' >&2; fi
  rm -f "$log"
  if ((status != 0)); then die "$what failed; its last lines are above."; fi
}

# Configures and builds a preset in build/PRESET; without targets, everything.
build_preset() { # PRESET [TARGET...]
  local preset=$1 began=$SECONDS
  shift
  cd "$tern_root" || exit 1
  say "building ${*:-everything} (preset $preset); the first time takes some minutes"
  build_step "Configuring" cmake --preset "$preset"
  build_step "Building" cmake --build --preset "$preset" ${1:+--target "$@"}
  say "built in $((SECONDS - began)) s"
}
