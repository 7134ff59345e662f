#!/bin/bash
# Runs a command beside a Slurm of its own: cluster.sh COMMAND [ARGUMENT]...
#
# The controller, two nodes called n1 and n2, and munge run in namespaces of their own (processes, network, mounts,
# hostname), with their files in a temporary folder. They share no port, no process and no configuration with the
# machine, and end with the command, whatever happens to it. The command finds sinfo, sbatch and the like working, and
# GORUN_SLURM_CLUSTER set. It needs slurmctld, slurmd and munge installed (Debian: apt install slurmctld slurmd
# slurm-client munge), and to be root.
set -euo pipefail

if [ -z "${GORUN_SLURM_CLUSTER:-}" ]; then
    [ $# -gt 0 ] || { echo "usage: cluster.sh COMMAND [ARGUMENT]..." >&2; exit 2; }
    for program in slurmctld slurmd srun munged unshare ip; do
        command -v $program >/dev/null || { echo "cluster.sh: no $program: install slurmctld, slurmd, slurm-client, munge, util-linux and iproute2" >&2; exit 2; }
    done
    [ "$(id -u)" = 0 ] || { echo "cluster.sh: it makes namespaces and starts daemons: run it as root" >&2; exit 2; }
    dir=$(mktemp -d "${TMPDIR:-/tmp}/gorun-slurm.XXXXXX")
    trap 'rm -rf "$dir"' EXIT
    export GORUN_SLURM_CLUSTER=$dir SLURM_CONF=$dir/slurm.conf
    unshare --mount --net --uts --pid --fork --kill-child --mount-proc "${BASH_SOURCE[0]}" "$@" &
    trap 'kill -KILL $!' INT TERM # and with it everything in there
    wait $!
    exit
fi

dir=$GORUN_SLURM_CLUSTER
hostname n0
ip link set lo up
for last in 1 11 12; do
    ip address add 10.53.0.$last/32 dev lo # resolvers take a machine that has loopback addresses only for one without a network
done
printf '127.0.0.1 localhost\n10.53.0.1 n0\n10.53.0.11 n1\n10.53.0.12 n2\n' >"$dir/hosts"
mount --bind "$dir/hosts" /etc/hosts
mkdir "$dir/state" "$dir/spool.n1" "$dir/spool.n2" "$dir/munge"
chmod 755 "$dir"
head -c 128 /dev/urandom >"$dir/munge.key"
chmod 400 "$dir/munge.key"
cores=$(nproc)
cat >"$SLURM_CONF" <<CONF
ClusterName=gorun
SlurmctldHost=n0
SlurmUser=root
AuthInfo=socket=$dir/munge/socket
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool.%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.%n.log
SlurmctldPort=6817
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
MinJobAge=300
KillWait=10
OverTimeLimit=0
MpiDefault=none
MailProg=/bin/true
NodeName=n1 NodeAddr=10.53.0.11 NodeHostname=n0 Port=7011 CPUs=$cores
NodeName=n2 NodeAddr=10.53.0.12 NodeHostname=n0 Port=7012 CPUs=$cores
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=n[1-2] Default=YES PriorityTier=2 PreemptMode=OFF
PartitionName=low Nodes=n[1-2] PriorityTier=1 GraceTime=60
CONF

munged --foreground --force --key-file="$dir/munge.key" --socket="$dir/munge/socket" --pid-file="$dir/munge/pid" --seed-file="$dir/munge/seed" --log-file="$dir/munge/log" 2>/dev/null &
slurmctld -D 2>/dev/null &
slurmd -D -N n1 2>/dev/null &
slurmd -D -N n2 2>/dev/null &
idle() { timeout 5 sinfo --noheader --format=%D --states=idle 2>/dev/null || true; }
for ((i = 0; i < 300; i++)); do
    [ "$(idle)" = 2 ] && break
    sleep 0.2
done
[ "$(idle)" = 2 ] || { tail "$dir"/*.log >&2; echo "cluster.sh: the nodes did not become idle in a minute" >&2; exit 1; }
"$@"
