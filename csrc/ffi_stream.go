//go:build cgo

package csrc

/*
#include <stdlib.h>
#include "ffi_stream.h"
*/
import "C"

// Targets of the custom calls that tie XLA's queue to another.
const (
	RoomTarget = "gorun_room" // its results are memory whose contents mean nothing
	JoinTarget = "gorun_join" // calls the joiner of the number in its attribute "stream" (i32); takes and gives a token
)

var streamCalls = customCalls{calls: []customCall{
	{RoomTarget, C.gorun_ffi_room, C.gorun_ffi_room, 0},
	{JoinTarget, C.gorun_ffi_join_host, C.gorun_ffi_join_cuda, 0},
}}

// RegisterStreams makes RoomTarget and JoinTarget known to the plugin's programs on a platform, "cuda" or "cpu". Programs
// that have them can be compiled or loaded only afterwards.
func (p *Plugin) RegisterStreams(platform string) error { return streamCalls.register(p, platform) }

// Joiner is called where a program joins, with the stream that XLA runs the program on (0 on the CPU): what it queues
// there comes before all that follows. It must not wait for the device.
type Joiner func(Stream) error

var joiners = registry[Joiner]{what: "joiner"}

// RegisterJoiner gives a joiner the lowest free number.
func RegisterJoiner(j Joiner) int32 { return joiners.add(j) }

// UnregisterJoiner frees a number; programs that name it fail from then on.
func UnregisterJoiner(number int32) { joiners.remove(number) }

// gorunJoin calls a joiner. It returns 0, or a status code and, in message, why.
//
//export gorunJoin
func gorunJoin(number C.int32_t, stream C.intptr_t, message **C.char) C.int {
	j, err := joiners.get(int32(number))
	if err == nil {
		err = j(Stream(stream))
	}
	if err == nil {
		return 0
	}
	*message = C.CString(err.Error())
	return Aborted
}
