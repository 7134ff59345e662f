// PJRT's Profiler extension: what a device and its driver do while a profiler is started. Functions return as pjrt.h's.
#ifndef GORUN_PJRT_PROFILER_H
#define GORUN_PJRT_PROFILER_H
#include "pjrt.h"

// gorun_profiler_start makes a profiler by the bytes of a ProfileOptions message and starts it.
int gorun_profiler_start(const gorun_api *api, const char *options, size_t n, void **profiler, char **err);

// gorun_profiler_stop ends what is recorded. The record, an XSpace message, is the plugin's until the profiler is destroyed;
// a byte of zero may follow it.
int gorun_profiler_stop(const gorun_api *api, void *profiler, const void **record, size_t *n, char **err);

int gorun_profiler_destroy(const gorun_api *api, void *profiler, char **err);
#endif
