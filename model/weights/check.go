package weights

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/spec"
)

// mostListed bounds how many faults of one kind an error names; the rest is counted.
const mostListed = 12

// inventory is what a checkpoint has, under Hugging Face names.
type inventory struct {
	names []string
	info  func(name string) (dtypes.DType, []int, bool)
	shown func(name string) string // how the file itself spells a name
}

// check compares a checkpoint with what the decoder needs: missing tensors, wrong shapes, dtypes that
// cannot be read, and tensors that the computation would silently leave out.
func check(d *spec.Decoder, have inventory) error {
	var missing, wrong, unused []string
	needed := make(map[string]bool)
	for _, t := range d.Tensors() {
		needed[t.Name] = true
		dtype, shape, ok := have.info(t.Name)
		switch {
		case !ok:
			missing = append(missing, have.shown(t.Name))
		case !slices.Equal(shape, t.Shape):
			wrong = append(wrong, fmt.Sprintf("%s is %v, must be %v", have.shown(t.Name), shape, t.Shape))
		case !convertible(dtype):
			wrong = append(wrong, fmt.Sprintf("%s is stored as %s, must be F32, BF16 or F16", have.shown(t.Name), dtype))
		}
	}
	for _, name := range have.names {
		if !needed[name] && !harmless(d, name) {
			unused = append(unused, have.shown(name))
		}
	}
	slices.Sort(unused)
	return errors.Join(
		fault("missing", missing), fault("not as the config says", wrong),
		fault("not part of a "+d.Family+" model as the config describes it", unused))
}

func fault(what string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	listed := strings.Join(names[:min(len(names), mostListed)], "\n  ")
	if more := len(names) - mostListed; more > 0 {
		listed += fmt.Sprintf("\n  and %d more", more)
	}
	return fmt.Errorf("%d tensors %s:\n  %s", len(names), what, listed)
}

// harmless says whether a tensor may be left unread: buffers that old versions of transformers saved, a
// copy of the tied head, and heads beside the language model (a reward model's, for one).
func harmless(d *spec.Decoder, name string) bool {
	switch {
	case strings.HasSuffix(name, "rotary_emb.inv_freq"),
		strings.HasSuffix(name, "self_attn.masked_bias"):
		return true
	case name == spec.HeadTensor:
		return d.TiedHead
	}
	return !strings.HasPrefix(name, "model.") && !strings.HasPrefix(name, "lm_head.")
}
