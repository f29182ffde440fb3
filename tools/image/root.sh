#!/bin/bash
# Lays out the image's root file system: root.sh PROGRAM RULES-FOLDER FOLDER
# The program with the libraries that it is linked to, the bundled rules, the system's authorities, a user. There
# is no shell and no package in it.
set -euo pipefail
program=$1 rules=$2 root=$3

install -D -m 755 "$program" "$root/usr/bin/millrace"
install -D -m 644 -t "$root/usr/share/millrace/rules" "$rules"/*.wasm
# Heapster's manifests name the program by this path.
ln -s usr/bin/millrace "$root/heapster"

# The loader stands in the program by its path; the others lie where that looks first.
ldd "$program" | sed -n 's/^[^/]*\(\/[^ ]*\) (.*/\1/p' | sort -u | while read -r library; do
    install -D -m 755 "$(readlink -f "$library")" "$root$library"
done

install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
printf 'millrace:x:1000:1000::/:/sbin/nologin\n' >"$root/etc/passwd"
printf 'millrace:x:1000:\n' >"$root/etc/group"
# Names are those of the pod's /etc/hosts, then DNS; without this file glibc asks DNS first.
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
# What Kubernetes mounts into a root file system that can't be written must be there.
mkdir -p "$root/etc/millrace/rules" "$root/proc" "$root/sys" "$root/dev" "$root/var/run/secrets" "$root/tmp"
chmod 1777 "$root/tmp"
