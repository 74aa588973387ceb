#!/usr/bin/env bash
# Runs the fuzz targets one after the other and prints what came of each. Fails if one crashed.
#
#   fuzz/run.sh --seconds 20 [TARGET...]
#   fuzz/run.sh --executions 10000000 [TARGET...]
set -euo pipefail
cd "$(dirname "$0")"

case "${1-} ${2-}" in
    "--seconds "[0-9]*) limit=-max_total_time=$2 ;;
    "--executions "[0-9]*) limit=-runs=$2 ;;
    *) sed -n '2,5s/^# \{0,1\}//p' run.sh >&2; exit 2 ;;
esac
shift 2
# Only sanitizers need a nightly compiler, and they look for faults that code without `unsafe`
# cannot have.
fuzz() { cargo fuzz "$1" --fuzz-dir . --sanitizer none --no-trace-compares "${@:2}"; }

if [ $# = 0 ]; then
    mapfile -t targets < <(cargo fuzz list --fuzz-dir .)
    set -- "${targets[@]}"
fi
fuzz build
log=$(mktemp)
trap 'rm -f "$log"' EXIT
crashes=0
row='| %-20s | %12s | %10s | %8s | %7s |\n'
printf "\n$row" target executions per\ second coverage crashes
printf "$row" --- --: --: --: --:
for target in "$@"; do
    mkdir -p "corpus/$target"
    options=("$limit" -print_final_stats=1 -timeout=20 -rss_limit_mb=1024)
    [ ! -f "dictionaries/$target.dict" ] || options+=("-dict=dictionaries/$target.dict")
    crashed=0
    fuzz run "$target" "corpus/$target" "seeds/$target" -- "${options[@]}" >"$log" 2>&1 || crashed=1
    stat() { sed -n "s/^stat::$1: *//p" "$log"; }
    coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d ' ' -f 2 || true)
    printf "$row" "$target" "$(stat number_of_executed_units)" "$(stat average_exec_per_sec)" "$coverage" "$crashed"
    if [ "$crashed" = 1 ]; then
        crashes=$((crashes + 1))
        tail -n 40 "$log"
        artifact=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        printf '\nagain: cargo fuzz run --fuzz-dir fuzz --sanitizer none --no-trace-compares %s %s\n\n' "$target" "${artifact/#.\//fuzz/}"
    fi
done
[ "$crashes" = 0 ]
