#include "pjrt_profiler.h"

#include <stdlib.h>
#include <string.h>

#include "status.h"

enum { EXT_PROFILER = 1 };

// The functions of the extension, in order; they follow a size and a private pointer, and have errors of their own.
enum { ERROR_DESTROY, ERROR_MESSAGE, ERROR_CODE, CREATE, DESTROY, START, STOP, COLLECT, FUNCTIONS };

typedef struct {
  size_t size;
  void *priv;
  void *fn[FUNCTIONS];
} profiler_api;

typedef void *profiler_fn(void *args);

typedef struct {  // Start, Stop and Destroy take the first two
  size_t size;
  void *profiler;
  void *record;  // out
  size_t n;      // out
} args_profiler;

static const profiler_api *find(const gorun_api *api) {
  for (gorun_ext *e = api->ext; e; e = e->next) {
    if (e->type != EXT_PROFILER || e->size < sizeof(gorun_ext) + sizeof(void *)) continue;
    const profiler_api *p = *(const profiler_api **)((char *)e + sizeof(gorun_ext));
    if (p && p->size >= sizeof *p) return p;
  }
  return NULL;
}

// fail takes ownership of one of the extension's errors.
static int fail(const profiler_api *p, void *error, char **err) {
  struct {
    size_t size;
    void *priv, *error;
    const char *s;
    size_t n;
  } m = {.size = sizeof m, .error = error};
  ((void (*)(void *))p->fn[ERROR_MESSAGE])(&m);
  *err = strndup(m.s ? m.s : "", m.n);
  struct {
    size_t size;
    void *priv, *error;
    int code;
  } c = {.size = offsetof(typeof(c), code) + sizeof(int), .error = error, .code = STATUS_UNKNOWN};
  void *nested = ((profiler_fn *)p->fn[ERROR_CODE])(&c);
  struct {
    size_t size;
    void *priv, *error;
  } d = {.size = sizeof d, .error = error};
  ((void (*)(void *))p->fn[ERROR_DESTROY])(&d);
  if (nested) {
    d.error = nested;
    ((void (*)(void *))p->fn[ERROR_DESTROY])(&d);
  }
  return c.code ? c.code : STATUS_UNKNOWN;
}

static int call(const gorun_api *api, int function, void *args, char **err) {
  const profiler_api *p = find(api);
  if (!p) {
    *err = strdup("this plugin has no profiler");
    return STATUS_UNIMPLEMENTED;
  }
  void *error = ((profiler_fn *)p->fn[function])(args);
  return error ? fail(p, error, err) : 0;
}

// with calls a function of which the profiler is the only argument.
static int with(const gorun_api *api, int function, void *profiler, char **err) {
  args_profiler a = {.size = 2 * sizeof(void *), .profiler = profiler};
  return call(api, function, &a, err);
}

int gorun_profiler_start(const gorun_api *api, const char *options, size_t n, void **profiler, char **err) {
  struct {
    size_t size;
    const char *options;
    size_t n;
    void *profiler;  // out
  } a = {.size = sizeof a, .options = options, .n = n};
  int rc = call(api, CREATE, &a, err);
  if (rc) return rc;
  rc = with(api, START, a.profiler, err);
  char *ignored = NULL;
  if (!rc) {
    *profiler = a.profiler;
  } else if (with(api, DESTROY, a.profiler, &ignored)) {
    free(ignored);
  }
  return rc;
}

int gorun_profiler_stop(const gorun_api *api, void *profiler, const void **record, size_t *n, char **err) {
  int rc = with(api, STOP, profiler, err);
  if (rc) return rc;
  // Without memory of ours the plugin gives its own. It is asked once: XLA's GPU plugin leaves memory that it is given
  // as it is (seen with jax-cuda13-pjrt 0.11.2).
  args_profiler a = {.size = sizeof a, .profiler = profiler};
  rc = call(api, COLLECT, &a, err);
  *record = a.record;
  *n = a.record ? a.n : 0;
  return rc;
}

int gorun_profiler_destroy(const gorun_api *api, void *profiler, char **err) {
  return with(api, DESTROY, profiler, err);
}
