#include "cuda_stream.h"

#include <stdlib.h>
#include <string.h>

#include "cuda_device.h"
#include "status.h"

enum { CUDA_ERROR_NOT_READY = 600, STREAM_NON_BLOCKING = 1, EVENT_DEFAULT = 0 };

static int open_device(gorun_cuda *c, int device, char **err) {
  int handle, rc = gorun_cuda_start(&c->driver, err);
  if (!rc) rc = gorun_cuda_said(c, c->driver->device_get(&handle, device), "find the device", err);
  if (!rc) rc = gorun_cuda_said(c, c->driver->primary_retain(&c->context, handle), "enter the device's primary context", err);
  return rc;
}

int gorun_cuda_open(int device, gorun_cuda **out, char **err) {
  gorun_cuda *c = calloc(1, sizeof *c);
  if (!c) {
    *err = strdup("no memory");
    return STATUS_INTERNAL;
  }
  int rc = open_device(c, device, err);
  if (rc) {
    free(c);
    return rc;
  }
  *out = c;
  return 0;
}

int gorun_cuda_enter(const gorun_cuda *c, char **err) {
  return gorun_cuda_said(c, c->driver->context_set(c->context), "enter the device", err);
}

int gorun_cuda_stream_create(const gorun_cuda *c, intptr_t *stream, char **err) {
  int least, greatest, rc = gorun_cuda_enter(c, err);
  void *s = NULL;
  if (!rc) rc = gorun_cuda_said(c, c->driver->priority_range(&least, &greatest), "stream priorities", err);
  if (!rc) rc = gorun_cuda_said(c, c->driver->stream_create(&s, STREAM_NON_BLOCKING, greatest), "create a stream", err);
  *stream = (intptr_t)s;
  return rc;
}

int gorun_cuda_stream_destroy(const gorun_cuda *c, intptr_t stream, char **err) {
  int rc = gorun_cuda_enter(c, err);
  return rc ? rc : gorun_cuda_said(c, c->driver->stream_destroy((void *)stream), "destroy a stream", err);
}

int gorun_cuda_event_create(const gorun_cuda *c, intptr_t *event, char **err) {
  int rc = gorun_cuda_enter(c, err);
  void *e = NULL;
  if (!rc) rc = gorun_cuda_said(c, c->driver->event_create(&e, EVENT_DEFAULT), "create an event", err);
  *event = (intptr_t)e;
  return rc;
}

int gorun_cuda_event_destroy(const gorun_cuda *c, intptr_t event, char **err) {
  int rc = gorun_cuda_enter(c, err);
  return rc ? rc : gorun_cuda_said(c, c->driver->event_destroy((void *)event), "destroy an event", err);
}

int gorun_cuda_event_record(const gorun_cuda *c, intptr_t event, intptr_t stream, char **err) {
  int rc = gorun_cuda_enter(c, err);
  return rc ? rc : gorun_cuda_said(c, c->driver->event_record((void *)event, (void *)stream), "record an event", err);
}

int gorun_cuda_event_done(const gorun_cuda *c, intptr_t event, int *done, char **err) {
  int rc = gorun_cuda_enter(c, err);
  if (rc) return rc;
  rc = c->driver->event_query((void *)event);
  *done = !rc;
  return rc == CUDA_ERROR_NOT_READY ? 0 : gorun_cuda_said(c, rc, "work on the device", err);
}

int gorun_cuda_event_elapsed(const gorun_cuda *c, intptr_t begin, intptr_t end, float *milliseconds, char **err) {
  int rc = gorun_cuda_enter(c, err);
  return rc ? rc : gorun_cuda_said(c, c->driver->event_elapsed(milliseconds, (void *)begin, (void *)end), "time between events", err);
}

int gorun_cuda_stream_wait(const gorun_cuda *c, intptr_t stream, intptr_t event, char **err) {
  int rc = gorun_cuda_enter(c, err);
  return rc ? rc : gorun_cuda_said(c, c->driver->stream_wait((void *)stream, (void *)event, 0), "wait for an event", err);
}

int gorun_cuda_zero(const gorun_cuda *c, uintptr_t at, size_t n, intptr_t stream, char **err) {
  int rc = gorun_cuda_enter(c, err);
  return rc ? rc : gorun_cuda_said(c, c->driver->memset_async(at, 0, n, (void *)stream), "clear memory", err);
}
