package csrc

import "github.com/gomlx/compute/dtypes"

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

// registeredComm is a communicator for programs on the CPU or on a GPU.
type registeredComm struct {
	host   Communicator
	queued StreamCommunicator
}

var communicators = registry[registeredComm]{what: "communicator"}

// RegisterCommunicator gives a communicator the lowest free number. A process with several clients registers each
// client's own.
func RegisterCommunicator(c Communicator) int32 { return communicators.add(registeredComm{host: c}) }

// RegisterStreamCommunicator is RegisterCommunicator for programs on a GPU.
func RegisterStreamCommunicator(c StreamCommunicator) int32 {
	return communicators.add(registeredComm{queued: c})
}

// UnregisterCommunicator frees a number; programs that name it fail from then on.
func UnregisterCommunicator(number int32) { communicators.remove(number) }
