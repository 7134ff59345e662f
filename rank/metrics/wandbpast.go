package metrics

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// wandbPast is how far a .wandb file goes that a run resumes.
type wandbPast struct {
	end       int64   // offset behind what is kept
	num, rows int     // records and rows of history up to there
	runtime   float64 // seconds at the last row
}

// readWandbPast finds the end of the last row up to step resume, or of the records that open the file.
func readWandbPast(r io.Reader, resume int) (wandbPast, error) {
	var past wandbPast
	rows, late := 0, false
	err := scanWandb(r, func(data []byte, behind int64) error {
		num, kind, content, err := splitRecord(data)
		if err != nil {
			return fmt.Errorf("the record before byte %d: %w", behind, err)
		}
		switch kind {
		case recordHeader:
			if !oursByHeader(content) {
				return errors.New("another program than gorun wrote it")
			}
			past.end, past.num = behind, num
		case recordRun, recordMetric:
			past.end, past.num = behind, num
		case recordHistory:
			step, runtime, err := historyPlace(content)
			rows++
			switch {
			case err != nil:
				return fmt.Errorf("the row before byte %d: %w", behind, err)
			case step > resume:
				late = true
			case late:
				return fmt.Errorf("step %d before byte %d comes after later ones", step, behind)
			default:
				past = wandbPast{behind, num, rows, runtime}
			}
		}
		return nil
	})
	if err == nil && past.num == 0 {
		err = errors.New("it has no records")
	}
	return past, err
}

// splitRecord gives a record's number, and the content that is its field kind.
func splitRecord(data []byte) (num int, kind fieldNumber, content []byte, err error) {
	err = eachField(data, func(field fieldNumber, v uint64, b []byte) {
		switch {
		case field == recordNum && b == nil:
			num = int(v)
		case b != nil && kind == 0:
			kind, content = field, b
		}
	})
	return num, kind, content, err
}

// oursByHeader tells whether a header names gorun as the file's producer.
func oursByHeader(header []byte) bool {
	producer := ""
	_ = eachField(header, func(field fieldNumber, _ uint64, info []byte) {
		if field != headerVersion {
			return
		}
		_ = eachField(info, func(field fieldNumber, _ uint64, b []byte) {
			if field == versionProducer {
				producer = string(b)
			}
		})
	})
	return strings.HasPrefix(producer, producerPrefix)
}

// historyPlace is a row's step and its seconds since the start.
func historyPlace(history []byte) (step int, runtime float64, err error) {
	stepText, runtimeText := "", ""
	err = eachField(history, func(field fieldNumber, _ uint64, item []byte) {
		if field != historyItem {
			return
		}
		key, value := "", ""
		_ = eachField(item, func(field fieldNumber, _ uint64, b []byte) {
			switch field {
			case itemNestedKey:
				key = string(b)
			case itemValueJSON:
				value = string(b)
			}
		})
		switch key {
		case stepKey:
			stepText = value
		case "_runtime":
			runtimeText = value
		}
	})
	if err != nil {
		return 0, 0, err
	}
	if step, err = strconv.Atoi(stepText); err != nil {
		return 0, 0, fmt.Errorf("its step is %q", stepText)
	}
	if runtime, err = strconv.ParseFloat(runtimeText, 64); err != nil || !(runtime >= 0 && runtime < 1e9) {
		return 0, 0, fmt.Errorf("its seconds are %q", runtimeText)
	}
	return step, runtime, nil
}
