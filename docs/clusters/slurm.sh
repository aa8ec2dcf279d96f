#!/usr/bin/env bash
# A search on a cluster with Slurm: one Ray for the job, on all of its nodes.
#
#   sbatch docs/clusters/slurm.sh python experiments/imagenet.py --data /shared/imagenet --storage /shared/runs \
#       --num-workers 8 --use-gpu
#
# Set up once, on the login node, in a home that all nodes share:
#   python3 -m venv ~/multinas-ray-venv
#   ~/multinas-ray-venv/bin/pip install -c constraints.txt -e . "ray[default]"
#   ~/multinas-ray-venv/bin/ray get-auth-token --generate
#
# EDIT the lines below: nodes, GPUs and cores of each, and time.
#SBATCH --job-name=multinas-ray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=48
#SBATCH --time=24:00:00
# Five minutes before the end of the time this script gets SIGTERM, and the job comes again and goes on with --resume.
#SBATCH --signal=B:TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append

set -euo pipefail
export PATH="$HOME/multinas-ray-venv/bin:$PATH"
export RAY_AUTH_MODE=token RAY_TRAIN_ENABLE_STATE_TRACKING=1
export RAY_TMPDIR="/tmp/ray-$SLURM_JOB_ID" # Ray notes the address of its cluster there; a later job is not to find it

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export RAY_ADDRESS="$head:$((20000 + SLURM_JOB_ID % 10000))" # two jobs on a node need two ports
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$RAY_TMPDIR"' EXIT

# A node's Ray, until the job ends: the head on the first node, where this script runs, then the others.
srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --node-ip-address="$head" --port="${RAY_ADDRESS##*:}" --num-cpus="$SLURM_CPUS_PER_TASK" \
    --disable-usage-stats --block &
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    srun --overlap --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$head" \
        ray start --address="$RAY_ADDRESS" --num-cpus="$SLURM_CPUS_PER_TASK" --disable-usage-stats --block &
fi
until ray status >/dev/null 2>&1; do sleep 2; done

# The search. A job that was started again goes on; SIGTERM finishes the rounds in flight and saves.
resume=()
if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ]; then resume=(--resume); fi
"$@" "${resume[@]}" &
search=$!
stopped=false
trap 'stopped=true; kill -TERM "$search"' TERM
status=0
wait "$search" || status=$?
if "$stopped"; then # the signal ended the wait, not the search
    wait "$search" || status=$?
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
