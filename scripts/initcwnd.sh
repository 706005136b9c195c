#!/usr/bin/env bash
# Set TCP's initial congestion window on every route: how many segments leave before the first
# answer.
#
#   scripts/initcwnd.sh N         set it (the kernel's default is 10: 14 KB; 32 carries 46 KB)
#   scripts/initcwnd.sh show      what each route has
#   scripts/initcwnd.sh restore   put back what was there
#
# The same as `scripts/tune.sh apply --only route --initcwnd N --initrwnd N`.
set -euo pipefail

tune=$(dirname "${BASH_SOURCE[0]}")/tune.sh
case "${1:-}" in
'' | -h | --help) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" ;;
show) ip route show && ip -6 route show ;;
restore) exec "$tune" restore ;;
*) exec "$tune" apply --only route --initcwnd "$1" --initrwnd "$1" "${@:2}" ;;
esac
