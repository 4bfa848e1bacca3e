#!/bin/bash
# SPDX-License-Identifier: MIT
# Everything that a user of this tree needs: installs what is missing, builds, runs, tests. `./build.sh help` lists it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
BUILD=${BUILD:-build}
export BUILD

# Every Debian package that is needed, here only: what the build, the demo and the emulators need, and what only
# `./build.sh test` needs beside that.
PACKAGES=(
    clang lld llvm make gnu-efi             # the hypervisor itself
    python3 zstd xz-utils git               # scripts, the version in the image
    busybox-static                          # the demo's initramfs
    fdisk dosfstools mtools                 # tools/mkusb: table, file system and files of the stick
    e2fsprogs                               # the demo's disk
    qemu-system-x86 ovmf                    # AMD SVM, emulated
    bochs bochs-term bochsbios vgabios      # Intel VMX and AMD SVM, emulated
    console-setup-linux                     # the font of the screen console
)
TEST_PACKAGES=(
    libcmocka-dev libcapstone-dev zlib1g-dev # unit tests
    gdb                                     # make gdb, and its test
    libclang-rt-14-dev                      # sanitizers and fuzzers
    clang-format cppcheck shellcheck             # lint
    acpica-tools                            # tests look at our ACPI tables with other people's eyes
    lintian help2man lowdown gnupg man-db      # make deb, make release
    tmux fakeroot mmdebstrap                # terminals; mkguest, make two-debians
    sbsigntool openssl                      # Secure Boot
    chromium                                # draws the pictures of plinth-check --svg; about 400 MB
)

usage() {
    cat <<'END'
./build.sh [build]            install what is missing; build build/BOOTX64.EFI and the demo image build/plinth.img
./build.sh run [options]      ... and boot the demo in QEMU (AMD SVM); Ctrl-a x ends it
./build.sh run --vmx [...]    ... in Bochs on an Intel CPU (VMX)
./build.sh run --bochs-svm    ... in Bochs on an AMD CPU (SVM)
                              further options go to tools/run-qemu or tools/run-bochs (see their --help)
./build.sh test               every test there is; the last line is `N passed, N failed`. Installs what only the tests
                              need: a browser, lint tools, libraries (about 600 MB)
./build.sh clean              remove build/
./build.sh version            the version: VERSION and the commit
./build.sh help               this text

The variable BUILD names another folder than build/. `make help` lists the targets for developers.
END
}

missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || printf '%s\n' "$package"
    done
}

# Installs what is missing of its arguments, as root. Another user is told the one command.
install_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    if [ "${#missing[@]}" -eq 0 ]; then
        return
    fi
    if [ "$(id -u)" -ne 0 ]; then
        printf 'build.sh: Debian packages are missing. Run this and try again:\n\n' >&2
        printf '    sudo apt-get update && sudo apt-get install -y --no-install-recommends %s\n\n' "${missing[*]}" >&2
        exit 1
    fi
    printf 'build.sh: installing %s Debian packages: %s\n' "${#missing[@]}" "${missing[*]}"
    printf 'build.sh: this takes some minutes; what apt-get says is in %s\n' "$BUILD/logs/apt.log"
    export DEBIAN_FRONTEND=noninteractive
    mkdir -p "$BUILD/logs"
    # The lists may be old or not there at all (containers): only then are they fetched.
    if ! apt-get install -y -q --no-install-recommends "${missing[@]}" >"$BUILD/logs/apt.log" 2>&1; then
        if ! { apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"; } \
            >"$BUILD/logs/apt.log" 2>&1; then
            tail -n 15 "$BUILD/logs/apt.log" >&2
            printf 'build.sh: apt-get failed; the whole output is in %s\n' "$BUILD/logs/apt.log" >&2
            exit 1
        fi
    fi
}

jobs_count() {
    local count
    count=$(nproc)
    printf '%s\n' "$((count > 8 ? 8 : count))"
}

# How many files make will compile for these targets. That flags or the version have changed is not foreseen.
steps_of() {
    local stamp stamps=()
    for stamp in version image-flags native-flags; do
        stamps+=(-o "$BUILD/gen/$stamp")
    done
    make -n "${stamps[@]}" "$@" 2>/dev/null | grep -c "^printf '  " || true
}

compiled() {
    grep -c '^  [A-Z][A-Z] ' "$BUILD/logs/build.log" || true
}

# How far make is, until the process ends: on a terminal one line that counts, elsewhere nothing.
show_progress() {
    local process=$1 steps=$2
    while kill -0 "$process" 2>/dev/null; do
        if [ -t 1 ] && [ "$steps" -gt 0 ]; then
            printf '\rbuild.sh: %s of %s files are compiled' "$(compiled)" "$steps"
        fi
        sleep 0.2
    done
    if [ -t 1 ] && [ "$steps" -gt 0 ]; then
        printf '\r\033[K'
    fi
}

# The first errors of the log and what they say, without the compiler's command lines.
first_errors() {
    grep -E -A 3 -m 3 '(^|: )(fatal )?error: |undefined symbol|undefined reference|cannot open|No such file' \
        "$BUILD/logs/build.log" | grep -Ev '^(make|clang|  [A-Z][A-Z] )' || tail -n 20 "$BUILD/logs/build.log"
}

# The compiler's lines go to a log; a failed build shows the first errors in it.
build() {
    local steps process
    mkdir -p "$BUILD/logs"
    steps=$(steps_of "$@")
    [ "$steps" -eq 0 ] || printf 'build.sh: compiling %s files; what the compiler says is in %s\n' "$steps" "$BUILD/logs/build.log"
    : >"$BUILD/logs/build.log"
    make -j"$(jobs_count)" "$@" >"$BUILD/logs/build.log" 2>&1 &
    process=$!
    trap 'kill "$process" 2>/dev/null; exit 130' INT TERM # a shell's own jobs do not hear Ctrl-C
    show_progress "$process" "$steps"
    trap - INT TERM
    if ! wait "$process"; then
        first_errors >&2
        printf 'build.sh: the build failed; the whole output is in %s\n' "$BUILD/logs/build.log" >&2
        exit 1
    fi
    [ "$(compiled)" -ne 0 ] || printf 'build.sh: nothing was to do: everything is built\n'
    printf '%s: %s bytes\n' "$BUILD/BOOTX64.EFI" "$(stat -c %s "$BUILD/BOOTX64.EFI")"
    printf '%s: the demo, ready for tools/run-qemu, tools/run-bochs and dd\n' "$BUILD/plinth.img"
}

run() {
    local runner=(tools/run-qemu)
    case "${1:-}" in
    --vmx)
        shift
        runner=(tools/run-bochs --cpu corei7_skylake_x)
        ;;
    --bochs-svm)
        shift
        runner=(tools/run-bochs --cpu ryzen)
        ;;
    esac
    # The image comes before `--`, behind which extra options of QEMU follow.
    local own=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        own+=("$1")
        shift
    done
    exec "${runner[@]}" "${own[@]}" "$BUILD/plinth.img" "$@"
}

main() {
    local command=${1:-build}
    [ $# -eq 0 ] || shift
    case "$command" in
    build)
        install_packages "${PACKAGES[@]}"
        build all image
        ;;
    run)
        install_packages "${PACKAGES[@]}"
        build all image
        run "$@"
        ;;
    test)
        install_packages "${PACKAGES[@]}" "${TEST_PACKAGES[@]}"
        exec tests/run "$@"
        ;;
    clean) make clean ;;
    help | -h | --help) usage ;;
    version | --version) exec tools/version build.sh ;;
    *)
        printf 'build.sh: unknown command %s\n\n' "$command" >&2
        usage >&2
        exit 2
        ;;
    esac
}

main "$@"
