package metrics

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// Fields of W&B's Record and of what it can hold (wandb/proto/wandb_internal.proto).
const (
	recordNum       = 1
	recordHistory   = 2
	recordSummary   = 3
	recordMetric    = 12
	recordOutputRaw = 13
	recordRun       = 17
	recordExit      = 18
	recordHeader    = 21

	runID          = 1
	runEntity      = 2
	runProject     = 3
	runConfig      = 4
	runDisplayName = 8
	runHost        = 13
	runStartTime   = 17

	configUpdate = 1
	configKey    = 1

	historyItem   = 1
	historyStep   = 2
	summaryUpdate = 1
	itemNestedKey = 2  // of history and summary
	itemValueJSON = 16 // of config, history and summary
	stepNum       = 1

	metricName       = 1
	metricGlobName   = 2
	metricStepMetric = 4
	metricOptions    = 6
	optionsStepSync  = 1
	optionsDefined   = 3

	outputType      = 1
	outputStdout    = 1
	outputTimestamp = 2
	outputLine      = 3

	exitCode    = 1
	exitRuntime = 2

	headerVersion      = 1
	versionProducer    = 1
	versionMinConsumer = 2

	timestampSeconds = 1
	timestampNanos   = 2
)

// wandbMinConsumer is the oldest W&B client that may read the records; they have had this form since long before.
const wandbMinConsumer = "0.70.0"

// producerPrefix begins the producer of files that are ours.
const producerPrefix = "gorun "

// stepKey is the column of history that is the run's step. W&B's own _step counts rows: a validation is a row of its
// own after the step's, and W&B takes no two rows of one _step.
const stepKey = "step"

// timestamp is a google.protobuf.Timestamp.
func timestamp(t time.Time) message {
	var m message
	m.varint(timestampSeconds, uint64(t.Unix()))
	m.varint(timestampNanos, uint64(t.Nanosecond()))
	return m
}

// headerRecord says who wrote the file.
func headerRecord(version string) message {
	var info, header message
	info.str(versionProducer, producerPrefix+version)
	info.str(versionMinConsumer, wandbMinConsumer)
	header.bytes(headerVersion, info)
	return header
}

// runRecord describes the run; config is the recipe by sections.
func runRecord(o WandbOptions, id, host string, start time.Time, config map[string]any) (message, error) {
	var update message
	for _, key := range sortedKeys(config) {
		value, err := json.Marshal(config[key])
		if err != nil {
			return nil, fmt.Errorf("the recipe's %s as JSON: %w", key, err)
		}
		var item message
		item.str(configKey, key)
		item.bytes(itemValueJSON, value)
		update.bytes(configUpdate, item)
	}
	var run message
	run.str(runID, id)
	run.str(runEntity, o.Entity)
	run.str(runProject, o.Project)
	run.bytes(runConfig, update)
	run.str(runDisplayName, o.Name)
	run.str(runHost, host)
	run.bytes(runStartTime, timestamp(start))
	return run, nil
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// metricRecords make the step column the x axis of all charts.
func metricRecords() []message {
	var options, step, glob, synced message
	options.varint(optionsDefined, 1)
	step.str(metricName, stepKey)
	step.bytes(metricOptions, options)
	synced.varint(optionsStepSync, 1)
	synced.varint(optionsDefined, 1)
	glob.str(metricGlobName, "*")
	glob.str(metricStepMetric, stepKey)
	glob.bytes(metricOptions, synced)
	return []message{step, glob}
}

// items are the values of a history record or of a summary's update, field saying which.
func items(field fieldNumber, list []scalar) message {
	var m message
	for _, s := range list {
		var item message
		item.str(itemNestedKey, s.tag)
		item.str(itemValueJSON, jsonFloat(s.value))
		m.bytes(field, item)
	}
	return m
}

// historyRecord is a row of values.
func historyRecord(row int, list []scalar) message {
	m := items(historyItem, list)
	var step message
	step.varint(stepNum, uint64(row))
	m.bytes(historyStep, step)
	return m
}

// jsonFloat is a number as W&B reads it: JSON, but for NaN and the infinities, which are Python's.
func jsonFloat(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "Infinity"
	case math.IsInf(v, -1):
		return "-Infinity"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// outputRecord is a line that was printed.
func outputRecord(line string, at time.Time) message {
	var m message
	m.varint(outputType, outputStdout)
	m.bytes(outputTimestamp, timestamp(at))
	m.str(outputLine, line+"\n")
	return m
}

// exitRecord ends the run.
func exitRecord(code int, runtime time.Duration) message {
	var m message
	m.varint(exitCode, uint64(code))
	m.varint(exitRuntime, uint64(runtime/time.Second))
	return m
}
