#!/usr/bin/env bash
# A real Blender, window and all, on a machine without a screen:
#
#   blender-window.sh setup                  unpack it (once; about 350 MB to fetch, 1.2 GB on disk)
#   blender-window.sh run BLENDER-ARGS...    Blender in a screen of its own
#
# Debian's Blender 4.3, X virtual framebuffer, software OpenGL and ImageMagick are unpacked, not installed, into one
# folder (BLENDER_3R_GUI, else in the user's cache) and run there in a mount namespace of their own, so nothing of the
# host changes and nothing stays mounted. The host's folders appear inside under their own names, except /usr and the
# like. Needs apt-get with a Debian source, dpkg-deb, flock, unshare, and root or unprivileged user namespaces.
# Leaves with status 77 where that cannot be had, and says why.
set -euo pipefail

TOP=${BLENDER_3R_GUI:-${XDG_CACHE_HOME:-$HOME/.cache}/blender_3r/gui}
ROOT=$TOP/root
APT=$TOP/apt
READY=$TOP/ready
VERSION=2   # of the set-up: another one starts over
SUITE=trixie
SIZE=${BLENDER_3R_WINDOW:-1280x900}
PACKAGES="base-files bash coreutils dash libc-bin procps util-linux sed grep findutils blender python3-numpy
  python3-requests xvfb imagemagick libegl1 libegl-mesa0 fonts-dejavu-core ca-certificates"

cannot() { echo "blender-window: $*" >&2; exit 77; }

mirror() {   # the Debian archive that the host's own apt uses
  local found
  found=$(apt-get indextargets --format '$(ORIGIN)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    awk -F'|' '$1=="Debian" && $2=="main" {print $3; exit}')
  if [ -z "$found" ]; then   # its lists were never fetched
    found=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.list 2>/dev/null |
      grep -oE '(https?|file|copy)[:+a-z]*/[^] ]*/debian/?( |$)' | head -n1 | tr -d ' ')
  fi
  [ -n "$found" ] || cannot "the host's apt has no Debian source"
  echo "$found"
}

setup() {
  if [ -f "$READY" ] && [ "$(cat "$READY")" = "$VERSION" ]; then return; fi
  local tool keys
  for tool in apt-get dpkg-deb flock unshare chroot; do
    command -v "$tool" >/dev/null || cannot "$tool is needed to unpack Blender"
  done
  keys=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -s "$keys" ] || cannot "$keys is missing (package debian-archive-keyring)"
  mkdir -p "$TOP"
  exec 9>"$TOP/lock"; flock 9
  if [ -f "$READY" ] && [ "$(cat "$READY")" = "$VERSION" ]; then exec 9>&-; return; fi
  rm -rf "$ROOT"
  mkdir -p "$ROOT" "$APT"/{lists/partial,archives/partial,etc,log}
  : >"$APT/status"
  printf 'deb [signed-by=%s] %s %s main\n' "$keys" "$(mirror)" "$SUITE" >"$APT/etc/sources.list"
  cat >"$APT/apt.conf" <<CONF
Dir::State "$APT"; Dir::State::lists "$APT/lists"; Dir::State::status "$APT/status";
Dir::Cache "$APT"; Dir::Cache::archives "$APT/archives"; Dir::Log "$APT/log";
Dir::Etc "$APT/etc"; Dir::Etc::SourceList "$APT/etc/sources.list"; Dir::Etc::SourceParts "-";
APT::Sandbox::User ""; APT::Install-Recommends "0"; Acquire::Languages "none";
APT::Architecture "$(dpkg --print-architecture)"; Acquire::Check-Valid-Until "false";
Binary::apt-get::APT::Keep-Downloaded-Packages "1";
#clear DPkg::Post-Invoke;
#clear APT::Update::Post-Invoke;
CONF
  echo "blender-window: fetching Blender into $TOP (once)" >&2
  APT_CONFIG=$APT/apt.conf apt-get -q update >"$APT/log/update" 2>&1 ||
    { tail -n 5 "$APT/log/update" >&2; cannot "the package lists cannot be fetched"; }
  # shellcheck disable=SC2086
  APT_CONFIG=$APT/apt.conf apt-get -q -y --download-only install $PACKAGES >"$APT/log/download" 2>&1 ||
    { tail -n 5 "$APT/log/download" >&2; cannot "the packages cannot be fetched"; }
  unpack
  rm -rf "$APT/archives" "$APT/lists" "$APT"/*.bin
  inside blender --version | head -n1 >&2 || cannot "the unpacked Blender does not start (user namespaces?)"
  echo "$VERSION" >"$READY"
  exec 9>&-
}

unpack() {
  local deb name version
  for deb in "$APT"/archives/base-files_*.deb; do dpkg-deb --fsys-tarfile "$deb" | tar -x --no-same-owner -C "$ROOT"; done
  for name in bin sbin lib lib64; do
    [ -L "$ROOT/$name" ] || { mkdir -p "$ROOT/usr/$name"; ln -s "usr/$name" "$ROOT/$name"; }
  done
  for deb in "$APT"/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x --no-same-owner --keep-directory-symlink -C "$ROOT" \
      --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*'
  done
  for deb in "$APT"/archives/blender-data_*.deb; do   # the language that is looked at
    dpkg-deb --fsys-tarfile "$deb" | tar -x --no-same-owner -C "$ROOT" --wildcards './usr/share/locale/languages' \
      './usr/share/locale/de/*'
  done
  # what the packages' own scripts would have done
  (cd "$ROOT" && printf '/%s\n' usr/lib/*/blas usr/lib/*/lapack) >"$ROOT/etc/ld.so.conf.d/00-alternatives.conf"
  [ -e "$ROOT/usr/bin/sh" ] || ln -s dash "$ROOT/usr/bin/sh"
  for version in im7.q16 im6.q16; do
    [ -e "$ROOT/usr/bin/import" ] || [ ! -e "$ROOT/usr/bin/import-$version" ] ||
      ln -s "import-$version" "$ROOT/usr/bin/import"
  done
  printf 'root:x:0:0:root:/root:/bin/bash\n' >"$ROOT/etc/passwd"
  printf 'root:x:0:\n' >"$ROOT/etc/group"
  mkdir -p "$ROOT"/{proc,dev,sys,tmp,run,root,home}
  printf '%032x\n' "$(date +%s)" >"$ROOT/etc/machine-id"
  inside ldconfig
}

inside() {   # a command in the unpacked system
  local namespace=(unshare --mount --propagation private)
  [ "$(id -u)" = 0 ] || namespace=(unshare --user --map-root-user --mount --propagation private)
  export BW_ROOT=$ROOT BW_CWD=$PWD
  ${REPLACE:-} "${namespace[@]}" bash -c '
    set -e
    for d in /*; do
      case $d in /usr|/bin|/sbin|/lib|/lib32|/lib64|/libx32|/etc|/var|/boot|/lost+found|/initrd*|/vmlinuz*) continue;; esac
      if [ -L "$d" ]; then [ -e "$BW_ROOT$d" ] || ln -s "$(readlink "$d")" "$BW_ROOT$d"; continue; fi
      if [ -d "$d" ]; then mkdir -p "$BW_ROOT$d"; mount --rbind "$d" "$BW_ROOT$d"; fi
    done
    export PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin
    exec chroot "$BW_ROOT" /bin/bash -c "cd \"\$BW_CWD\" 2>/dev/null || cd /; unset BW_ROOT BW_CWD; exec \"\$@\"" inside "$@"
  ' inside "$@"
}

# in there: a screen, the command, and an end to both whatever happens
SCREEN='
fifo=$(mktemp -u /tmp/blender-window.XXXXXX); mkfifo "$fifo"
Xvfb -displayfd 7 -screen 0 "$WINDOW_SIZE"x24 -nolisten tcp +extension GLX -noreset 7>"$fifo" >/dev/null 2>&1 & x=$!
number=; read -r -t 30 number <"$fifo" || true; rm -f "$fifo"
[ -n "$number" ] || { echo "blender-window: the virtual screen did not start" >&2; kill $x; exit 77; }
export DISPLAY=:$number
child=; trap "kill \$child $x 2>/dev/null" EXIT; trap "exit 143" TERM INT HUP
"$@" & child=$!
status=0; wait "$child" || status=$?
exit $status'

run() {
  setup
  unset WAYLAND_DISPLAY XAUTHORITY PYTHONPATH PYTHONHOME LD_LIBRARY_PATH LD_PRELOAD
  export LIBGL_ALWAYS_SOFTWARE=1 GALLIUM_DRIVER=llvmpipe LC_ALL=C.UTF-8 SDL_AUDIODRIVER=dummy
  export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp} WINDOW_SIZE=$SIZE
  REPLACE=exec   # the same process id, so that signals reach the one that cleans up
  inside bash -c "$SCREEN" screen blender -noaudio --window-geometry 0 0 "${SIZE%x*}" "${SIZE#*x}" "$@"
}

case ${1:-} in
  setup) setup;;
  run) shift; run "$@";;
  *) sed -n '2,/^set -euo/p' "$0" | grep '^#' | cut -c3-; exit 2;;
esac
