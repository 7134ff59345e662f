package metrics

import (
	"math"
	"strconv"
)

// Record is one optimizer step.
type Record struct {
	Step           int     // steps done, from 1
	Epoch          int     // pass over the data, from 0
	Loss           float64 // mean over the step's valid tokens, all ranks
	GradNorm       float64 // global norm before clipping
	LR             float64 // learning rate of this step
	NumLabelTokens int     // valid tokens of the step, all ranks
	TokS           float64 // tokens per second and device, padding included
	StepTimeS      float64 // seconds from the step before
	MFU            float64 // share of the device's peak FLOPs, 0 to 1; 0 = not known
	MemGiB         float64 // peak device memory in GiB; 0 = not known
}

// ValidationRecord is one pass over one validation set.
type ValidationRecord struct {
	Step           int     // steps done before it
	Epoch          int     // pass over the training data
	Set            string  // name of the set, as in the recipe
	ValLoss        float64 // mean over the set's valid tokens
	NumLabelTokens int     // valid tokens of the set
	TimeS          float64 // seconds it took
}

// SampleRecord is an answer of the model, before or after training, as samples.jsonl has it.
type SampleRecord struct {
	Step   int      `json:"step"`           // steps done before it
	When   string   `json:"when"`           // Before or After
	Prompt string   `json:"prompt"`         // the question, or the recipe's prompt
	Gold   []string `json:"gold,omitempty"` // right answers; none for a recipe's prompt
	Answer string   `json:"answer"`
}

// When an answer was given.
const (
	Before = "before"
	After  = "after"
)

// trainingLine is a Record as training.jsonl has it.
type trainingLine struct {
	Step           int    `json:"step"`
	Epoch          int    `json:"epoch"`
	Loss           number `json:"loss"`
	GradNorm       number `json:"grad_norm"`
	LR             number `json:"lr"`
	NumLabelTokens int    `json:"num_label_tokens"`
	TokS           number `json:"tok_s"`
	StepTimeS      number `json:"step_time_s"`
	MFU            number `json:"mfu,omitempty"`
	MemGiB         number `json:"mem_gib"`
}

// validationLine is a ValidationRecord as validation.jsonl has it.
type validationLine struct {
	Step           int    `json:"step"`
	Epoch          int    `json:"epoch"`
	Set            string `json:"set"`
	ValLoss        number `json:"val_loss"`
	NumLabelTokens int    `json:"num_label_tokens"`
	TimeS          number `json:"time_s"`
}

// number is a float that JSON can hold: what is not finite, as the loss of a diverged run, is null.
type number float64

// MarshalJSON writes the shortest text that reads back equal.
func (n number) MarshalJSON() ([]byte, error) {
	v := float64(n)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, v, 'g', -1, 64), nil
}
