# Sourced by tools/e2e.sh. Certificates, etcd, kube-apiserver, and kubeconfig files for those who ask.
# shellcheck shell=bash disable=SC2154 # its variables are set there

# authority NAME: a CA of its own.
authority() {
    openssl ecparam -name prime256v1 -genkey -noout -out "$pki/$1.key"
    openssl req -x509 -new -key "$pki/$1.key" -subj "/CN=$1" -days 2 -out "$pki/$1.crt" \
        -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign'
}

# certificate NAME AUTHORITY SUBJECT serverAuth|clientAuth [NAMES]
certificate() {
    local name=$1 authority=$2 subject=$3 usage=$4 names=${5:-}
    openssl ecparam -name prime256v1 -genkey -noout -out "$pki/$name.key"
    openssl req -new -key "$pki/$name.key" -subj "$subject" -out "$pki/$name.csr"
    {
        printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%s\n' "$usage"
        [ -z "$names" ] || printf 'subjectAltName=%s\n' "$names"
    } >"$pki/$name.ext"
    openssl x509 -req -in "$pki/$name.csr" -CA "$pki/$authority.crt" -CAkey "$pki/$authority.key" \
        -CAcreateserial -days 2 -extfile "$pki/$name.ext" -out "$pki/$name.crt" 2>/dev/null
}

make_certificates() {
    say "Making certificates"
    mkdir -p "$pki"
    authority ca
    authority front-proxy-ca
    certificate apiserver ca /CN=kube-apiserver serverAuth \
        'DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:10.96.0.1'
    certificate front-proxy-client front-proxy-ca /CN=front-proxy-client clientAuth
    certificate admin ca /O=system:masters/CN=e2e-admin clientAuth
    certificate kubelet-client "ca" "/O=system:nodes/CN=system:node:$node" clientAuth
    certificate kubelet ca "/O=system:nodes/CN=system:node:$node" serverAuth "DNS:$node,IP:127.0.0.1"
    certificate millrace ca /CN=millrace serverAuth 'DNS:millrace.kube-system.svc,DNS:localhost,IP:127.0.0.1'
    openssl ecparam -name prime256v1 -genkey -noout -out "$pki/service-accounts.key"
}

# kubeconfig FILE USER-FIELDS: for this API server.
kubeconfig() {
    cat >"$1" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: e2e, cluster: {server: "https://127.0.0.1:$api_port", certificate-authority: $pki/ca.crt}}]
users: [{name: user, user: {$2}}]
contexts: [{name: e2e, context: {cluster: e2e, user: user}}]
current-context: e2e
YAML
    chmod 600 "$1"
}

# admin ARGUMENTS...: kubectl with all rights.
admin() { kubectl --kubeconfig="$work/admin.conf" "$@"; }

start_etcd() {
    local peer
    take_port etcd_port
    take_port peer
    say "Starting etcd"
    start etcd etcd --data-dir "$work/etcd" --listen-client-urls "http://127.0.0.1:$etcd_port" \
        --advertise-client-urls "http://127.0.0.1:$etcd_port" --listen-peer-urls "http://127.0.0.1:$peer"
    wait_for 60 "etcd" curl -fsS "http://127.0.0.1:$etcd_port/health" && return
    why etcd
    die "etcd does not run"
}

start_apiserver() {
    [ -n "${api_port:-}" ] || take_port api_port
    kubeconfig "$work/admin.conf" "client-certificate: $pki/admin.crt, client-key: $pki/admin.key"
    kubeconfig "$work/kubelet.conf" "client-certificate: $pki/kubelet-client.crt, client-key: $pki/kubelet-client.key"
    say "Starting kube-apiserver $kubernetes_release"
    # Nobody outside reaches this one, so the address that it would announce is not looked for.
    start kube-apiserver kube-apiserver --etcd-servers="http://127.0.0.1:$etcd_port" \
        --bind-address=127.0.0.1 --secure-port="$api_port" --insecure-port=0 \
        --advertise-address=10.96.0.1 --endpoint-reconciler-type=none --service-cluster-ip-range=10.96.0.0/24 \
        --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
        --client-ca-file="$pki/ca.crt" --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
        --service-account-issuer=https://kubernetes.default.svc --api-audiences=https://kubernetes.default.svc \
        --service-account-key-file="$pki/service-accounts.key" \
        --service-account-signing-key-file="$pki/service-accounts.key" \
        --requestheader-client-ca-file="$pki/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client \
        --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
        --requestheader-extra-headers-prefix=X-Remote-Extra- \
        --proxy-client-cert-file="$pki/front-proxy-client.crt" --proxy-client-key-file="$pki/front-proxy-client.key"
    wait_for 120 "kube-apiserver" admin get --raw /readyz && return
    why kube-apiserver
    die "kube-apiserver does not run"
}

# As after an upgrade: the same address and data, and every watch broken off.
restart_apiserver() {
    stop_pid "$pid_kube_apiserver"
    start_apiserver
}

# token NAMESPACE ACCOUNT FILE: of a ServiceAccount, by TokenRequest.
token() {
    local request='{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{"expirationSeconds":3600}}'
    local answer
    answer=$(admin create --raw "/api/v1/namespaces/$1/serviceaccounts/$2/token" -f - <<<"$request") ||
        die "no token for the ServiceAccount $1/$2: $answer"
    [[ $answer =~ \"token\":\"([^\"]+)\" ]] || die "no token for the ServiceAccount $1/$2: $answer"
    (umask 077 && printf %s "${BASH_REMATCH[1]}" >"$3")
}

# account NAMESPACE NAME: a ServiceAccount with its kubeconfig in NAME.conf.
account() {
    admin create serviceaccount --namespace="$1" "$2" >/dev/null
    token "$1" "$2" "$work/$2.token"
    kubeconfig "$work/$2.conf" "tokenFile: $work/$2.token"
}

# Those who ask: the reader may read all metrics, the team those of its own namespace, nobody none.
make_accounts() {
    say "Making ServiceAccounts and their tokens"
    admin create namespace team-a >/dev/null
    account default reader
    account default nobody
    account team-a team
    admin apply -f tools/e2e/readers.yaml >/dev/null
}
