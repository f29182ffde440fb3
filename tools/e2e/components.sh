# Sourced by tools/e2e.sh. Fetches Debian's packages and builds kube-apiserver and kubelet from Debian's
# source package `kubernetes`, all of it under $e2e_cache, once. Installs nothing on the machine.
# shellcheck shell=bash disable=SC2154 # its variables are set there

kubernetes_release=v1.20.2
suite=bookworm
# What is run as it comes in Debian's packages: `package path-in-package`.
ready_made='etcd-server usr/bin/etcd
kubernetes-client usr/bin/kubectl
containerd usr/bin/containerd
containerd usr/bin/containerd-shim-runc-v2
containerd usr/bin/ctr
runc usr/sbin/runc
containernetworking-plugins usr/lib/cni/ptp
containernetworking-plugins usr/lib/cni/host-local
containernetworking-plugins usr/lib/cni/loopback'

# apt with lists and sources of its own: this machine's may name no sources of source packages, or
# another release's.
private_apt() {
    apt-get -q -o "Dir::Etc::sourcelist=$apt_dir/sources.list" -o Dir::Etc::sourceparts=- \
        -o "Dir::State::lists=$apt_dir/lists" -o "Dir::Cache::archives=$apt_dir/archives" \
        -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache=" -o APT::Sandbox::User=root \
        -o APT::Get::List-Cleanup=0 "$@"
}

# The address of the Debian mirror that this machine's own apt uses.
debian_mirror() {
    # shellcheck disable=SC2016  # apt's own variables
    apt-get indextargets --format '$(ORIGIN)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' |
        awk -F'|' '$1 == "Debian" && $2 == "main" && $3 !~ /security/ && !seen++ { print $3 }'
}

prepare_apt() {
    [ -z "${apt_ready:-}" ] || return 0
    local mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -n "$(debian_mirror)" ] || apt-get update -qq
    mirror=$(debian_mirror)
    [ -n "$mirror" ] || die "apt knows no Debian mirror; the components come from Debian 12 ($suite)"
    [ -e $keyring ] || keyring=
    say "Reading the package lists of Debian $suite"
    mkdir -p "$apt_dir/lists/partial" "$apt_dir/archives/partial"
    printf 'deb%s %s %s main\n' '' "${keyring:+[signed-by=$keyring] }$mirror" $suite \
        -src "${keyring:+[signed-by=$keyring] }$mirror" $suite >"$apt_dir/sources.list"
    private_apt update >"$apt_dir/update.log" 2>&1 || { cat "$apt_dir/update.log" >&2; die "the package lists could not be read"; }
    apt_ready=yes
}

# unpack FOLDER PACKAGE...: downloads packages and unpacks them, without installing them.
unpack() {
    local folder=$1 package
    shift
    prepare_apt
    for package; do
        (cd "$apt_dir/archives" && private_apt download "$package" >>"$apt_dir/download.log" 2>&1) ||
            { tail -n 3 "$apt_dir/download.log" >&2; return 1; }
        dpkg-deb -x "$apt_dir/archives/$package"_*.deb "$folder"
        rm -f "$apt_dir/archives/$package"_*.deb
    done
}

# fetch_ready_made: what needs no building. A package that can't be had is named; whether it is needed
# is the caller's matter.
fetch_ready_made() {
    local package path
    while read -r package path; do
        [ -x "$e2e_bin/${path##*/}" ] && continue
        say "Fetching ${path##*/} (Debian's package $package)"
        [ -d "$build_dir/$package" ] || unpack "$build_dir/$package" "$package" || { say "WARNING: $package could not be fetched"; continue; }
        cp "$build_dir/$package/$path" "$e2e_bin/"
    done <<<"$ready_made"
}

# The source tree, with generated API descriptions and without the reflect2 that panics with Go 1.19
# when it writes some lists as JSON.
prepare_sources() {
    local tree=$1 list
    [ ! -e "$tree/.prepared" ] || return 0
    say "Fetching Go 1.19 and the sources of Kubernetes $kubernetes_release (110 MB)"
    unpack "$build_dir/debian" golang-1.19-go golang-1.19-src golang-github-modern-go-reflect2-dev ||
        die "Go 1.19 could not be fetched"
    (cd "$apt_dir/archives" && private_apt source --download-only kubernetes >"$apt_dir/source.log" 2>&1) ||
        { tail -n 3 "$apt_dir/source.log" >&2; die "the sources of Kubernetes could not be fetched"; }
    mkdir -p "$tree"
    tar -xzf "$apt_dir"/archives/kubernetes_1.20*orig.tar.gz -C "$tree" --strip-components=1
    rm -f "$tree"/vendor/github.com/modern-go/reflect2/*.{go,s}
    cp "$build_dir"/debian/usr/share/gocode/src/github.com/modern-go/reflect2/*.{go,s} "$tree/vendor/github.com/modern-go/reflect2/"
    rm -f "$tree"/vendor/github.com/modern-go/reflect2/*_test.go

    say "Generating the API descriptions (a minute)"
    cd "$tree" || return
    go_build "$build_dir/openapi-gen" k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen
    list=$(grep -rl --include='*.go' '+k8s:openapi-gen=' pkg cmd plugin staging/src/k8s.io |
        grep -v -E '_test.go|/testdata/|zz_generated|/test/|sample-|code-generator/_|/generators/' |
        xargs -n1 dirname | sort -u |
        sed -E 's#^staging/src/#k8s.io/kubernetes/vendor/#; t; s#^#k8s.io/kubernetes/#' | paste -sd,)
    with_go "$build_dir/openapi-gen" -O zz_generated.openapi --logtostderr -i "$list" \
        -p k8s.io/kubernetes/pkg/generated/openapi -h hack/boilerplate/boilerplate.generatego.txt \
        -r "$build_dir/openapi-report.txt" >"$build_dir/openapi-gen.log" 2>&1 ||
        { tail -n 5 "$build_dir/openapi-gen.log" >&2; die "the API descriptions could not be generated"; }
    touch "$tree/.prepared"
}

with_go() {
    env GO111MODULE=off GOFLAGS='' GOROOT="$build_dir/debian/usr/lib/go-1.19" GOPATH="$build_dir/gopath" \
        GOCACHE="$build_dir/gocache" PATH="$build_dir/debian/usr/lib/go-1.19/bin:$PATH" nice -n 15 "$@"
}

# go_build OUTPUT PACKAGE
go_build() {
    local version=k8s.io/kubernetes/vendor/k8s.io/component-base/version
    with_go go build -p "${JOBS:-2}" -o "$1" -ldflags \
        "-s -w -X $version.gitVersion=$kubernetes_release -X $version.gitMajor=1 -X $version.gitMinor=20" "$2"
}

# Builds what is missing of kube-apiserver and kubelet; then the sources and Go's cache go.
build_kubernetes() {
    local name tree=$build_dir/gopath/src/k8s.io/kubernetes begin
    for name in kubelet kube-apiserver; do
        [ -x "$e2e_bin/$name" ] && continue
        [ "$(df --output=avail -k "$e2e_cache" | tail -n 1)" -gt 4000000 ] ||
            die "building $name takes up to 4 GB in $e2e_cache for a while, and there is less"
        (prepare_sources "$tree") || exit 1
        say "Building $name $kubernetes_release (once; the first takes 3 to 10 minutes on 2 cores, the second 1 or 2)"
        begin=$SECONDS
        (cd "$tree" && with_heartbeat "building $name" go_build "$build_dir/$name" "k8s.io/kubernetes/cmd/$name") >"$build_dir/$name.log" ||
            { tail -n 5 "$build_dir/$name.log" >&2; die "$name could not be built"; }
        mv "$build_dir/$name" "$e2e_bin/$name"
        say "Built $name in $((SECONDS - begin)) s"
    done
}

# Everything, once. Sources and Go's cache are removed as soon as both are built.
prepare_components() {
    apt_dir=$e2e_cache/build/apt build_dir=$e2e_cache/build
    mkdir -p "$e2e_bin" "$build_dir"
    fetch_ready_made
    build_kubernetes
    rm -rf "$build_dir"
}
