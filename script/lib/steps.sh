# shellcheck shell=bash
# How script/server and script/test talk, run a step, and stop when they are asked to.

child=''       # the process to end when we are asked to stop; empty while it must be left to finish
helper=''      # another one to end then, that nobody waits for
asked=''       # set once somebody asked us to stop
interrupted='' # set by every signal, so that a wait that one cut short is taken up again
step_log=''
unstoppable='' # set during a step that is not cut short

say() { printf '%s\n' "$*" 2>/dev/null || true; } # whoever read us may be gone; that is no reason to fail

fail() {
    printf '%s\n' "$*" >&2 || true
    exit 1
}

on_signal() {
    asked=yes
    interrupted=yes
    local pid
    if [[ -n $unstoppable ]]; then
        say 'Stopping as soon as that is finished.'
    fi
    for pid in $child $helper; do
        kill -TERM "$pid" 2>/dev/null || true
    done
}

catch_signals() {
    trap on_signal INT TERM HUP
    trap 'rm -f "$step_log"' EXIT
}

# bash ends a `wait` as soon as a signal has come, whether or not the process has ended.
wait_for() {
    local status
    while true; do
        interrupted=''
        status=0
        wait "$1" || status=$?
        [[ -n $interrupted ]] || return "$status"
    done
}

# A step: one line on the terminal, and all that it said only when it failed. In the background and waited for,
# because bash runs no trap while a foreground command goes on: a SIGTERM that is meant for us would leave the
# command running without us.
run_step() { # what it does, command
    local what=$1 status=0
    shift
    say "$what ..."
    step_log=$(mktemp)
    "$@" >"$step_log" 2>&1 &
    child=$!
    wait_for "$child" || status=$?
    child=''
    end_step "$status"
}

# The same for a step that must not be cut short, such as the installation of a package: a signal waits for its end.
run_whole_step() { # what it does, command
    local what=$1 status=0
    shift
    say "$what ..."
    step_log=$(mktemp)
    (trap '' INT HUP && "$@") >"$step_log" 2>&1 &
    unstoppable=yes
    wait_for "$!" || status=$?
    unstoppable=''
    end_step "$status"
}

end_step() {
    stop_if_asked
    if (($1)); then
        tail -n 30 "$step_log" >&2 || true
    fi
    rm -f "$step_log"
    return "$1"
}

stop_if_asked() {
    if [[ -n $asked ]]; then
        fail 'Stopped before it was set up.'
    fi
}
