# Sourced by tools/e2e.sh. Starting and stopping programs, waiting for conditions, and checks whose
# output is shown. Knows nothing of Kubernetes.
# shellcheck shell=bash disable=SC2154 # $work and $logs are set there

started=()      # process ids, in the order of their start
failures=()     # checks that did not hold
left_out=()     # parts that this machine can't run, with the reason

# start NAME COMMAND...: in the background, in a process group of its own (Ctrl-C reaches this script
# alone), with its output in $logs/NAME.log. Its process id is in $last_pid.
start() {
    local name=$1
    shift
    set -m
    "$@" >"$logs/$name.log" 2>&1 </dev/null &
    set +m
    last_pid=$!
    started+=("$last_pid")
    printf -v "pid_${name//-/_}" %s "$last_pid"
}

# Stops one program: asks, waits up to ten seconds, then insists.
stop_pid() {
    local pid=$1
    kill -TERM "$pid" 2>/dev/null || return 0
    for _ in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

# What was started last is stopped first.
stop_all() {
    local i
    for ((i = ${#started[@]} - 1; i >= 0; i--)); do stop_pid "${started[i]}"; done
    started=()
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds. False at the deadline, or at once when
# the program that was started last has ended.
wait_for() {
    local deadline=$((SECONDS + $1)) what=$2 begin=$SECONDS told=-1
    shift 2
    until "$@" >"$work/wait.out" 2>&1; do
        if ((SECONDS >= deadline)); then
            say "WARNING: $what: not within $((SECONDS - begin)) s"
            return 1
        fi
        if ! kill -0 "$last_pid" 2>/dev/null; then
            say "WARNING: $what: the program ended"
            return 1
        fi
        if ((SECONDS - begin >= 2 && SECONDS / 10 != told)); then
            if ((told < 0)); then say "Waiting for $what"; else say "  still waiting for $what ($((SECONDS - begin)) s)"; fi
            told=$((SECONDS / 10))
        fi
        sleep 0.3
    done
}

# with_heartbeat WHAT COMMAND...: says every half minute that it still goes on.
with_heartbeat() {
    local what=$1 begin=$SECONDS beat status=0
    shift
    (
        while sleep 30; do say "  still $what ($((SECONDS - begin)) s)"; done
    ) &
    beat=$!
    "$@" || status=$?
    kill "$beat" 2>/dev/null
    wait "$beat" 2>/dev/null || true
    return $status
}

# take_port VARIABLE: sets it to a port that nothing listens on, below the kernel's range for outgoing
# connections.
take_port() {
    local candidate
    while :; do
        candidate=$((20000 + RANDOM % 12000))
        [[ " $ports_given " != *" $candidate "* ]] || continue
        (exec 3<>"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null || break
    done
    ports_given+=" $candidate"
    printf -v "$1" %s "$candidate"
}
ports_given=

# The end of a program's log, for a message about why it does not run.
why() { tail -n "${2:-3}" "$logs/$1.log" 2>/dev/null | cut -c 1-400 | sed 's/^/    /' >&2; }

# leave_out PART REASON: goes on without it.
leave_out() {
    left_out+=("$1: $2")
    say "LEFT OUT: $1: $2"
}

# title TEXT: above the commands that belong together.
title() { printf '\n# %s\n' "$1"; }

# Shows the command as one would type it, and its output. The output is in $output, its status in $status.
show() {
    local shown=$*
    status=0
    output=$("$@" 2>&1) || status=$?
    shown=${shown//$work\//}
    [[ $1 != /* ]] || shown=${1##*/}${shown#"$1"}
    printf '$ %s\n%s\n' "$shown" "$output"
}

# expect PATTERN COMMAND...: shows it; it must succeed, and print what matches the extended regular
# expression. Tries again for up to a minute, silently: numbers need a cycle or two.
expect() { judge 0 60 "$@"; }
# refused PATTERN COMMAND...: it must fail, and say what matches.
refused() { judge 1 60 "$@"; }

judge() {
    local wanted=$1 deadline=$((SECONDS + $2)) pattern=$3
    shift 3
    while :; do
        status=0
        output=$("$@" 2>&1) || status=1
        [ "$status" = "$wanted" ] && grep -Eq -- "$pattern" <<<"$output" && break
        ((SECONDS < deadline)) || break
        sleep 1
    done
    show "$@"
    if [ "$((status != 0))" != "$wanted" ] || ! grep -Eq -- "$pattern" <<<"$output"; then
        failures+=("$(printf '%s' "${*//$work\//}"): expected $([ "$wanted" = 0 ] && echo success || echo a refusal) and /$pattern/")
        say "FAILED: ${failures[-1]}"
    fi
}
