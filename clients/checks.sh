# What the shell clients share: named checks with a deadline, one line per check. To be sourced.
# A check is a function check_<name>; it fails when one of its commands does.
set -euo pipefail

: "${BROKERS:?host:port of the broker to test}"
kafka=$(dirname "${BASH_SOURCE[0]}")/../scripts/kafka
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A topic or group name that no other run has used: the broker may be an old one.
fresh() { echo "$1-$(head -c 4 /dev/urandom | od -An -tx1 | tr -d ' \n')"; }

# kafka_tool NAME ARGS..: one of Kafka's own tools, on the broker under test.
kafka_tool() {
  local name=$1
  shift
  "$kafka" tool "$name" --bootstrap-server "$BROKERS" "$@"
}

# equal WHAT FOUND WANTED
equal() {
  [[ $2 == "$3" ]] && return
  printf '%s:\n--- wanted\n%s\n--- found\n%s\n' "$1" "$3" "$2" >&2
  return 1
}

# contains WHAT FOUND WORD
contains() {
  [[ $2 == *"$3"* ]] && return
  printf '%s: %s is missing in\n%s\n' "$1" "$3" "$2" >&2
  return 1
}

# eventually WHAT COMMAND..: repeats the command until it succeeds.
eventually() {
  local what=$1 deadline=$((SECONDS + 30))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || { echo "never happened: $what" >&2; return 1; }
    sleep 0.1
  done
}

# run_checks CLIENT [NAME..]: every check of the file, or the named ones, in order.
run_checks() {
  local client=$1 failed=0 name began status
  shift
  for name in $(declare -F | sed -n 's/^declare -f check_//p'); do
    [[ $# -eq 0 || " $* " == *" $name "* ]] || continue
    began=$SECONDS
    # In a shell of its own, outside any condition: only so does `set -e` hold inside the function.
    set +e
    (set -e; "check_$name")
    status=$?
    set -e
    if ((status == 0)); then printf 'ok     '; else printf 'FAILED '; failed=1; fi
    printf '%s: %s (%s s)\n' "$client" "${name//_/ }" $((SECONDS - began))
  done
  return $failed
}
