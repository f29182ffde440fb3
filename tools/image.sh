#!/bin/bash
# Builds the image of deploy/Dockerfile by buildah, without a registry and without a daemon, and tries it: the
# program starts from the image's root file system, which can't be written, as the image's user, against a
# simulated cluster. As root.
#   MILLRACE=PROGRAM  a built Millrace (else it is built as the Dockerfile does, by the profile `dist`)
#   OUTPUT=FILE       keep the image there, as `docker load` and `ctr images import` take it
set -euo pipefail
# shellcheck source=tools/env.sh
. "$(dirname "$0")/env.sh"

[ "$(id -u)" = 0 ] || die "buildah and the trial need root"
command -v buildah >/dev/null || die "there is no buildah; \`apt-get install --no-install-recommends buildah\` installs it"
for tool in unshare strip curl ldd; do
    command -v $tool >/dev/null || die "there is no $tool; apt-get install util-linux binutils curl libc-bin"
done

version=$(sed -n 's/^version *= *"\(.*\)"/\1/p' Cargo.toml | head -n 1)
image=localhost/millrace:$version
tools/rules.sh
program=${MILLRACE:-}
if [ -z "$program" ]; then
    say "Building the program with LTO (the first time: some 15 minutes on 2 cores)"
    cargo build --locked --profile dist --package millrace --bin millrace
    program=$CARGO_TARGET_DIR/dist/millrace
fi
kubesim=$CARGO_TARGET_DIR/release/kubesim
[ -x "$kubesim" ] || cargo build --release --workspace --bins

work=$(mktemp -d -t millrace-image.XXXXXX)
started=()
finish() {
    trap - EXIT
    for pid in "${started[@]}"; do
        if kill "$pid" 2>/dev/null; then wait "$pid" 2>/dev/null || true; fi
    done
    bud rm --all >/dev/null 2>&1 || true
    rm -rf "$work"
}
bud() { BUILDAH_ISOLATION=chroot buildah --storage-driver=vfs --root "$work/images" --runroot "$work/run" "$@"; }
trap finish EXIT
trap 'exit 130' INT TERM

say "Building $image"
strip --strip-all -o "$work/millrace" "$program"
tools/image/root.sh "$work/millrace" "$CARGO_TARGET_DIR/rules" "$work/stage/root-fs"
bud build --quiet --build-context "build=$work/stage" --file deploy/Dockerfile --tag "$image" . >/dev/null

container=$(bud from "$image")
root=$(bud mount "$container")
user=$(bud inspect --type image --format '{{.OCIv1.Config.User}}' "$image")
entry=$(bud inspect --type image --format '{{index .OCIv1.Config.Entrypoint 0}}' "$image")
size=$(du -sk "$root" | cut -f 1)
say "$((size / 1024)) MiB, of which the program has $(($(wc -c <"$root/usr/bin/millrace") / 1024 / 1024)); user $user, entry point $entry"
[ "$size" -le $((60 * 1024)) ] || die "the image has more than 60 MiB"
[ "$user" = 1000:1000 ] || die "the image's user is $user"

# in_image COMMAND...: with the image as its root, which can't be written, and the files that a kubelet mounts.
in_image() {
    exec unshare --mount -- bash -c '
        root=$1 user=$2 work=$3
        shift 3
        mount --bind "$root" "$root"
        for file in hosts resolv.conf; do
            touch "$root/etc/$file"
            mount --bind "$work/$file" "$root/etc/$file"
        done
        mount --bind "$work/config" "$root/etc/millrace"
        mount --bind /proc "$root/proc"
        mount -o remount,bind,ro "$root"
        exec env -i "$(command -v chroot)" --userspec="$user" --groups= "$root" "$@"' - "$root" "$user" "$work" "$@"
}

# wait_for SECONDS WHAT COMMAND...
wait_for() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= deadline)) || ! kill -0 "${started[-1]}" 2>/dev/null; then
            tail -n 20 "$work"/*.log >&2
            die "$what: not in time, or the program ended"
        fi
        sleep 0.2
    done
}

say "Starting it against a simulated cluster"
"$kubesim" --nodes 2 --pods 3 --resolution 1 --ready-file "$work/ready.json" >"$work/kubesim.log" 2>&1 &
started+=($!)
wait_for 30 "kubesim" test -s "$work/ready.json"
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p" "$work/ready.json"; }
api=$(field api_url)
# By a name, so that looking up names is tried, too.
api=http://kubesim.test:${api##*:}
printf '127.0.0.1 localhost kubesim.test\n' >"$work/hosts"
printf 'nameserver 127.0.0.1\n' >"$work/resolv.conf"
mkdir -p "$work/config/rules"
cat >"$work/config/millrace.toml" <<TOML
resolution = "1s"
[source.kubernetes]
api-server = "$api"
[source.kubernetes.kubelet]
https = false
[rules]
dir = "/etc/millrace/rules"
[http]
listen = "127.0.0.1:0"
[[sink]]
type = "log"
TOML
chmod -R a+rX "$work"
(in_image "$entry" run --config=/etc/millrace/millrace.toml --log-format=json) >"$work/points.log" 2>"$work/millrace.log" &
started+=($!)
millrace=$!
listening() { grep -o '"address":"127.0.0.1:[0-9]*"' "$work/millrace.log"; }
wait_for 60 "the program's port" listening
address=$(listening | head -n 1 | cut -d '"' -f 4)
wait_for 60 "/readyz" curl -fsS "http://$address/readyz"
[ "$(sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' "/proc/$millrace/status")" = 1000 ] || die "it runs as another user than 1000"
say "/readyz: $(curl -fsS "http://$address/readyz" | head -n 1), with the rules $(curl -fsS "http://$address/api/v1/rules" | grep -o '"name": *"[^"]*"' | cut -d '"' -f 4 | tr '\n' ' ')"
kill -TERM "$millrace"
wait "$millrace" || die "it ends with $? after SIGTERM"

say "Starting it as Heapster's manifests do"
(in_image /heapster "--source=kubernetes:$api?inClusterConfig=false&kubeletHttps=false&kubeletPort=$(field kubelet_port)" \
    --sink=log --listen=127.0.0.1:0 --metric-resolution=5s --cycles=1) >"$work/heapster-points.log" 2>"$work/heapster.log" ||
    { tail "$work/heapster.log" >&2; die "it does not run as Heapster"; }
grep -q 'cpu/usage' "$work/heapster-points.log" || die "it printed no points"

if [ -n "${OUTPUT:-}" ]; then
    bud push --quiet "$image" "docker-archive:$OUTPUT:millrace:$version"
    say "$OUTPUT: $(($(wc -c <"$OUTPUT") / 1024 / 1024)) MiB"
fi
say "The image is as it should be ($SECONDS s)"
