#define _GNU_SOURCE  // asprintf
#include "library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "status.h"

int gorun_library(const char *path, const gorun_symbol *symbols, const char *lacking, char **err) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    *err = strdup(dlerror());
    return STATUS_NOT_FOUND;
  }
  for (; symbols->name; symbols++) {
    if ((*symbols->to = dlsym(library, symbols->name))) continue;
    int n = lacking ? asprintf(err, lacking, symbols->name) : asprintf(err, "%s: %s", path, dlerror());
    if (n < 0) *err = strdup(path);
    return STATUS_NOT_FOUND;
  }
  return 0;
}
