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

// check compares a checkpoint with what the decoder needs: missing tensors, wrong shapes, dtypes that
// cannot be read, and tensors beyond them that the computation would silently leave out. shown gives the
// file's own spelling of a name.
func check(d *spec.Decoder, info func(string) (dtypes.DType, []int, bool), shown func(string) string, beyond []string) error {
	var missing, wrong []string
	for _, t := range d.Tensors() {
		dtype, shape, ok := info(t.Name)
		switch {
		case !ok:
			missing = append(missing, shown(t.Name))
		case !slices.Equal(shape, t.Shape):
			wrong = append(wrong, fmt.Sprintf("%s is %v, must be %v", shown(t.Name), shape, t.Shape))
		case !convertible(dtype):
			wrong = append(wrong, fmt.Sprintf("%s is stored as %s, must be F32, BF16 or F16", shown(t.Name), dtype))
		}
	}
	slices.Sort(beyond)
	return errors.Join(
		fault("missing", missing), fault("not as the config says", wrong),
		fault("not part of a "+d.Family+" model as the config describes it", beyond))
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
