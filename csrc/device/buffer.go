package device

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc"
)

// Buffer is an array on the device whose contents may still be in the making. Its owner frees it once, with Free or
// by donating it to an execution.
type Buffer struct {
	client *Client
	handle csrc.Buffer
	shape  Shape
	onHost bool    // in page-locked host memory
	lent   uintptr // not 0: the address of memory that is not XLA's; handle is not valid
	home   *Stream // takes the memory back; nil = XLA does
}

// Shape is the buffer's element type and dimensions.
func (b *Buffer) Shape() Shape { return b.shape }

// Upload copies a dense row-major host array to the device; data may be reused when it returns.
func (c *Client) Upload(data []byte, shape Shape) (*Buffer, error) {
	if len(data) != shape.Bytes() {
		return nil, fmt.Errorf("device: upload %s: have %d bytes, need %d", shape, len(data), shape.Bytes())
	}
	h, err := c.plugin.Upload(c.client, c.device, csrc.Memory{}, data, int(shape.DType), dims64(shape.Dims))
	if err != nil {
		return nil, fmt.Errorf("device: %s: %w", shape, explained(err, c))
	}
	return c.own(h, shape), nil
}

// Number is an element type that Go and the device share.
type Number interface {
	~float32 | ~int32 | ~uint32 | ~uint16 | ~uint8
}

// FromSlice uploads a slice of Float32 or Int32 (or bf16 bits given as uint16 with dtype BFloat16).
func FromSlice[T Number](c *Client, dtype dtypes.DType, data []T, dims ...int) (*Buffer, error) {
	return c.Upload(bytesOf(data), Shape{dtype, dims})
}

// Scalar uploads one float32.
func (c *Client) Scalar(v float32) (*Buffer, error) {
	return FromSlice(c, dtypes.Float32, []float32{v})
}

// Uninitialized makes a buffer with undefined contents, for somebody to write through Pointer or HostMemory before any
// program reads it.
func (c *Client) Uninitialized(shape Shape) (*Buffer, error) {
	h, err := c.plugin.Uninitialized(c.client, c.device, int(shape.DType), dims64(shape.Dims))
	if err != nil {
		return nil, fmt.Errorf("device: %s: %w", shape, explained(err, c))
	}
	return c.own(h, shape), nil
}

func (c *Client) own(h csrc.Buffer, shape Shape) *Buffer {
	c.created(int64(shape.Bytes()))
	return &Buffer{client: c, handle: h, shape: shape}
}

// Free gives the buffer back; the memory is reused once nothing queued needs it. Freeing nil or twice does nothing.
func (b *Buffer) Free() {
	if b == nil || b.alive("free") != nil {
		return
	}
	if b.lent != 0 {
		b.client.lent.Add(-b.deviceBytes())
		b.forget()
		return
	}
	if b.home != nil && b.home.back(b) {
		b.forget()
		return
	}
	if err := b.client.plugin.DestroyBuffer(b.handle); err != nil {
		panic(fmt.Sprintf("device: free %s: %v", b.shape, err)) // only a handle that is not ours can fail
	}
	b.forget()
}

func (b *Buffer) forget() {
	b.handle, b.lent = csrc.Buffer{}, 0
	b.client.freed(b.deviceBytes())
}

// FreeAll frees every buffer of the lists; nil entries are fine.
func FreeAll(lists ...[]*Buffer) {
	for _, l := range lists {
		for _, b := range l {
			b.Free()
		}
	}
}

// Pointer is the address of the buffer's memory on the device, valid while the buffer lives. The contents are there
// only after Await (or, for another stream on CUDA, after waiting on the buffer's stream).
func (b *Buffer) Pointer() (uintptr, error) {
	if err := b.alive("address of"); err != nil {
		return 0, err
	}
	if b.lent != 0 {
		return b.lent, nil
	}
	at, err := b.client.plugin.BufferPointer(b.handle)
	if err != nil {
		return 0, fmt.Errorf("device: %s: %w", b.shape, err)
	}
	return at, nil
}

// HostMemory waits for the contents and returns the buffer's memory itself, where the device's memory is the host's (on
// the CPU). It is valid while the buffer lives; only a buffer from Uninitialized, before any program reads it, may be
// written.
func (b *Buffer) HostMemory() ([]byte, error) {
	if b.client.platform != "cpu" {
		return nil, fmt.Errorf("device: %s: memory of %s is not the host's", b.shape, b.client.platform)
	}
	if err := b.Await(); err != nil {
		return nil, err
	}
	at, err := b.Pointer()
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&at))), b.shape.Bytes()), nil
}

// Client is the device that the buffer lies on.
func (b *Buffer) Client() *Client { return b.client }

// Await blocks until the contents are there and returns the error that making them met.
func (b *Buffer) Await() error {
	if err := b.alive("await of"); err != nil {
		return err
	}
	if b.lent != 0 {
		return nil
	}
	ev, err := b.client.plugin.BufferReady(b.handle)
	if err != nil {
		return fmt.Errorf("device: %s: %w", b.shape, err)
	}
	return b.client.finish(ev, "await "+b.shape.String())
}

// Download waits for the contents and copies them, dense and row-major, to dst.
func (b *Buffer) Download(dst []byte) error {
	if err := b.readable("download of"); err != nil {
		return err
	}
	if len(dst) != b.shape.Bytes() {
		return fmt.Errorf("device: download %s: have room for %d bytes, need %d", b.shape, len(dst), b.shape.Bytes())
	}
	var pin runtime.Pinner
	pin.Pin(unsafe.SliceData(dst))
	defer pin.Unpin()
	ev, err := b.client.plugin.Download(b.handle, dst)
	if err != nil {
		return fmt.Errorf("device: %s: %w", b.shape, err)
	}
	return b.client.finish(ev, "download "+b.shape.String())
}

// ToSlice downloads a buffer as a Go slice of the matching type.
func ToSlice[T Number](b *Buffer) ([]T, error) {
	out := make([]T, b.shape.Size())
	raw := bytesOf(out)
	if len(raw) != b.shape.Bytes() {
		return nil, fmt.Errorf("device: download %s as %T: element sizes differ", b.shape, out)
	}
	return out, b.Download(raw)
}

// ToScalar downloads a single float32.
func (b *Buffer) ToScalar() (float32, error) {
	v, err := ToSlice[float32](b)
	if err != nil {
		return 0, err
	}
	if len(v) != 1 {
		return 0, fmt.Errorf("device: %s is not one number", b.shape)
	}
	return v[0], nil
}

func (c *Client) finish(ev csrc.Event, what string) error {
	err := c.plugin.Await(ev)
	if derr := c.plugin.DestroyEvent(ev); err == nil {
		err = derr
	}
	if err != nil {
		return fmt.Errorf("device: %s: %w", what, explained(err, c))
	}
	return nil
}

func bytesOf[T Number](s []T) []byte {
	var zero T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(zero)))
}

func dims64(dims []int) []int64 {
	out := make([]int64, len(dims))
	for i, d := range dims {
		out[i] = int64(d)
	}
	return out
}
