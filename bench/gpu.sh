#!/bin/sh
# All GPU tests and benchmarks, from binaries alone: the machine needs an NVIDIA driver and an XLA plugin (gorun setup
# --cuda, or JAX with CUDA where python3 finds it), but neither Go nor the network.
#
#   bench/gpu.sh BINARIES OUTPUT [test] [sanitize] [bench] [ranks] [peers]
#
# BINARIES is what 'make gpu-binaries' fills: gorun, and the tests of packages with their testdata. OUTPUT gets one log
# for each test and measurement. Without a third argument tests and benchmarks run; ranks needs two GPUs (its tests also
# run on one); peers needs torch, transformers, PEFT, and their compilers 8 minutes.
set -u
bin=$(cd "$1" && pwd) || exit 2
mkdir -p "$2" && out=$(cd "$2" && pwd) || exit 2
shift 2
what=${*:-test bench}
failed=0

# run NAME SECONDS COMMAND...: one log each, a line of outcome
run() {
	name=$1 limit=$2
	shift 2
	begin=$(date +%s)
	timeout "$limit" "$@" >"$out/$name.log" 2>&1
	code=$?
	[ $code -eq 0 ] || failed=1
	echo "== $name: exit $code after $(($(date +%s) - begin)) s"
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || exit 2
for kind in $what; do
	case $kind in
	test)
		# Without autotuning: it takes seconds for each of hundreds of small programs and changes no result's meaning.
		export GORUN_TEST_DEVICE=cuda XLA_FLAGS=--xla_gpu_autotune_level=0
		# The tests of a process run one after the other: cuDNN, where it loads a plan, captures what is queued on the
		# client's stream meanwhile. Processes do not disturb each other, so every family of models has its own.
		for test in "$bin"/*.test; do
			package=$(basename "$test" .test)
			cd "$bin/src/$(echo "$package" | tr . /)" || exit 2
			case $package in
			model) patterns=$("$test" -test.list . | sed '/^TestGolden$/d; s/.*/^&$/'; ls testdata/golden | sed 's/.*/^TestGolden$\/families\/^&$/') ;;
			*) patterns=. ;;
			esac
			run "test.$package" 400 xargs -P 8 -d '\n' -I {} sh -c \
				'"$1" -test.v -test.parallel 1 -test.run "$2" >"$3.$(echo "$2" | tr -dc A-Za-z0-9_).log" 2>&1' \
				sh "$test" {} "$out/test.$package" <<-end
				$patterns
			end
			grep -hE '^ *--- FAIL|^ +.*_test\.go:[0-9]+: |^panic' "$out/test.$package".*.log | head -30
		done
		unset GORUN_TEST_DEVICE XLA_FLAGS
		;;
	sanitize)
		# gorun's kernels under compute-sanitizer: memory that is not theirs, threads that race for shared memory, barriers.
		# The launches are those of the kernels' tests, made again without XLA: in its process the tool itself crashes.
		cd "$bin/src/model/hlo" || exit 2
		mkdir -p "$out/kernels"
		GORUN_TEST_DEVICE=cuda XLA_FLAGS=--xla_gpu_autotune_level=0 run sanitize.dump 120 "$bin/model.hlo.test" -test.v -test.run Kernel -dump "$out/kernels"
		for tool in memcheck racecheck synccheck; do
			run "sanitize.$tool" 120 compute-sanitizer --tool "$tool" --error-exitcode 9 python3 "$bin/launch.py" "$out/kernels"
		done
		grep -hE '^=+ +(ERROR|RACECHECK|.*SUMMARY|Error|Invalid)|launches$' "$out"/sanitize.*.log
		;;
	bench)
		cd "$bin" || exit 2
		for work in "llama3-8b 2 4096" "llama3.2-1b 8 512" "qwen2.5-7b 2 4096"; do
			set -- $work
			run "bench.$1" 180 ./gorun --device cuda bench --base "mock:$1" --batch-size "$2" --seq-length "$3" --trace "$out/trace.$1.json"
			cat "$out/bench.$1.log"
		done
		for work in "llama3-8b 1" "llama3-8b 4" "llama3.2-1b 1"; do
			set -- $work
			run "generate.$1.$2" 120 ./gorun --device cuda bench generate --base "mock:$1" --rows "$2" --tokens 256
			cat "$out/generate.$1.$2.log"
		done
		# The same 28 documents of 64 to 512 tokens, padded and packed.
		documents="--base mock:llama3-8b --seq-length 512 --set dataset.min_length=64 --set dataset.num_samples=28"
		run documents.padded 120 ./gorun --device cuda bench $documents --batch-size 28
		run documents.packed 120 ./gorun --device cuda bench $documents --batch-size 2 --set packed_sequence.packed_sequence_size=4096
		cat "$out"/documents.*.log
		;;
	ranks)
		cd "$bin" || exit 2
		run doctor 60 ./gorun --device cuda doctor
		cat "$out/doctor.log"
		cd "$bin/src/rank" || exit 2
		# With every rank on a GPU of its own where there are as many, and once more with one GPU for all ranks.
		export GORUN_TEST_DEVICE=cuda XLA_FLAGS=--xla_gpu_autotune_level=0
		run test.ranks 300 "$bin/rank.test" -test.v -test.run 'TestGPU'
		CUDA_VISIBLE_DEVICES=0 run test.shared 300 "$bin/rank.test" -test.v -test.run 'TestGPU'
		unset GORUN_TEST_DEVICE XLA_FLAGS
		grep -E '^ +.*_test\.go:[0-9]+: |^ *--- |^panic' "$out/test.ranks.log" "$out/test.shared.log"
		cd "$bin" || exit 2
		run collectives 120 ./gorun --device cuda bench collectives --ranks 2 --max 1073741824 --rounds 20
		cat "$out/collectives.log"
		for work in "llama3-8b 2 4096" "llama3.2-1b 8 512"; do
			set -- $work
			run "one.$1" 180 ./gorun --device cuda bench --base "mock:$1" --batch-size "$2" --seq-length "$3"
			cat "$out/one.$1.log"
			for mesh in "" distributed.reshard_after_forward=false distributed.dp_replicate_size=2 distributed.tp_size=2; do
				run "ranks.$1.${mesh:-fsdp}" 180 ./gorun --device cuda bench --gpus 2 --base "mock:$1" --batch-size "$2" --seq-length "$3" ${mesh:+--set $mesh}
				cat "$out/ranks.$1.${mesh:-fsdp}.log"
			done
		done
		;;
	peers)
		cd "$bin" || exit 2
		run peft.8b 330 python3 peft_gpu.py 8b 2 4096 compile
		run peft.8b.blocks 150 python3 peft_gpu.py 8b 2 4096 blocks
		run peft.1b 180 python3 peft_gpu.py 1b 8 512 compile
		for dtypes in mixed bf16; do
			run "full.$dtypes" 180 python3 full_gpu.py 1b 8 512 $dtypes
		done
		run full.gorun 120 ./gorun --device cuda bench --base mock:llama3.2-1b --batch-size 8 --seq-length 512 --set peft.scheme=none
		if [ "$(nvidia-smi -L | wc -l)" -gt 1 ]; then
			for work in "8b 1 4096" "1b 8 512"; do
				run "fsdp2.${work%% *}" 240 python3 -m torch.distributed.run --standalone --nproc-per-node 2 fsdp2_gpu.py $work
			done
		fi
		grep -hsE '^(PEFT|FSDP2|full|[0-9]+ tok/s)' "$out"/peft.*.log "$out"/full.*.log "$out"/fsdp2.*.log
		;;
	*)
		echo "bench/gpu.sh: $kind: the words are test, sanitize, bench, ranks and peers" >&2
		exit 2
		;;
	esac
done
exit $failed
