"""Golden files of rank/metrics, written by the programs that read the real ones: tensorboard and wandb.

Writes rank/metrics/testdata:
  events.tfevents   an event file: version, a session's start, a step's and a validation's scalars
  run.wandb         the records of an offline run of two rows
  blocks.json       sizes of records and the SHA-256 of the .wandb file of them, which spans several blocks
The test of the package writes the same and compares the bytes.

    python tools/oracle/metrics.py                   write them
    python tools/oracle/metrics.py --check           compare with what is there, write nothing
    python tools/oracle/metrics.py --read RUN_DIR    print what tensorboard and wandb read of a run's folder
"""

import argparse
import glob
import hashlib
import io
import json
import pathlib
import sys
import tempfile

import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto import event_pb2
from tensorboard.summary.writer.record_writer import RecordWriter
from wandb.proto import wandb_internal_pb2 as pb

wandb._assert_is_internal_process = True  # else its DataStore refuses
from wandb.sdk.internal.datastore import DataStore  # noqa: E402

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "rank" / "metrics" / "testdata"
START = 1795582428  # seconds
STEP = [("train/loss", 1.5), ("train/grad_norm", 0.25), ("train/lr", 1e-05), ("perf/tok_s", 120.5), ("perf/step_time_s", 2.0), ("perf/mem_gib", 3.5)]
VALIDATION = [("val/default", float("nan"))]


def events():
    out = io.BytesIO()
    writer = RecordWriter(out)

    def event(**what):
        writer.write(event_pb2.Event(wall_time=START + 0.25, **what).SerializeToString())

    event(file_version="brain.Event:2")
    event(step=5, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))
    for step, scalars in ((5, STEP), (5, VALIDATION)):
        e = event_pb2.Event(wall_time=START + 0.25, step=step)
        for tag, value in scalars:
            e.summary.value.add(tag=tag, simple_value=value)
        writer.write(e.SerializeToString())
    return out.getvalue()


def store(records):
    """The bytes of a .wandb file of serialised records."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/run.wandb"
        ds = DataStore()
        ds.open_for_write(path)
        for r in records:
            ds._write_data(r)
        ds.close()
        return pathlib.Path(path).read_bytes()


def row(scalars, step, epoch, number):
    texts = {"NaN": "NaN", "1e-05": "1e-05"}
    more = [("step", step), ("epoch", epoch), ("_step", number), ("_timestamp", START + 0.25), ("_runtime", 0.25)]
    pairs = []
    for key, value in scalars + more:
        text = "NaN" if value != value else json.dumps(value)
        pairs.append((key, texts.get(text, text[:-2] if text.endswith(".0") else text)))
    # 'g' without exponent padding, as Go writes a float of this size
    pairs = [(k, "1.79558242825e+09" if k == "_timestamp" else v) for k, v in pairs]
    summary, history = pb.Record(), pb.Record()
    for key, value in pairs:
        summary.summary.update.add(nested_key=[key], value_json=value)
        history.history.item.add(nested_key=[key], value_json=value)
    history.history.step.num = number
    return [summary, history]


def run():
    header, described, step, glob_, output, exit_ = (pb.Record() for _ in range(6))
    header.header.version_info.producer = "gorun 1.2.3"
    header.header.version_info.min_consumer = "0.70.0"
    r = described.run
    r.run_id, r.entity, r.project, r.display_name, r.host = "abcdefgh", "team", "p", "first", "h"
    r.config.update.add(key="optimizer", value_json='{"lr":0.00001}')
    r.start_time.seconds, r.start_time.nanos = START, 0
    step.metric.name, step.metric.options.defined = "step", True
    glob_.metric.glob_name, glob_.metric.step_metric = "*", "step"
    glob_.metric.options.step_sync = glob_.metric.options.defined = True
    output.output_raw.output_type = pb.OutputRawRecord.STDOUT
    output.output_raw.timestamp.seconds, output.output_raw.timestamp.nanos = START, 250000000
    output.output_raw.line = "hello\n"
    exit_.exit.exit_code, exit_.exit.runtime = 1, 0
    records = [header, described, step, glob_, output, *row(STEP, 5, 1, 0), *row(VALIDATION, 5, 1, 1), exit_]
    for i, record in enumerate(records):
        record.num = i + 1
    return store([r.SerializeToString() for r in records])


def blocks():
    sizes = [1, 32768 - 7 - 8 - 7 - 3, 5, 100000, 0, 32761, 40]
    data = store([bytes((i * 31 + n) % 251 for n in range(size)) for i, size in enumerate(sizes)])
    return (json.dumps({"sizes": sizes, "sha256": hashlib.sha256(data).hexdigest()}) + "\n").encode()


def read(folder):
    accumulator = EventAccumulator(f"{folder}/tensorboard")
    accumulator.Reload()
    for tag in accumulator.Tags()["scalars"]:
        values = [(e.step, round(e.value, 4)) for e in accumulator.Scalars(tag)]
        print("tensorboard", tag, len(values), values[:2], values[-2:])
    for path in sorted(glob.glob(f"{folder}/wandb/offline-run-*/run-*.wandb")):
        ds = DataStore()
        ds.open_for_scan(path)
        while (data := ds.scan_data()) is not None:
            record = pb.Record()
            record.ParseFromString(data)
            kind = record.WhichOneof("record_type")
            items = {i.nested_key[0]: i.value_json for i in record.history.item}
            print("wandb", record.num, kind, items or str(getattr(record, kind))[:200].replace("\n", " "))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--read", metavar="RUN_DIR")
    args = parser.parse_args()
    if args.read:
        return read(args.read)
    for name, data in (("events.tfevents", events()), ("run.wandb", run()), ("blocks.json", blocks())):
        if not args.check:
            GOLDEN.mkdir(parents=True, exist_ok=True)
            (GOLDEN / name).write_bytes(data)
        elif (GOLDEN / name).read_bytes() != data:
            sys.exit(f"{GOLDEN / name} differs")


if __name__ == "__main__":
    main()
