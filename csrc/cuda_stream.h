// The part of the CUDA driver API by which another library works beside XLA on the same device: streams, events and
// XLA's own context (the device's primary one). Streams and events are numbers here: Go takes a pointer that is no address
// for a broken one. Functions return 0, or a code (the driver's, or of status.h) with a message in *err (free it), and may
// be called from any thread.
#ifndef GORUN_CUDA_STREAM_H
#define GORUN_CUDA_STREAM_H
#include <stddef.h>
#include <stdint.h>

typedef struct gorun_cuda gorun_cuda;  // the driver, and one device's context

// gorun_cuda_open takes device number `device` as CUDA_VISIBLE_DEVICES counts.
int gorun_cuda_open(int device, gorun_cuda **out, char **err);

// gorun_cuda_enter makes the device the one that the calling thread works with.
int gorun_cuda_enter(const gorun_cuda *c, char **err);

// A stream of the highest priority that does not wait for the default stream.
int gorun_cuda_stream_create(const gorun_cuda *c, intptr_t *stream, char **err);
int gorun_cuda_stream_destroy(const gorun_cuda *c, intptr_t stream, char **err);

// An event keeps the time at which the device came to it.
int gorun_cuda_event_create(const gorun_cuda *c, intptr_t *event, char **err);
int gorun_cuda_event_destroy(const gorun_cuda *c, intptr_t event, char **err);
int gorun_cuda_event_record(const gorun_cuda *c, intptr_t event, intptr_t stream, char **err);
int gorun_cuda_event_done(const gorun_cuda *c, intptr_t event, int *done, char **err);

// gorun_cuda_event_elapsed is the time between two events that are done.
int gorun_cuda_event_elapsed(const gorun_cuda *c, intptr_t begin, intptr_t end, float *milliseconds, char **err);

// gorun_cuda_stream_wait makes what is queued on the stream from now on wait for the event.
int gorun_cuda_stream_wait(const gorun_cuda *c, intptr_t stream, intptr_t event, char **err);

// gorun_cuda_zero queues the clearing of n bytes.
int gorun_cuda_zero(const gorun_cuda *c, uintptr_t at, size_t n, intptr_t stream, char **err);
#endif
