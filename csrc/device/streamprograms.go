package device

import (
	"fmt"
	"slices"
	"strings"

	"gorun/csrc"
)

// roomSource returns memory as it happens to be.
func roomSource(shapes []Shape) Source {
	types := make([]string, len(shapes))
	results := make([]string, len(shapes))
	for i, s := range shapes {
		types[i], results[i] = fmt.Sprintf("tensor<%s>", s), fmt.Sprintf("%%x#%d", i)
	}
	list := strings.Join(types, ", ")
	room := "%x"
	if len(shapes) == 1 {
		results[0] = room
	} else {
		room = fmt.Sprintf("%%x:%d", len(shapes))
	}
	return Source{Name: "room", Outputs: slices.Clone(shapes), Code: fmt.Appendf(nil, `module @room { func.func public @main() -> (%s) {
  %s = stablehlo.custom_call @%s() {api_version = 4 : i32, has_side_effect = true, backend_config = {}} : () -> (%s)
  return %s : %s } }`, list, room, csrc.RoomTarget, list, strings.Join(results, ", "), list)}
}

// publishSource joins the stream of that number and returns its arguments in their own memory.
func publishSource(number int32, shapes []Shape) Source {
	src := Source{Name: "publish", Inputs: slices.Clone(shapes), Outputs: slices.Clone(shapes)}
	args, results, types := []string{}, []string{}, []string{}
	for i, s := range shapes {
		args = append(args, fmt.Sprintf("%%x%d: tensor<%s> {tf.aliasing_output = %d : i32}", i, s, i))
		results, types = append(results, fmt.Sprintf("%%x%d", i)), append(types, fmt.Sprintf("tensor<%s>", s))
		src.Donated = append(src.Donated, i)
	}
	list := strings.Join(types, ", ")
	src.Code = fmt.Appendf(nil, `module @publish { func.func public @main(%s) -> (%s) {
  %%before = stablehlo.create_token : !stablehlo.token
  %%after = stablehlo.custom_call @%s(%%before) {api_version = 4 : i32, has_side_effect = true, backend_config = {stream = %d : i32}} : (!stablehlo.token) -> !stablehlo.token
  return %s : %s } }`, strings.Join(args, ", "), list, csrc.JoinTarget, number, strings.Join(results, ", "), list)
	return src
}

func shapesOf(buffers []*Buffer) []Shape {
	out := make([]Shape, len(buffers))
	for i, b := range buffers {
		out[i] = b.shape
	}
	return out
}
