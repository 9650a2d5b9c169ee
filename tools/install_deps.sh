#!/usr/bin/env bash
# Installs the Debian packages that culet needs and that are missing; does nothing where all are there.
#
#   tools/install_deps.sh build        to build and run culet
#   tools/install_deps.sh test         also what only the tests need
#   tools/install_deps.sh wheel        also what wheels of the Python package need
#   tools/install_deps.sh format       clang-format, in the version that tools/format.sh asks for
#   tools/install_deps.sh tidy         clang-tidy
#   tools/install_deps.sh clang        clang, to build with it
#   tools/install_deps.sh fuzz         clang with libFuzzer
#   tools/install_deps.sh qemu         also emulators and a cross compiler, for tools/qemu.sh
#   tools/install_deps.sh bench        also the micro-benchmarks' library
#   tools/install_deps.sh --print SET  prints the set's packages, one a line, and installs nothing
#
# The names hold on Debian 12 and on Ubuntu 24.04 (with its "universe"). Needs root or sudo, and only
# when something is missing.
set -euo pipefail

# ca-certificates: who the hub is, and for pip of Debian's Python too. libsimde-dev: AVX-512 and AMX on
# machines without (tests/ops/emulated).
build_packages=(g++ cmake ninja-build nlohmann-json3-dev libfmt-dev libspdlog-dev libcli11-dev
                libedit-dev libcurl4-openssl-dev libssl-dev ca-certificates
                libavformat-dev libavcodec-dev libswscale-dev libswresample-dev libavutil-dev
                libjpeg-dev libpng-dev libwebp-dev)
test_packages=("${build_packages[@]}" libgtest-dev libgmock-dev pkg-config python3
               python3-dev python3-venv xz-utils libsimde-dev)

print_only=no
if [[ ${1:-} == --print ]]; then
  print_only=yes
  shift
fi

case ${1:-} in
  build) packages=("${build_packages[@]}") ;;
  test) packages=("${test_packages[@]}") ;;
  wheel) packages=("${build_packages[@]}" python3 python3-dev python3-venv) ;;
  format) packages=(clang-format-14) ;;
  tidy) packages=("${test_packages[@]}" clang-tidy-14) ;;
  clang) packages=("${test_packages[@]}" clang-14) ;;
  fuzz) packages=("${build_packages[@]}" clang-14 libclang-rt-14-dev) ;;
  qemu) packages=("${test_packages[@]}" qemu-user g++-aarch64-linux-gnu) ;;
  bench) packages=("${build_packages[@]}" libbenchmark-dev) ;;
  *)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
    ;;
esac

if [[ $print_only == yes ]]; then
  printf '%s\n' "${packages[@]}"
  exit 0
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  # Not a Debian: go on if the tools are there, and let CMake name a missing library.
  missing=()
  for tool in cmake ninja make c++; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  if ((${#missing[@]})); then
    {
      echo "install_deps: this system has no apt, and these commands are missing: ${missing[*]}."
      echo "Install them and the development files of nlohmann-json, fmt, spdlog, CLI11, libedit, libcurl,"
      echo "OpenSSL, FFmpeg 5.1 or newer, libjpeg, libpng and libwebp (for the tests also GoogleTest, GoogleMock, Python 3.11 or newer with headers and venv,"
      echo "and xz), then"
      echo "run the same make target again. Debian 12 and Ubuntu 24.04 are installed by themselves."
    } >&2
    exit 1
  fi
  echo "install_deps: no apt here; going on with the cmake, ninja and c++ that are installed." >&2
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  [[ $status == "install ok installed" ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    {
      echo "install_deps: these packages are missing: ${missing[*]}"
      echo "Neither root nor sudo is at hand. Ask an administrator to run:"
      echo "  apt-get install --no-install-recommends ${missing[*]}"
    } >&2
    exit 1
  fi
  as_root=(sudo)
fi

echo "install_deps: installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y
     -o Dpkg::Use-Pty=0 -o Acquire::Retries=3)
# A list that cannot be fetched (a third party's, say) is no reason to stop: the packages that are
# needed come from the distribution, and the installation below says what it could not find.
"${apt[@]}" update >/dev/null || echo "install_deps: apt-get update failed in part; going on." >&2
if ! "${apt[@]}" install --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
  tail -n 30 "$log" >&2
  {
    echo "install_deps: apt-get could not install: ${missing[*]}"
    echo "On Ubuntu, enable \"universe\" (add-apt-repository universe). The names are those of"
    echo "Debian 12 and Ubuntu 24.04; elsewhere they may differ."
  } >&2
  exit 1
fi
