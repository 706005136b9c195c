#!/usr/bin/env bash
# Profile of the CPU time: perf with frame pointers, a flame graph, the top functions by crate,
# system calls and cycles a request.
#
#   scripts/profile.sh [OPTIONS] -- LOAD COMMAND        a fresh server: the arena application
#   scripts/profile.sh --pid PID -- LOAD COMMAND        a running one
#
#   --kind http|https|h2c|h3   what the fresh server listens for (default http)
#   --seconds N             how long to record (default 10); the load should last longer
#   --out DIR               default: target/profile
#   --cpu N                 pin the fresh server to this CPU (default 0); the load is left alone
#   --profile NAME          cargo profile of the fresh server (default release)
#
# PORT in the load command is the fresh server's. Without a load command: wrk with 64 connections,
# h2load with 64 x 100, or ringway-h3load with 64 x 64, on CPU 1. Needs perf (Debian: linux-perf) and rights to use it; inferno is installed with
# cargo into target/tools. Exits with 1 if any of ringway's frames has no name.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

kind=http seconds=10 out=$target/profile cpu=0 profile=release pid=
while [ $# -gt 0 ]; do
    case $1 in
    --kind) kind=$2 ;;
    --seconds) seconds=$2 ;;
    --out) out=$2 ;;
    --cpu) cpu=$2 ;;
    --profile) profile=$2 ;;
    --pid) pid=$2 ;;
    --) shift && break ;;
    -h | --help)
        sed -n '2,18s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
    *) die "unknown option $1; see --help" ;;
    esac
    shift 2 || die "$1 needs a value"
done
load=("$@")

toolchain
packages linux-perf util-linux python3
if [ ! -x "$target/tools/bin/inferno-flamegraph" ]; then
    say "installing inferno into $target/tools"
    cargo install -q --locked --root "$target/tools" --target-dir "$target/tools/build" inferno@0.12.8
    rm -rf "$target/tools/build"
fi
mkdir -p "$out"

started=()
stop() { [ ${#started[@]} -eq 0 ] || kill "${started[@]}" 2>/dev/null || true; }
trap stop EXIT

port=
if [ -z "$pid" ]; then
    packages "${build_packages[@]}"
    (cd "$root" && cargo build -q --profile "$profile" -p ringway-bench --bin arena)
    scheme=${kind/h3/https}
    taskset -c "$cpu" "$target/$profile/arena" "--$scheme" 127.0.0.1:0 --workers 1 >"$out/server.log" 2>&1 &
    pid=$!
    started+=("$pid")
    for _ in $(seq 100); do
        port=$(sed -n "s/^listening $scheme [^ ]*:\([0-9]*\).*/\1/p" "$out/server.log")
        [ -z "$port" ] || break
        sleep 0.1
    done
    [ -n "$port" ] || die "the server is not listening: $(cat "$out/server.log")"
fi
if [ ${#load[@]} -eq 0 ]; then
    [ -n "$port" ] || die "a load command is needed after --"
    packages wrk nghttp2-client
    more=$((seconds + 3))
    case $kind in
    http) load=(wrk -t1 -c64 -d${more}s "http://127.0.0.1:PORT/baseline11?a=13&b=42") ;;
    https) load=(h2load -t1 -c64 -m100 -D$more "https://127.0.0.1:PORT/baseline2?a=1&b=1") ;;
    h2c) load=(h2load -t1 -c64 -m100 -D$more "http://127.0.0.1:PORT/baseline2?a=1&b=1") ;;
    h3)
        (cd "$root" && cargo build -q --profile "$profile" -p ringway-bench --features h3 --bin ringway-h3load)
        load=("$target/$profile/ringway-h3load" -q --json -c 64 -m 64 -d $more "https://127.0.0.1:PORT/baseline2?a=1&b=1")
        ;;
    esac
    load=(taskset -c 1 "${load[@]}")
fi

say "load: ${load[*]//PORT/$port}"
"${load[@]//PORT/$port}" >"$out/load.log" 2>&1 &
loader=$!
started+=("$loader")
sleep 1
# The PMU if there is one, otherwise a timer's interrupts.
event=cycles
perf stat -e cycles -- true 2>&1 | grep -q 'not supported' && event=cpu-clock
perf record -q -e $event -F 997 --call-graph fp -p "$pid" -o "$out/perf.data" -- sleep "$seconds" &
recorder=$!
perf stat -x, -e raw_syscalls:sys_enter,task-clock,cycles -p "$pid" -o "$out/stat.csv" -- \
    sleep "$seconds" 2>/dev/null || say "the system calls could not be counted"
wait $recorder
timeout 5 strace -c -f -p "$pid" -o "$out/system-calls.txt" >/dev/null 2>&1 || true
wait $loader || true

perf script -i "$out/perf.data" 2>/dev/null >"$out/perf.script"
"$target/tools/bin/inferno-collapse-perf" --quiet --all "$out/perf.script" >"$out/folded"
"$target/tools/bin/inferno-flamegraph" --title "ringway: $kind, $event" "$out/folded" >"$out/flame.svg"
python3 "$root/bench/profile_report.py" "$out" "$seconds" "$event"
