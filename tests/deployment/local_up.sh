#!/usr/bin/env bash
# docs/clusters/local.yaml for real, on this one machine: ray up, a small search by ray submit, its folder fetched and
# reported, ray down.
#
#   sudo --preserve-env=PATH tests/deployment/local_up.sh
#
# Needs root, openssh-server, rsync, iproute2 and an environment with this package on the PATH. `ray up` and `ray down`
# stop every Ray process that they see, and a Ray head takes the machine's well-known places: so all of it happens in
# process, network and mount namespaces of its own, with its own SSH server, keys, token, home and /tmp/ray. Nothing
# listens outside, and nothing is left behind.
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)

if [ "${1:-}" != --inside ]; then
    [ "$(id -u)" = 0 ] || { echo "local_up.sh makes namespaces and runs an SSH server: start it as root" >&2; exit 2; }
    for tool in /usr/sbin/sshd ssh-keygen rsync ip unshare ray; do
        command -v "$tool" > /dev/null || { echo "local_up.sh needs $tool: install it first" >&2; exit 2; }
    done
    place=$(mktemp -d)
    trap 'rm -rf "$place"' EXIT
    unshare --pid --net --mount --fork --kill-child --mount-proc "$0" --inside "$place"
    exit
fi

place=$2
environment=$(dirname "$(dirname "$(command -v ray)")")
export HOME=$place/home
unset RAY_ADDRESS
mkdir -p "$HOME/.ray" /tmp/ray /run/sshd
mount -t tmpfs none /tmp/ray
ip link set lo up

# An SSH server for the loopback of this namespace. It gives every login the home made here.
ssh-keygen -q -t ed25519 -N "" -f "$place/host_key"
ssh-keygen -q -t ed25519 -N "" -f "$place/key"
cp "$place/key.pub" "$place/authorized_keys"
chmod 711 "$place"
cat > "$place/sshd_config" << END
ListenAddress 127.0.0.1
HostKey $place/host_key
AuthorizedKeysFile $place/authorized_keys
PasswordAuthentication no
PermitRootLogin prohibit-password
StrictModes no
PidFile none
SetEnv HOME=$HOME
END
/usr/sbin/sshd -D -f "$place/sshd_config" -E "$place/sshd.log" &

# The documented file with this machine's address and key. Nothing is installed: the environment at hand stands where
# setup_commands make one, and runs the copied repository.
ln -s "$environment" "$HOME/multinas-ray-venv"
echo "export PYTHONPATH=$HOME/multinas-ray OMP_NUM_THREADS=1 TERM=dumb" > "$HOME/.bashrc"
cluster=$place/cluster-local.yaml
"$environment/bin/python" - "$repository/docs/clusters/local.yaml" "$cluster" "$place/key" << 'END'
import sys

import yaml

source, target, key = sys.argv[1:]
config = yaml.safe_load(open(source))
config["provider"] |= {"head_ip": "127.0.0.1", "worker_ips": []}
config["auth"] = {"ssh_user": "root", "ssh_private_key": key}
config["max_workers"] = 0
for field in ("setup_commands", "head_setup_commands"):
    config[field] = [command for command in config[field] if "pip install" not in command]
yaml.safe_dump(config, open(target, "w"))
END

show() {
    echo
    echo "\$ $*" | sed "s|$place|.|g"
    "$@"
}

export RAY_AUTH_MODE=token RAY_UP_enable_autoscaler_v2=1 RAY_USAGE_STATS_ENABLED=0
style=(--log-style=pretty --log-color=false)
cd "$repository"
ray get-auth-token --generate > /dev/null
show ray up "${style[@]}" --yes --no-config-cache "$cluster"
show ray exec "${style[@]}" "$cluster" "ray status"

echo
echo "Without the token:"
if output=$(HOME=$place/nobody RAY_AUTH_MODE=disabled ray status --address 127.0.0.1:6379 2>&1); then
    echo "$output" >&2
    echo "local_up.sh: the cluster answers whoever asks" >&2
    exit 1
fi
tail -n 1 <<< "$output"

flags=(--storage "$HOME/runs" --warmup-rounds 20 --search-rounds 40)
show ray submit "${style[@]}" "$cluster" tests/support/tiny_search.py -- "${flags[@]}"
[ -e "$HOME/runs/tiny/finished.json" ] || { echo "local_up.sh: the search left no finished.json" >&2; exit 1; }
show ray rsync-down "${style[@]}" "$cluster" "$HOME/runs/tiny/" "$place/tiny/"
show multinas-ray verify "$place/tiny"
show multinas-ray report "$place/tiny"
[ -s "$place/tiny/report.html" ] || { echo "local_up.sh: there is no report" >&2; exit 1; }
show ray down "${style[@]}" --yes "$cluster"
sleep 2
if pgrep -x raylet > /dev/null || pgrep -x gcs_server > /dev/null; then
    echo "local_up.sh: ray down left processes behind" >&2
    exit 1
fi
echo
echo "Done: up, searched, fetched, reported, down."
