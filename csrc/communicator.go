package csrc

import (
	"fmt"
	"sync"

	"github.com/gomlx/compute/dtypes"
)

// Communicator is what the collectives of programs on the CPU run on: this process's end of a set that talks, each
// member of which runs the same collectives in the same order. The memory is dense and the calls return when it has been
// written; parts of it are equal, in the order of members. dst and src do not overlap. what names the data in errors.
//
// A call blocks a thread of XLA's until all members have come: an implementation must end its calls with an error once a
// member is gone, late, or the communicator was cancelled.
type Communicator interface {
	// AllReduceMemory writes the sum of all members' src to dst.
	AllReduceMemory(what string, dst, src []byte, t dtypes.DType) error
	// AllGatherMemory fills dst with every member's src.
	AllGatherMemory(what string, dst, src []byte) error
	// ReduceScatterMemory writes this member's part of the sum of all members' src to dst.
	ReduceScatterMemory(what string, dst, src []byte, t dtypes.DType) error
}

// StreamCommunicator is the same for programs on a GPU. The memory is the device's; a call queues its collective on XLA's
// stream, behind what makes src and before what reads dst, and returns at once. count is of elements: of one part for an
// all-gather and a reduce-scatter, else of the whole. An implementation must end what it has queued once a member is gone,
// late, or the communicator was cancelled.
type StreamCommunicator interface {
	// QueueAllReduce writes the sum of all members' src to dst.
	QueueAllReduce(what string, dst, src uintptr, count int, t dtypes.DType, s Stream) error
	// QueueAllGather fills dst with every member's src.
	QueueAllGather(what string, dst, src uintptr, count int, t dtypes.DType, s Stream) error
	// QueueReduceScatter writes this member's part of the sum of all members' src to dst.
	QueueReduceScatter(what string, dst, src uintptr, count int, t dtypes.DType, s Stream) error
}

// registry keeps communicators by number. Programs name them so: a number is data of a program's text, so it is the same
// in every process of a run, and executables in the cache stay good from run to run.
type registry struct {
	mu   sync.Mutex
	list []registeredComm
}

// registeredComm is a communicator for programs on the CPU or on a GPU; neither = the number is free.
type registeredComm struct {
	host   Communicator
	queued StreamCommunicator
}

func (r registeredComm) free() bool { return r.host == nil && r.queued == nil }

var communicators registry

// RegisterCommunicator gives a communicator the lowest free number. A process with several clients registers each
// client's own.
func RegisterCommunicator(c Communicator) int32 { return communicators.add(registeredComm{host: c}) }

// RegisterStreamCommunicator is RegisterCommunicator for programs on a GPU.
func RegisterStreamCommunicator(c StreamCommunicator) int32 {
	return communicators.add(registeredComm{queued: c})
}

func (r *registry) add(c registeredComm) int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, old := range r.list {
		if old.free() {
			r.list[i] = c
			return int32(i)
		}
	}
	r.list = append(r.list, c)
	return int32(len(r.list) - 1)
}

// UnregisterCommunicator frees a number; programs that name it fail from then on.
func UnregisterCommunicator(number int32) {
	r := &communicators
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list[number] = registeredComm{}
}

func (r *registry) get(number int32) (registeredComm, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if number < 0 || int(number) >= len(r.list) || r.list[number].free() {
		return registeredComm{}, fmt.Errorf("a program names communicator %d, which this process does not have", number)
	}
	return r.list[number], nil
}
